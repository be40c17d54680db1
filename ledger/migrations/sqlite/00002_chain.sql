-- +goose Up

-- The same text for SQLite and PostgreSQL.

-- The place of each committed posting in a chain of hashes. It is written after
-- the commit, in batches: postings themselves wait for nothing.
CREATE TABLE chain (
	place   BIGINT NOT NULL PRIMARY KEY CHECK (place > 0),
	posting BIGINT NOT NULL UNIQUE,
	hash    TEXT   NOT NULL -- hex
);

-- The daily root over what customers are owed. salt is 32 secret bytes as hex.
CREATE TABLE roots (
	day       TEXT   NOT NULL PRIMARY KEY, -- YYYY-MM-DD, UTC
	salt      TEXT   NOT NULL,
	event     TEXT   NOT NULL,
	published BIGINT NOT NULL DEFAULT 0
);

-- The balances that the latest root was made of.
CREATE TABLE leaves (
	day     TEXT   NOT NULL,
	account TEXT   NOT NULL,
	balance BIGINT NOT NULL CHECK (balance > 0),
	PRIMARY KEY (day, account)
);
