-- +goose Up

-- Money on its way back to who paid it. The row, and the hold of amount and fee,
-- are there before a wallet is asked; state 'sending' is written before it is called.
CREATE TABLE refunds (
	id       TEXT NOT NULL PRIMARY KEY,
	account  TEXT NOT NULL,
	amount   BIGINT NOT NULL CHECK (amount > 0),
	fee      BIGINT NOT NULL CHECK (fee >= 0), -- the most; held with the amount
	paid_fee BIGINT NOT NULL DEFAULT 0 CHECK (paid_fee >= 0 AND paid_fee <= fee),
	goal     TEXT NOT NULL, -- a bolt11, or a lightning address
	bolt11   TEXT NOT NULL DEFAULT '',
	hash     TEXT UNIQUE, -- an invoice is paid once, so a second refund needs a new one
	expires  BIGINT NOT NULL DEFAULT 0, -- of the bolt11
	state    TEXT NOT NULL, -- reserved, sending, paid, failed
	wallet   TEXT NOT NULL DEFAULT '', -- that was asked: no other can say what became of it
	reason   TEXT NOT NULL DEFAULT '',
	preimage TEXT NOT NULL DEFAULT '',
	at       BIGINT NOT NULL,
	sent     BIGINT NOT NULL DEFAULT 0,
	ended    BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX refunds_open ON refunds (account) WHERE state IN ('reserved', 'sending');
CREATE INDEX refunds_at ON refunds (at);

-- Where the remainder of an anonymous session goes at its end, and when that is
-- tried next.
ALTER TABLE sessions ADD COLUMN refund_to TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN refund_next BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sessions_refund ON sessions (refund_next) WHERE refund_to <> '';
