-- +goose Up

-- The same text for SQLite and PostgreSQL.

-- Sessions that never got money, for their deletion: without it each look reads all
-- sessions there ever were.
CREATE INDEX sessions_over ON sessions (expires) WHERE state = 'expired' AND bearer = 0;

-- Sessions whose remainder went on, for moving it once more.
CREATE INDEX sessions_moved ON sessions (moved_to) WHERE moved_to <> '';
