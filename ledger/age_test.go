package ledger

import (
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// Excludes: a query that is asked every few seconds, in the one writer, and that reads
// all requests or sessions there ever were, so that the tower slows down with its age.
func TestWhatIsAskedAllTheTimeDoesNotGrowWithAge(t *testing.T) {
	f := newFix(t)
	if server != nil {
		return // PostgreSQL plans by how full the tables are
	}
	paid, _ := paidBy(db.SQLite, "user:", 10)
	paidByHouse, _ := paidBy(db.SQLite, timmy.HousePool, 10)
	paidTo, _ := paidTo(db.SQLite, "user:", 10)
	latest, _ := latestAsked(db.SQLite, `r.*`, key(1), 10)
	queries := map[string]string{
		"entries": entriesOf, "admitted": admissionOf,
		"recover": leftRunning, "lapse": lapsed, "prune": neverPaid, "move": moveOn, "start": nextQueued,
		"paid": paid, "paid by the house": paidByHouse, "paid to": paidTo, "asked": askedBy, "waiting": waitingOf, "latest asked": `SELECT * FROM ` + latest,
	}
	for name, query := range queries {
		for _, step := range f.plan(query) {
			if strings.HasPrefix(step, "SCAN ") && !ofFew(step) {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}

// Excludes: a check of the books that reads all postings for each row that it checks, so
// that it does not end in a night.
func TestAVerificationReadsPostingsByTheirKeys(t *testing.T) {
	f := newFix(t)
	if server != nil {
		return
	}
	for _, c := range checks {
		for _, step := range f.plan(c.query) {
			if c.what != "posted" && strings.HasPrefix(step, "SCAN postings") {
				t.Errorf("%s: %s", c.what, step)
			}
		}
	}
}

// plan is how SQLite executes a query, by steps.
func (f *fix) plan(query string) (steps []string) {
	f.t.Helper()
	var rows []struct {
		ID, Parent, Notused int64
		Detail              string
	}
	f.ok(f.db.Read(f.t.Context(), func(q *db.Tx) error {
		args := make([]any, strings.Count(query, "?"))
		return q.Select(&rows, `EXPLAIN QUERY PLAN `+query, args...)
	}))
	if len(rows) == 0 {
		f.t.Errorf("no plan of %s", query)
	}
	for _, r := range rows {
		steps = append(steps, r.Detail)
	}
	return steps
}

// ofFew: the index has only what is queued, running or parked, or it is a table of the
// query's own with a limit.
func ofFew(step string) bool {
	if step == "SCAN old" || step == "SCAN new" || step == "SCAN waiting" {
		return true
	}
	for _, index := range []string{"requests_queued", "requests_running", "requests_parked"} {
		if strings.HasSuffix(step, "USING INDEX "+index) || strings.HasSuffix(step, "USING COVERING INDEX "+index) {
			return true
		}
	}
	return false
}

// Excludes: a list that on PostgreSQL walks back over all that there is, for those who have
// few of it: where some accounts have most rows, it expects to meet its own soon.
func TestListsAreReadByTheirIndexesOnPostgreSQL(t *testing.T) {
	if server == nil {
		return // SQLite's plans are above
	}
	f := newFix(t)
	f.failed(key(1), 20_000)
	f.ok(f.write(t.Context(), "", func(t *txn) error {
		_, err := t.Exec(`INSERT INTO postings (key, source, destination, amount, at)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
			SELECT 'finish:' || i || ':x', 'user:a', 'user:b', 1, i FROM n`)
		return err
	}))
	f.ok(f.write(t.Context(), "", func(t *txn) error { _, err := t.Exec(`ANALYZE requests, postings`); return err }))
	by, byArgs := paidBy(db.Postgres, "user:a", 10)
	to, toArgs := paidTo(db.Postgres, "user:b", 10)
	latest, latestArgs := latestAsked(db.Postgres, `r.*`, key(1), 10)
	for index, q := range map[string]struct {
		query string
		args  []any
	}{
		"postings_source":      {by, byArgs},
		"postings_destination": {to, toArgs},
		"requests_asker":       {`SELECT * FROM ` + latest, latestArgs},
	} {
		var steps []string
		f.ok(f.db.Read(t.Context(), func(tx *db.Tx) error { return tx.Select(&steps, `EXPLAIN `+q.query, q.args...) }))
		if plan := strings.Join(steps, "\n"); !strings.Contains(plan, "Index Scan Backward using "+index) || strings.Contains(plan, "Sort") {
			t.Errorf("not by %s:\n%s", index, plan)
		}
	}
}
