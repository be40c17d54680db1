package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/timmy-tower/timmy/db"
)

// checkDatabase refuses an address without showing it: it carries a password.
func (c *Config) checkDatabase() error {
	if !c.Tower.Database.IsSet() {
		return nil
	}
	u, err := url.Parse(c.Tower.Database.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Path == "" || u.Path == "/" {
		return c.badf("TIMMY_DATABASE_URL", "want postgres://user:password@host/name")
	}
	return nil
}

// openBooks opens the database of the ledger: PostgreSQL where its address is
// given, else the file in the data directory.
func openBooks(ctx context.Context, c *Config, log *slog.Logger) (*db.DB, error) {
	if c.Tower.Database.IsSet() {
		return db.OpenPostgres(ctx, c.Tower.Database.Reveal(), db.Options{Log: log})
	}
	return db.OpenSQLite(ctx, filepath.Join(c.Tower.DataDir, ledgerFile), db.Options{Log: log})
}

// openEvents opens the database of the relay's events: a part of the same PostgreSQL
// database, which all towers on it share, or a file of its own.
func openEvents(ctx context.Context, c *Config, log *slog.Logger) (*db.DB, error) {
	if c.Tower.Database.IsSet() {
		return db.OpenPostgres(ctx, c.Tower.Database.Reveal(), db.Options{Log: log, Part: "events"})
	}
	return db.OpenSQLite(ctx, filepath.Join(c.Tower.DataDir, eventsFile), db.Options{Log: log})
}

// viewBooks opens the same for reading, beside a running tower.
func viewBooks(ctx context.Context, c *Config) (*db.DB, error) {
	if c.Tower.Database.IsSet() {
		return db.OpenPostgresReadOnly(ctx, c.Tower.Database.Reveal())
	}
	path := filepath.Join(c.Tower.DataDir, ledgerFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there are no books at %s", path)
	}
	return db.OpenSQLiteReadOnly(ctx, path)
}
