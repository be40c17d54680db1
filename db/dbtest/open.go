package dbtest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy/db"
)

// Open opens a database, new or old, and runs its writer until the test is over. A place
// is the path of an SQLite file, or the address of a PostgreSQL database.
func Open(t testing.TB, place string) *db.DB {
	t.Helper()
	open := db.OpenSQLite
	if strings.HasPrefix(place, "postgres://") {
		open = db.OpenPostgres
	}
	d, err := open(t.Context(), place, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}
