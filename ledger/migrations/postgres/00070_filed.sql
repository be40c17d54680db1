-- +goose Up

-- Nearly each charge has something for each of these three of the house.
DROP INDEX postings_destination;
CREATE INDEX postings_destination ON postings (destination, seq)
	WHERE destination <> 'house:revenue' AND destination <> 'house:pool' AND destination <> 'house:dust';

-- Here the indexes on who asked and who paid stay and nothing is filed: all that is not is found by them.
CREATE TABLE filed (
	what TEXT   NOT NULL PRIMARY KEY,
	seq  BIGINT NOT NULL
);
CREATE TABLE filed_requests (
	asker TEXT   NOT NULL,
	seq   BIGINT NOT NULL,
	PRIMARY KEY (asker, seq)
);
CREATE TABLE filed_postings (
	source TEXT   NOT NULL,
	seq    BIGINT NOT NULL,
	PRIMARY KEY (source, seq)
);
INSERT INTO filed (what, seq) VALUES ('requests', 0), ('postings', 0);
