-- +goose Up
-- The columns before raw are what is searched; raw is what is served.
CREATE TABLE event (
	rid        INTEGER PRIMARY KEY,
	id         BLOB    NOT NULL UNIQUE,
	pubkey     BLOB    NOT NULL,
	kind       INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	expires    INTEGER, -- NIP-40
	d          BLOB,    -- of replaceable ('') and addressable kinds
	raw        BLOB    NOT NULL
);

-- What a stranger's unlimited filter walks over: most events are wraps, and none of
-- them is for him.
CREATE INDEX event_public ON event (created_at DESC)
	WHERE kind NOT IN (4, 13, 14, 15, 1059, 21059, 23194, 23195, 23196, 23197, 24133);

CREATE INDEX event_kind ON event (kind, created_at DESC);

CREATE INDEX event_author ON event (pubkey, kind, created_at DESC);

-- At most one version of a replaceable event, whatever the program does.
CREATE UNIQUE INDEX event_address ON event (pubkey, kind, d) WHERE d IS NOT NULL;

CREATE INDEX event_expires ON event (expires) WHERE expires IS NOT NULL;

-- The first value of each single-letter tag. The table is its own index: a row is
-- found by all of it, also when its event is deleted.
CREATE TABLE tag (
	name       TEXT    NOT NULL,
	value      BLOB    NOT NULL,
	kind       INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	rid        INTEGER NOT NULL,
	PRIMARY KEY (name, value, kind, created_at DESC, rid)
) WITHOUT ROWID;

-- Who asked for the deletion of what (NIP-09). It counts only for events of that
-- key, or wraps to it: anybody may write a row here for any id.
CREATE TABLE tombstone (
	id     BLOB NOT NULL,
	pubkey BLOB NOT NULL,
	PRIMARY KEY (id, pubkey)
) WITHOUT ROWID;

CREATE TABLE address_tombstone (
	pubkey BLOB    NOT NULL,
	kind   INTEGER NOT NULL,
	d      BLOB    NOT NULL,
	until  INTEGER NOT NULL, -- versions up to this time are deleted
	PRIMARY KEY (pubkey, kind, d)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE address_tombstone;

DROP TABLE tombstone;

DROP TABLE tag;

DROP TABLE event;
