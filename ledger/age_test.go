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
	paid, _ := paidBy("user:", 10)
	paidByHouse, _ := paidBy(timmy.HousePool, 10)
	queries := map[string]string{
		"entries": entriesOf, "admitted": admissionOf,
		"recover": leftRunning, "lapse": lapsed, "prune": neverPaid, "move": moveOn, "start": nextQueued,
		"paid": paid, "paid by the house": paidByHouse, "asked": askedBy, "waiting": waitingOf, "latest asked": `SELECT * FROM ` + latestAsked(`r.*`),
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
