-- +goose Up

-- The same as the files for SQLite up to this number, in one: there were no events in
-- PostgreSQL before. Texts are compared by their bytes, as there.

-- The columns before raw are what is searched; raw is what is served. Towers write in
-- turns, so that rid is also the order in which events were committed.
CREATE TABLE event (
	rid        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id         BYTEA   NOT NULL UNIQUE,
	pubkey     BYTEA   NOT NULL,
	kind       INTEGER NOT NULL,
	created_at BIGINT  NOT NULL,
	expires    BIGINT, -- NIP-40
	d          BYTEA,  -- of replaceable ('') and addressable kinds
	raw        BYTEA   NOT NULL
);

-- What a stranger's unlimited filter walks over: most events are wraps, and none of
-- them is for him.
CREATE INDEX event_public ON event (created_at DESC, id)
	WHERE kind NOT IN (4, 13, 14, 15, 1059, 21059, 23194, 23195, 23196, 23197, 24133);

CREATE INDEX event_kind ON event (kind, created_at DESC, id);

CREATE INDEX event_author ON event (pubkey, kind, created_at DESC, id);

-- At most one version of a replaceable event, whatever the program does.
CREATE UNIQUE INDEX event_address ON event (pubkey, kind, d) WHERE d IS NOT NULL;

CREATE INDEX event_expires ON event (expires) WHERE expires IS NOT NULL;

-- The first value of each single-letter tag.
CREATE TABLE tag (
	name       TEXT COLLATE "C" NOT NULL,
	value      BYTEA   NOT NULL,
	kind       INTEGER NOT NULL,
	created_at BIGINT  NOT NULL,
	rid        BIGINT  NOT NULL
);

CREATE UNIQUE INDEX tag_all ON tag (name, value, kind, created_at DESC, rid);

-- Who asked for the deletion of what (NIP-09), and when. It counts only for events of
-- that key, or wraps to it: anybody may write a row here for any id.
CREATE TABLE tombstone (
	id     BYTEA  NOT NULL,
	pubkey BYTEA  NOT NULL,
	at     BIGINT NOT NULL,
	PRIMARY KEY (id, pubkey)
);

CREATE TABLE address_tombstone (
	pubkey BYTEA   NOT NULL,
	kind   INTEGER NOT NULL,
	d      BYTEA   NOT NULL,
	until  BIGINT  NOT NULL, -- versions up to this time are deleted
	PRIMARY KEY (pubkey, kind, d)
);

-- Who asked this relay to forget them (NIP-62), and up to when. pending: not everything
-- of that key is deleted yet.
CREATE TABLE vanished (
	pubkey  BYTEA   NOT NULL PRIMARY KEY,
	until   BIGINT  NOT NULL,
	pending INTEGER NOT NULL DEFAULT 0
);

-- What operators decided while the relay ran (NIP-86), and whether what a ban deletes is
-- deleted.
CREATE TABLE rule (
	subject TEXT COLLATE "C" NOT NULL,
	value   TEXT COLLATE "C" NOT NULL,
	allowed INTEGER NOT NULL,
	reason  TEXT COLLATE "C" NOT NULL,
	at      BIGINT  NOT NULL,
	done    INTEGER NOT NULL,
	PRIMARY KEY (subject, value)
);

CREATE TABLE relay_text (
	name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value TEXT COLLATE "C" NOT NULL
);

-- The follow lists (kind 3) that the web of trust is made of: keys is 32 bytes each.
CREATE TABLE follow (
	pubkey     BYTEA  NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL,
	keys       BYTEA  NOT NULL
);

-- +goose Down
DROP TABLE follow, relay_text, rule, vanished, address_tombstone, tombstone, tag, event;
