-- +goose Up
-- The follow lists (kind 3) that the web of trust is made of: keys is 32 bytes
-- each, one after the other.
CREATE TABLE follow (
	pubkey     BLOB   NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL,
	keys       BLOB   NOT NULL
);

-- +goose Down
DROP TABLE follow;
