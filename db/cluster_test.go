package db

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/timmy-tower/timmy/db/pgtest"
)

// server is what the tests of PostgreSQL use.
var server *pgtest.Server

// TestMain starts it for all of them. Where it is not installed they fail in CI, and
// elsewhere say loudly that they did not run.
func TestMain(m *testing.M) {
	s, err := pgtest.Start(pgtest.Options{})
	if errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("CI") != "true" {
		fmt.Fprintln(os.Stderr, "NOT TESTED on PostgreSQL:", err)
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	server = s
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: ending PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}
