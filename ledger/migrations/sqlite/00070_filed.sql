-- +goose Up

-- Whose a request is, and who paid a posting, was an index on each of the two tables: a
-- page of each request for either. It is filed in batches instead, behind the writing.
DROP INDEX requests_asker;
DROP INDEX postings_source;

-- The house's own are few, but for what the free pool pays, whose end is one page.
CREATE INDEX postings_source ON postings (source, seq) WHERE source >= 'house:' AND source < 'house;';

CREATE TABLE filed (
	what TEXT   NOT NULL PRIMARY KEY,
	seq  BIGINT NOT NULL -- up to which it is filed
) WITHOUT ROWID;
CREATE TABLE filed_requests (
	asker TEXT   NOT NULL,
	seq   BIGINT NOT NULL,
	PRIMARY KEY (asker, seq)
) WITHOUT ROWID;
CREATE TABLE filed_postings (
	source TEXT   NOT NULL,
	seq    BIGINT NOT NULL,
	PRIMARY KEY (source, seq)
) WITHOUT ROWID;
INSERT INTO filed (what, seq) SELECT 'requests', COALESCE(MAX(seq), 0) FROM requests;
INSERT INTO filed (what, seq) SELECT 'postings', COALESCE(MAX(seq), 0) FROM postings;
INSERT INTO filed_requests (asker, seq) SELECT asker, seq FROM requests WHERE asker <> '' ORDER BY asker, seq;
INSERT INTO filed_postings (source, seq) SELECT source, seq FROM postings WHERE source < 'house:' OR source >= 'house;' ORDER BY source, seq;

-- A place is the number of its row: there was a second index for it.
CREATE TABLE links (
	place   INTEGER PRIMARY KEY CHECK (place > 0),
	posting BIGINT NOT NULL UNIQUE,
	hash    TEXT   NOT NULL -- hex
);
INSERT INTO links (place, posting, hash) SELECT place, posting, hash FROM chain ORDER BY place;
DROP TABLE chain;
ALTER TABLE links RENAME TO chain;
