-- +goose Up
-- Who asked this relay to forget them (NIP-62), and up to when. It counts for
-- events of that key, and for wraps to it.
CREATE TABLE vanished (
	pubkey BLOB    NOT NULL PRIMARY KEY,
	until  INTEGER NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE vanished;
