-- +goose Up

-- Whose account a code in a payment's comment names: one code for a key, for ever.
CREATE TABLE claim_codes (
	code TEXT   NOT NULL PRIMARY KEY,
	key  TEXT   NOT NULL UNIQUE,
	at   BIGINT NOT NULL
) WITHOUT ROWID;
