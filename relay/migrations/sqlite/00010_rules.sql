-- +goose Up
-- What operators decided while the relay ran (NIP-86): a key, an event, a kind or
-- an address is allowed or not. done: what a ban deletes is deleted.
CREATE TABLE rule (
	subject TEXT    NOT NULL,
	value   TEXT    NOT NULL,
	allowed INTEGER NOT NULL,
	reason  TEXT    NOT NULL,
	at      BIGINT  NOT NULL,
	done    INTEGER NOT NULL,
	PRIMARY KEY (subject, value)
);

-- The relay's name, description and icon, where an operator changed them.
CREATE TABLE relay_text (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);

-- +goose Down
DROP TABLE relay_text;

DROP TABLE rule;
