package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"github.com/timmy-tower/timmy/failpoint"
)

// Folder is where in dir the migrations of a dialect are.
func (d Dialect) Folder(dir string) string {
	if d == Postgres {
		return dir + "/postgres"
	}
	return dir + "/sqlite"
}

// Migrate brings the schema to what the files in dir of fsys say (goose's
// NNNNN_name.sql, each in a transaction of its own). A database that is newer
// than these files is refused: an older program would misread it. It may be
// called before or while Run runs; on PostgreSQL one tower migrates and the others
// wait for it.
func (d *DB) Migrate(ctx context.Context, fsys fs.FS, dir string) (err error) {
	if d.write == nil {
		return ErrReadOnly
	}
	files, err := fs.Sub(fsys, dir)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	var h *sqlx.DB
	dialect := goose.DialectSQLite3
	if d.pg != nil {
		h, dialect = d.pg.handle(2), goose.DialectPostgres
		defer func() { err = errors.Join(err, h.Close()) }()
		unlock, err := d.pg.lock(ctx, h)
		if err != nil {
			return err
		}
		defer unlock()
	} else {
		h = openHandle(&connector{path: d.path}, 2)
		defer func() { err = errors.Join(err, h.Close()) }()
	}
	p, err := goose.NewProvider(dialect, h.DB, files,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(d.log))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if have > know {
		return fmt.Errorf("database %s has schema %d, this program knows up to %d: use the newer program", d.path, have, know)
	}
	if err := failpoint.Before(failpoint.DBMigrate); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating %s: %w", d.path, err)
	}
	return failpoint.After(failpoint.DBMigrate)
}
