-- +goose Up

-- Here the two indexes stay and nothing is filed: all that is not is found by them.
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
