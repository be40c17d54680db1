-- +goose Up

-- Balances of the accounts that have a floor: users, sessions and the pool. They
-- are moved by guarded deltas only; the CHECK is the second lock on the door.
CREATE TABLE accounts (
	name   TEXT   NOT NULL PRIMARY KEY CHECK (name = 'house:pool' OR name NOT LIKE 'house:%'),
	posted BIGINT NOT NULL DEFAULT 0 CHECK (posted <= 2100000000000000000),
	held   BIGINT NOT NULL DEFAULT 0,
	CHECK (held >= 0),
	CHECK (posted - held >= 0)
) WITHOUT ROWID;

-- Double entry: each row takes from one account and gives to another, so the sum
-- over all accounts is 0 whatever is written here.
CREATE TABLE postings (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT,
	key         TEXT    NOT NULL UNIQUE,
	source      TEXT    NOT NULL,
	destination TEXT    NOT NULL,
	amount      BIGINT  NOT NULL CHECK (amount > 0 AND amount <= 2100000000000000000),
	at          BIGINT  NOT NULL,
	CHECK (source <> destination)
);
CREATE INDEX postings_source ON postings (source, seq);
CREATE INDEX postings_destination ON postings (destination, seq);

-- +goose StatementBegin
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'postings are never deleted'); END;
-- +goose StatementEnd

-- Requests: what was asked, who runs it, what is reserved, and what came of it.
CREATE TABLE requests (
	seq          INTEGER PRIMARY KEY AUTOINCREMENT,
	id           TEXT    NOT NULL UNIQUE,
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
CREATE INDEX requests_queued ON requests (command DESC, seq, who) WHERE state = 'queued';
CREATE INDEX requests_running ON requests (who, command, payer) WHERE state = 'running';
CREATE INDEX requests_parked ON requests (payer, seq) WHERE state = 'parked';
CREATE INDEX requests_asker ON requests (asker, seq) WHERE asker <> '';
CREATE INDEX requests_thread ON requests (thread);

CREATE TABLE turns (
	seq    INTEGER PRIMARY KEY AUTOINCREMENT,
	thread TEXT    NOT NULL,
	role   TEXT    NOT NULL,
	text   TEXT    NOT NULL,
	tokens BIGINT  NOT NULL
);
CREATE INDEX turns_thread ON turns (thread, seq);

CREATE TABLE standings (
	key        TEXT   NOT NULL PRIMARY KEY,
	score      BIGINT NOT NULL DEFAULT 0,
	scored     BIGINT NOT NULL DEFAULT 0,
	completed  BIGINT NOT NULL DEFAULT 0,
	refused    BIGINT NOT NULL DEFAULT 0,
	paid       BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL,
	last_seen  BIGINT NOT NULL,
	granted    BIGINT NOT NULL DEFAULT 0 CHECK (granted >= 0),
	day        BIGINT NOT NULL DEFAULT 0,
	asked      BIGINT NOT NULL DEFAULT 0,
	reply_to   BLOB    -- where the last direct message wanted its answer
) WITHOUT ROWID;

CREATE TABLE sessions (
	id       TEXT   NOT NULL PRIMARY KEY,
	owner    TEXT   NOT NULL, -- hex; '': anonymous
	state    TEXT   NOT NULL,
	expires  BIGINT NOT NULL,
	created  BIGINT NOT NULL,
	bearer   BIGINT NOT NULL DEFAULT 0,
	used     BIGINT NOT NULL DEFAULT 0,
	drawn    BIGINT NOT NULL DEFAULT 0 CHECK (drawn >= 0), -- from its owner's account, reserved draws included
	moved_to TEXT   NOT NULL DEFAULT '' -- the session its remainder went to
) WITHOUT ROWID;
CREATE INDEX sessions_due ON sessions (expires) WHERE state <> 'expired';
CREATE INDEX sessions_owner ON sessions (owner) WHERE owner <> '';

-- Invoices: the row is there before the wallet is asked. slot is what may have
-- one open invoice only; it is emptied when the slot is free again.
CREATE TABLE invoices (
	ref         TEXT   NOT NULL PRIMARY KEY,
	slot        TEXT   UNIQUE,
	hash        TEXT   UNIQUE,
	state       TEXT   NOT NULL, -- expected, open, withdrawn, settled
	account     TEXT   NOT NULL,
	purpose     TEXT   NOT NULL,
	request     TEXT   NOT NULL,
	amount      BIGINT NOT NULL,
	memo        TEXT   NOT NULL,
	description BLOB,
	zap         BLOB,
	bolt11      TEXT   NOT NULL DEFAULT '',
	expires     BIGINT NOT NULL DEFAULT 0,
	created     BIGINT NOT NULL,
	received    BIGINT NOT NULL DEFAULT 0,
	preimage    TEXT   NOT NULL DEFAULT '',
	settled     BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX invoices_open ON invoices (expires) WHERE state = 'open';
CREATE INDEX invoices_account ON invoices (account, purpose, created);

-- Money whose owner is unknown, or that nobody may have yet.
CREATE TABLE suspense (
	name     TEXT   NOT NULL PRIMARY KEY, -- payment hash, or "ref:" and our reference
	ref      TEXT   NOT NULL,
	reason   TEXT   NOT NULL,
	received BIGINT NOT NULL, -- as the wallet said it
	posted   BIGINT NOT NULL, -- how much of it is in house:suspense
	at       BIGINT NOT NULL,
	resolved BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The outbox.
CREATE TABLE parcels (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	front   TEXT    NOT NULL,
	dest    TEXT    NOT NULL,
	request TEXT    NOT NULL, -- the request it is about, if any
	body    BLOB,             -- emptied when it is over
	signed  BLOB,
	state   TEXT    NOT NULL, -- due, delivered, abandoned
	tries   BIGINT  NOT NULL DEFAULT 0,
	next    BIGINT  NOT NULL,
	why     TEXT    NOT NULL DEFAULT '',
	at      BIGINT  NOT NULL
);
CREATE INDEX parcels_due ON parcels (next, id) WHERE state = 'due';
CREATE INDEX parcels_over ON parcels (at) WHERE state <> 'due';
CREATE INDEX parcels_request ON parcels (request) WHERE request <> '';

CREATE TABLE idem (
	key     TEXT   NOT NULL PRIMARY KEY,
	body    TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	owner   TEXT   NOT NULL, -- the process that runs it
	done    BIGINT NOT NULL DEFAULT 0,
	status  BIGINT NOT NULL DEFAULT 0,
	reply   BLOB,
	at      BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX idem_at ON idem (at);

CREATE TABLE seen (
	id    TEXT   NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);

CREATE TABLE meta (
	key   TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

