package ledger

import (
	"context"
	"fmt"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// Drift is a number in the books that does not follow from the rest of them.
type Drift struct {
	Account timmy.Account // or the request, where it is one's
	What    string        // "posted", "held", "sum", …
	Has     timmy.Msat
	Want    timmy.Msat
}

// String names the account and both numbers.
func (d Drift) String() string {
	return fmt.Sprintf("%s: %s is %s, want %s", d.Account, d.What, d.Has, d.Want)
}

// checks recompute what is stored from what it follows from. Each yields the rows
// that are off, at most a thousand.
var checks = []struct{ what, query string }{
	{"posted", `SELECT name AS account, MAX(has) AS has, SUM(want) AS want FROM (
			SELECT name, posted AS has, 0 AS want FROM accounts
			UNION ALL SELECT destination, 0, SUM(amount) FROM postings
				WHERE destination NOT LIKE 'house:%' OR destination = 'house:pool' GROUP BY destination
			UNION ALL SELECT source, 0, -SUM(amount) FROM postings
				WHERE source NOT LIKE 'house:%' OR source = 'house:pool' GROUP BY source
		) AS x GROUP BY name HAVING MAX(has) <> SUM(want) LIMIT 1000`},
	{"held", `SELECT name AS account, MAX(has) AS has, SUM(want) AS want FROM (
			SELECT name, held AS has, 0 AS want FROM accounts
			UNION ALL SELECT 'house:pool', 0, hold_pool FROM requests WHERE state = 'running'
			UNION ALL SELECT payer, 0, hold_session FROM requests WHERE state = 'running'
			UNION ALL SELECT CASE WHEN payer LIKE 'session:%'
				THEN 'user:' || COALESCE((SELECT owner FROM sessions WHERE 'session:' || id = payer), '') ELSE payer END,
				0, hold_user FROM requests WHERE state = 'running' AND hold_user > 0
			UNION ALL SELECT account, 0, amount + fee FROM refunds WHERE state IN ('reserved', 'sending')
		) AS x GROUP BY name HAVING MAX(has) <> SUM(want) LIMIT 1000`},
	{"hold of what does not run", `SELECT id AS account, hold_pool + hold_session + hold_user AS has, 0 AS want
		FROM requests WHERE state <> 'running' AND hold_pool + hold_session + hold_user <> 0 LIMIT 1000`},
	{"cost", `SELECT id AS account, charged + absorbed + waived AS has, total AS want
		FROM requests WHERE charged + absorbed + waived <> total LIMIT 1000`},
	{"booked", `SELECT account, has, want FROM (SELECT id AS account, (SELECT COALESCE(SUM(amount), 0) FROM postings
				WHERE key >= 'finish:' || id || ':' AND key < 'finish:' || id || ';' AND ` + chargeKeys + `) AS has,
			charged + absorbed AS want FROM requests) AS x WHERE has <> want LIMIT 1000`},
	{"credited", `SELECT account, has, want FROM (SELECT account, received AS has, (SELECT COALESCE(SUM(amount), 0) FROM postings
				WHERE (key = 'settle:' || invoices.hash OR key = 'settle:ref:' || invoices.ref) AND ` + otherKeys + `) AS want
			FROM invoices WHERE state = 'settled') AS x WHERE has <> want LIMIT 1000`},
	{"suspended", `SELECT 'house:suspense' AS account, has, want FROM (SELECT posted AS has,
				(SELECT COALESCE(SUM(amount), 0) FROM postings WHERE key = 'suspense:' || suspense.name AND ` + otherKeys + `) AS want
			FROM suspense WHERE name NOT LIKE 'late:%') AS x WHERE has <> want LIMIT 1000`},
	{"resolved", `SELECT 'house:suspense' AS account, has, want FROM (SELECT (SELECT COALESCE(SUM(amount), 0) FROM postings
				WHERE (key = 'resolve:' || suspense.name OR key = 'unsuspend:' || suspense.name) AND ` + otherKeys + `) AS has,
			CASE WHEN resolved <> 0 THEN posted ELSE 0 END AS want FROM suspense) AS x WHERE has <> want LIMIT 1000`},
	{"refunded", `SELECT account, has, want FROM (SELECT id AS account, (SELECT COALESCE(SUM(amount), 0) FROM postings
				WHERE (key = 'refund:' || refunds.id OR key = 'refund:' || refunds.id || ':fee') AND ` + otherKeys + `) AS has,
			CASE WHEN state = 'paid' THEN amount + paid_fee ELSE 0 END AS want FROM refunds) AS x WHERE has <> want LIMIT 1000`},
}

// Verify recomputes every balance from the postings, what is held from the
// requests that run and refunds under way, and what was charged, credited and refunded,
// in one snapshot. It lists what is off; nothing means that the books are right.
func (l *Ledger) Verify(ctx context.Context) (drifts []Drift, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		for _, c := range checks {
			var rows []Drift
			if err := q.Select(&rows, c.query); err != nil {
				return fmt.Errorf("verifying %s: %w", c.what, err)
			}
			for _, d := range rows {
				d.What = c.what
				drifts = append(drifts, d)
			}
		}
		return nil
	})
	return drifts, err
}
