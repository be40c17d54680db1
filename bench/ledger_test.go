package main

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/timmy-tower/timmy/db"
)

// Excludes: a reference that does less than the ledger, or other things, so that the ratio
// of the two says nothing.
func TestTheBareDatabaseWritesWhatTheLedgerDoes(t *testing.T) {
	list, stop, err := stores()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range list {
		t.Run(s.dialect.String(), s.sameRows)
	}
}

func (s *store) sameRows(t *testing.T) {
	const requests = 7
	trio, err := s.openTrio()
	if err != nil {
		t.Fatal(err)
	}
	var settled result
	if trio.books.settle(&settled); settled.err != nil {
		t.Fatal(settled.err)
	}
	first := s.rows(t, trio.places)
	for n := range requests {
		id := fmt.Sprint("r", n)
		for _, err := range []error{
			trio.books.request(n, id),
			trio.group.together(trio.group.reserve(n, id)), trio.group.together(trio.group.capture(n, id)),
			trio.alone.alone(trio.alone.reserve(n, id)), trio.alone.alone(trio.alone.capture(n, id)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if trio.books.settle(&settled); settled.err != nil {
		t.Fatal(settled.err)
	}
	if err := trio.close(); err != nil {
		t.Fatal(err)
	}
	last := s.rows(t, trio.places)
	for i, counts := range last {
		for table, n := range counts {
			if more, want := n-first[i][table], last[2][table]-first[2][table]; more != want {
				t.Errorf("%s: %d rows of the bare database, %d of the ledger", table, more, want)
			}
		}
	}
	if n := last[2]["requests"] - first[2]["requests"]; n != requests {
		t.Errorf("the ledger has %d requests more", n)
	}
}

// rows counts what each database has in the tables that a request writes.
func (s *store) rows(t *testing.T, places []string) (counts []map[string]int) {
	t.Helper()
	for _, place := range places {
		driver, dsn := "pgx", place
		if s.dialect == db.SQLite {
			driver, dsn = "sqlite3", "file:"+place+"?mode=ro"
		}
		h, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]int{}
		for _, table := range []string{"requests", "postings", "accounts", "conversations", "standings", "chain", "filed_requests", "filed_postings"} {
			var n int
			if err := h.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			has[table] = n
		}
		counts = append(counts, has)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}
