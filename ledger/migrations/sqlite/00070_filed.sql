-- +goose Up

-- Rows of these two are never deleted, so that no number can come again: to note the
-- highest elsewhere (AUTOINCREMENT) is a page of each commit. Indexes are made when the
-- rows are there, which is many times faster.
CREATE TABLE postings2 (
	seq         INTEGER PRIMARY KEY,
	key         TEXT    NOT NULL,
	source      TEXT    NOT NULL,
	destination TEXT    NOT NULL,
	amount      BIGINT  NOT NULL CHECK (amount > 0 AND amount <= 2100000000000000000),
	at          BIGINT  NOT NULL,
	CHECK (source <> destination)
);
INSERT INTO postings2 SELECT * FROM postings ORDER BY seq;
DROP TABLE postings;
ALTER TABLE postings2 RENAME TO postings;
CREATE UNIQUE INDEX postings_finish ON postings (key) WHERE key >= 'finish:' AND key < 'finish;';
CREATE UNIQUE INDEX postings_key ON postings (key) WHERE key < 'finish:' OR key >= 'finish;';
-- +goose StatementBegin
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'postings are never deleted'); END;
-- +goose StatementEnd

CREATE TABLE requests2 (
	seq          INTEGER PRIMARY KEY,
	id           TEXT    NOT NULL,
	front        TEXT    NOT NULL,
	asker        TEXT    NOT NULL, -- hex; '': nobody
	who          TEXT    NOT NULL, -- the asker, or for nobody the payer: fairness is per who
	payer        TEXT    NOT NULL,
	thread       TEXT    NOT NULL,
	text         TEXT    NOT NULL,
	command      BIGINT  NOT NULL,
	price_max    BIGINT  NOT NULL,
	wait         BIGINT  NOT NULL,
	reply_to     BLOB,
	at           BIGINT  NOT NULL,
	first        BIGINT  NOT NULL DEFAULT 0,
	state        TEXT    NOT NULL,
	since        BIGINT  NOT NULL, -- when it reached the state
	tries        BIGINT  NOT NULL DEFAULT 0, -- claims so far; the fencing token
	crashes      BIGINT  NOT NULL DEFAULT 0,
	lease_owner  TEXT    NOT NULL DEFAULT '',
	lease_until  BIGINT  NOT NULL DEFAULT 0,
	hold_pool    BIGINT  NOT NULL DEFAULT 0,
	hold_session BIGINT  NOT NULL DEFAULT 0,
	hold_user    BIGINT  NOT NULL DEFAULT 0,
	hold_day     BIGINT  NOT NULL DEFAULT 0,
	need         BIGINT  NOT NULL DEFAULT 0, -- parked: runs when the payer has that much
	invoice      TEXT    NOT NULL DEFAULT '', -- parked: the ref of its invoice
	result       TEXT    NOT NULL DEFAULT '',
	reason       TEXT    NOT NULL DEFAULT '',
	abuse        BIGINT  NOT NULL DEFAULT 0,
	eval_in      BIGINT  NOT NULL DEFAULT 0,
	eval_out     BIGINT  NOT NULL DEFAULT 0,
	eval_est     BIGINT  NOT NULL DEFAULT 0,
	work_in      BIGINT  NOT NULL DEFAULT 0,
	work_out     BIGINT  NOT NULL DEFAULT 0,
	work_est     BIGINT  NOT NULL DEFAULT 0,
	cost_eval    BIGINT  NOT NULL DEFAULT 0,
	cost_work    BIGINT  NOT NULL DEFAULT 0,
	total        BIGINT  NOT NULL DEFAULT 0,
	absorbed     BIGINT  NOT NULL DEFAULT 0,
	charged      BIGINT  NOT NULL DEFAULT 0,
	waived       BIGINT  NOT NULL DEFAULT 0,
	dust         BIGINT  NOT NULL DEFAULT 0,
	rate         BIGINT  NOT NULL DEFAULT 0,
	balance      BIGINT  NOT NULL DEFAULT 0,
	CHECK (hold_pool >= 0 AND hold_session >= 0 AND hold_user >= 0),
	CHECK (charged + absorbed + waived = total)
);
INSERT INTO requests2 SELECT * FROM requests ORDER BY seq;
DROP TABLE requests;
ALTER TABLE requests2 RENAME TO requests;
CREATE UNIQUE INDEX requests_id ON requests (id);
CREATE INDEX requests_queued ON requests (command DESC, seq, who) WHERE state = 'queued';
CREATE INDEX requests_running ON requests (who, command, payer) WHERE state = 'running';
CREATE INDEX requests_parked ON requests (payer, seq) WHERE state = 'parked';

-- Nearly each charge has something for each of these three of the house.
CREATE INDEX postings_destination ON postings (destination, seq)
	WHERE destination <> 'house:revenue' AND destination <> 'house:pool' AND destination <> 'house:dust';

-- Whose a request is, and who paid a posting, was an index on each of the two tables: a
-- page of each request for either. It is filed in batches instead, behind the writing.
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
