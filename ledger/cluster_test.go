package ledger

import (
	"fmt"
	"os"
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
	if soak() == "sqlite" {
		os.Exit(m.Run())
	}
	os.Exit(pgtest.RunTwice(m, &server))
}
