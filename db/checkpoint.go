package db

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// mindWAL looks at the size of the write-ahead log from time to time.
func (d *DB) mindWAL(s *session) {
	if d.pg != nil || d.stats.commits.Load()%checkWALEvery != 0 || d.walSize() <= maxWAL {
		return
	}
	if err := truncateWAL(s); err != nil {
		d.log.Warn("the write-ahead log cannot be emptied", "err", err)
	}
}

func (d *DB) walSize() int64 {
	if d.pg != nil {
		return 0
	}
	fi, err := os.Stat(d.path + "-wal")
	if err != nil {
		return 0
	}
	return fi.Size()
}

// Checkpoint moves the write-ahead log into the database file and empties it.
// It waits for the readers that are under way. PostgreSQL sees to that itself.
func (d *DB) Checkpoint(ctx context.Context) error {
	if d.pg != nil {
		return nil
	}
	it := &item{alone: truncateWAL, done: make(chan error, 1)}
	return d.submit(ctx, it)
}

func truncateWAL(s *session) error {
	var busy, pages, moved int
	row := s.conn.QueryRowxContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	if err := row.Scan(&busy, &pages, &moved); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if busy != 0 {
		return errors.New("checkpoint: a reader is in the way")
	}
	return nil
}
