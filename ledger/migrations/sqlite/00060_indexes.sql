-- +goose Up

-- The same text for SQLite and PostgreSQL.

-- What a thread holds is asked for by its key, so that every request had a page of this
-- index written for nothing.
DROP INDEX requests_thread;

-- Nearly each posting goes to one of two accounts of the house, whose latest are found
-- without an index.
DROP INDEX postings_destination;
CREATE INDEX postings_destination ON postings (destination, seq) WHERE destination <> 'house:revenue' AND destination <> 'house:pool';
