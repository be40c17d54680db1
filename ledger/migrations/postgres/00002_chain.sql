-- +goose Up

-- The same as the file of this name for SQLite, with texts compared by their bytes.

-- The place of each committed posting in a chain of hashes. It is written after
-- the commit, in batches: postings themselves wait for nothing.
CREATE TABLE chain (
	place   BIGINT NOT NULL PRIMARY KEY CHECK (place > 0),
	posting BIGINT NOT NULL UNIQUE,
	hash    TEXT COLLATE "C" NOT NULL -- hex
);

-- The daily root over what customers are owed. salt is 32 secret bytes as hex.
CREATE TABLE roots (
	day       TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- YYYY-MM-DD, UTC
	salt      TEXT COLLATE "C" NOT NULL,
	event     TEXT COLLATE "C" NOT NULL,
	published BIGINT NOT NULL DEFAULT 0
);

-- The balances that the latest root was made of.
CREATE TABLE leaves (
	day     TEXT COLLATE "C" NOT NULL,
	account TEXT COLLATE "C" NOT NULL,
	balance BIGINT NOT NULL CHECK (balance > 0),
	PRIMARY KEY (day, account)
);
