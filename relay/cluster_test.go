package relay

import (
	"os"
	"testing"

	"github.com/timmy-tower/timmy/db/pgtest"
)

// server is there while the suite runs on PostgreSQL; nil: on SQLite.
var server *pgtest.Server

func TestMain(m *testing.M) { os.Exit(pgtest.RunTwice(m, &server)) }

// newPlace is where new events can be.
func newPlace(t testing.TB) string {
	t.Helper()
	return pgtest.Place(t, server, "events.db")
}
