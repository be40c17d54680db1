package dbtest

import (
	"context"
	"errors"
	"testing"

	"github.com/timmy-tower/timmy/db"
)

// Open opens the SQLite file at path, new or old, and runs its writer until the test is
// over.
func Open(t testing.TB, path string) *db.DB {
	t.Helper()
	d, err := db.OpenSQLite(t.Context(), path, db.Options{})
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
