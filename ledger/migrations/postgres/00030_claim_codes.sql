-- +goose Up

-- Whose account a code in a payment's comment names: one code for a key, for ever.
CREATE TABLE claim_codes (
	code TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	key  TEXT COLLATE "C" NOT NULL UNIQUE,
	at   BIGINT NOT NULL
);
