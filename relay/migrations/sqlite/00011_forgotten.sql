-- +goose Up
-- pending: not everything of that key is deleted yet. It is hidden meanwhile.
ALTER TABLE vanished ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;

-- When a deletion was asked for: an event older than what is taken needs no
-- tombstone any more.
ALTER TABLE tombstone ADD COLUMN at BIGINT NOT NULL DEFAULT 0;

UPDATE tombstone SET at = CAST(strftime('%s', 'now') AS BIGINT);

-- +goose Down
ALTER TABLE tombstone DROP COLUMN at;

ALTER TABLE vanished DROP COLUMN pending;
