-- +goose Up

-- The same as the file of this name for SQLite. Texts are compared by their bytes,
-- as there: ranges of keys depend on it.

-- Balances of the accounts that have a floor: users, sessions and the pool. They
-- are moved by guarded deltas only; the CHECK is the second lock on the door.
CREATE TABLE accounts (
	name   TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (name = 'house:pool' OR name NOT LIKE 'house:%'),
	posted BIGINT NOT NULL DEFAULT 0 CHECK (posted <= 2100000000000000000),
	held   BIGINT NOT NULL DEFAULT 0,
	CHECK (held >= 0),
	CHECK (posted - held >= 0)
);

-- Double entry: each row takes from one account and gives to another, so the sum
-- over all accounts is 0 whatever is written here.
CREATE TABLE postings (
	seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	key         TEXT COLLATE "C" NOT NULL UNIQUE,
	source      TEXT COLLATE "C" NOT NULL,
	destination TEXT COLLATE "C" NOT NULL,
	amount      BIGINT  NOT NULL CHECK (amount > 0 AND amount <= 2100000000000000000),
	at          BIGINT  NOT NULL,
	CHECK (source <> destination)
);
CREATE INDEX postings_source ON postings (source, seq);
CREATE INDEX postings_destination ON postings (destination, seq);

-- +goose StatementBegin
CREATE FUNCTION postings_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'postings are never %', CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END;
END $$;
-- +goose StatementEnd
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION postings_refuse();
CREATE TRIGGER postings_no_delete BEFORE DELETE OR TRUNCATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION postings_refuse();

-- Requests: what was asked, who runs it, what is reserved, and what came of it.
CREATE TABLE requests (
	seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id           TEXT COLLATE "C" NOT NULL UNIQUE,
	front        TEXT COLLATE "C" NOT NULL,
	asker        TEXT COLLATE "C" NOT NULL, -- hex; '': nobody
	who          TEXT COLLATE "C" NOT NULL, -- the asker, or for nobody the payer: fairness is per who
	payer        TEXT COLLATE "C" NOT NULL,
	thread       TEXT COLLATE "C" NOT NULL,
	text         TEXT COLLATE "C" NOT NULL,
	command      BIGINT  NOT NULL,
	price_max    BIGINT  NOT NULL,
	wait         BIGINT  NOT NULL,
	reply_to     BYTEA,
	at           BIGINT  NOT NULL,
	first        BIGINT  NOT NULL DEFAULT 0,
	state        TEXT COLLATE "C" NOT NULL,
	since        BIGINT  NOT NULL, -- when it reached the state
	tries        BIGINT  NOT NULL DEFAULT 0, -- claims so far; the fencing token
	crashes      BIGINT  NOT NULL DEFAULT 0,
	lease_owner  TEXT COLLATE "C" NOT NULL DEFAULT '',
	lease_until  BIGINT  NOT NULL DEFAULT 0,
	hold_pool    BIGINT  NOT NULL DEFAULT 0,
	hold_session BIGINT  NOT NULL DEFAULT 0,
	hold_user    BIGINT  NOT NULL DEFAULT 0,
	hold_day     BIGINT  NOT NULL DEFAULT 0,
	need         BIGINT  NOT NULL DEFAULT 0, -- parked: runs when the payer has that much
	invoice      TEXT COLLATE "C" NOT NULL DEFAULT '', -- parked: the ref of its invoice
	result       TEXT COLLATE "C" NOT NULL DEFAULT '',
	reason       TEXT COLLATE "C" NOT NULL DEFAULT '',
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
	seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	thread TEXT COLLATE "C" NOT NULL,
	role   TEXT COLLATE "C" NOT NULL,
	text   TEXT COLLATE "C" NOT NULL,
	tokens BIGINT  NOT NULL
);
CREATE INDEX turns_thread ON turns (thread, seq);

CREATE TABLE standings (
	key        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
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
	reply_to   BYTEA    -- where the last direct message wanted its answer
);

CREATE TABLE sessions (
	id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	owner    TEXT COLLATE "C" NOT NULL, -- hex; '': anonymous
	state    TEXT COLLATE "C" NOT NULL,
	expires  BIGINT NOT NULL,
	created  BIGINT NOT NULL,
	bearer   BIGINT NOT NULL DEFAULT 0,
	used     BIGINT NOT NULL DEFAULT 0,
	drawn    BIGINT NOT NULL DEFAULT 0 CHECK (drawn >= 0), -- from its owner's account, reserved draws included
	moved_to TEXT COLLATE "C" NOT NULL DEFAULT '' -- the session its remainder went to
);
CREATE INDEX sessions_due ON sessions (expires) WHERE state <> 'expired';
CREATE INDEX sessions_owner ON sessions (owner) WHERE owner <> '';

-- Invoices: the row is there before the wallet is asked. slot is what may have
-- one open invoice only; it is emptied when the slot is free again.
CREATE TABLE invoices (
	ref         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	slot        TEXT COLLATE "C" UNIQUE,
	hash        TEXT COLLATE "C" UNIQUE,
	state       TEXT COLLATE "C" NOT NULL, -- expected, open, withdrawn, settled
	account     TEXT COLLATE "C" NOT NULL,
	purpose     TEXT COLLATE "C" NOT NULL,
	request     TEXT COLLATE "C" NOT NULL,
	amount      BIGINT NOT NULL,
	memo        TEXT COLLATE "C" NOT NULL,
	description BYTEA,
	zap         BYTEA,
	bolt11      TEXT COLLATE "C" NOT NULL DEFAULT '',
	expires     BIGINT NOT NULL DEFAULT 0,
	created     BIGINT NOT NULL,
	received    BIGINT NOT NULL DEFAULT 0,
	preimage    TEXT COLLATE "C" NOT NULL DEFAULT '',
	settled     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX invoices_open ON invoices (expires) WHERE state = 'open';
CREATE INDEX invoices_account ON invoices (account, purpose, created);

-- Money whose owner is unknown, or that nobody may have yet.
CREATE TABLE suspense (
	name     TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- payment hash, or "ref:" and our reference
	ref      TEXT COLLATE "C" NOT NULL,
	reason   TEXT COLLATE "C" NOT NULL,
	received BIGINT NOT NULL, -- as the wallet said it
	posted   BIGINT NOT NULL, -- how much of it is in house:suspense
	at       BIGINT NOT NULL,
	resolved BIGINT NOT NULL DEFAULT 0
);

-- The outbox.
CREATE TABLE parcels (
	id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	front   TEXT COLLATE "C" NOT NULL,
	dest    TEXT COLLATE "C" NOT NULL,
	request TEXT COLLATE "C" NOT NULL, -- the request it is about, if any
	body    BYTEA,             -- emptied when it is over
	signed  BYTEA,
	state   TEXT COLLATE "C" NOT NULL, -- due, delivered, abandoned
	tries   BIGINT  NOT NULL DEFAULT 0,
	next    BIGINT  NOT NULL,
	why     TEXT COLLATE "C" NOT NULL DEFAULT '',
	at      BIGINT  NOT NULL
);
CREATE INDEX parcels_due ON parcels (next, id) WHERE state = 'due';
CREATE INDEX parcels_over ON parcels (at) WHERE state <> 'due';
CREATE INDEX parcels_request ON parcels (request) WHERE request <> '';

CREATE TABLE idem (
	key     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	body    TEXT COLLATE "C" NOT NULL,
	subject TEXT COLLATE "C" NOT NULL,
	owner   TEXT COLLATE "C" NOT NULL, -- the process that runs it
	done    BIGINT NOT NULL DEFAULT 0,
	status  BIGINT NOT NULL DEFAULT 0,
	reply   BYTEA,
	at      BIGINT NOT NULL
);
CREATE INDEX idem_at ON idem (at);

CREATE TABLE seen (
	id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL
);
CREATE INDEX seen_until ON seen (until);

CREATE TABLE meta (
	key   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value TEXT COLLATE "C" NOT NULL
);

