-- +goose Up

-- The same text for SQLite and PostgreSQL.

-- What a thread holds is asked for by its key, so that every request had a page of this
-- index written for nothing.
DROP INDEX requests_thread;
