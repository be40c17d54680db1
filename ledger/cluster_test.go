package ledger

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy/db/pgtest"
)

// server is there while the suite runs on PostgreSQL; nil: on SQLite.
var server *pgtest.Server

// TestMain runs every test on SQLite and then again on PostgreSQL. It also lets the
// test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(killEnv); path != "" {
		if err := victim(path, os.Getenv(roundEnv)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(migrateEnv); path != "" {
		if err := migrateOnly(path); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if code := m.Run(); code != 0 || once() || soak() == "sqlite" {
		os.Exit(code)
	}
	os.Exit(onPostgres(m))
}

// once reports whether the command line asks for something that is no test.
func once() bool {
	for _, a := range os.Args[1:] {
		for _, f := range []string{"-test.list", "-test.fuzz", "-test.fuzzworker", "-test.bench"} {
			if a == f || (strings.HasPrefix(a, f+"=") && a != f+"=") {
				return true
			}
		}
	}
	return false
}

func onPostgres(m *testing.M) int {
	s, err := pgtest.Start(pgtest.Options{})
	if errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("CI") != "true" {
		fmt.Fprintln(os.Stderr, "NOT TESTED on PostgreSQL:", err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	server = s
	fmt.Println("=== the same on PostgreSQL")
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: ending PostgreSQL:", err)
		return 1
	}
	return code
}
