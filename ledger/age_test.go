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
	for name, query := range map[string]string{
		"recover": leftRunning, "lapse": lapsed, "prune": neverPaid, "move": moveOn, "start": nextQueued,
		"paid": paid, "paid by the house": paidByHouse, "asked": askedBy, "latest asked": `SELECT * FROM ` + latestAsked(`r.*`),
	} {
		var steps []struct {
			ID, Parent, Notused int64
			Detail              string
		}
		err := f.db.Read(t.Context(), func(q *db.Tx) error {
			args := make([]any, strings.Count(query, "?"))
			return q.Select(&steps, `EXPLAIN QUERY PLAN `+query, args...)
		})
		f.ok(err)
		if len(steps) == 0 {
			t.Errorf("%s: no plan", name)
		}
		for _, s := range steps {
			if strings.HasPrefix(s.Detail, "SCAN ") && !ofFew(s.Detail) {
				t.Errorf("%s: %s", name, s.Detail)
			}
		}
	}
}

// ofFew: the index has only what is queued, running or parked, or it is a table of the
// query's own with a limit.
func ofFew(step string) bool {
	if step == "SCAN old" || step == "SCAN new" {
		return true
	}
	for _, index := range []string{"requests_queued", "requests_running", "requests_parked"} {
		if strings.HasSuffix(step, "USING INDEX "+index) || strings.HasSuffix(step, "USING COVERING INDEX "+index) {
			return true
		}
	}
	return false
}
