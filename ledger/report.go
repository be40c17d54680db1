package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// Holding is what one account, or all accounts of a kind together, hold.
type Holding struct {
	Account  timmy.Account // or a kind: "users", "sessions"
	Accounts int64         // how many
	timmy.Balance
}

// Sheet is where all the money is, in one snapshot.
type Sheet struct {
	House    []Holding // every account of the house, used or not
	Users    Holding
	Sessions Holding
}

// Sum is the sum over all accounts: 0, or the books are wrong.
func (s Sheet) Sum() timmy.Msat {
	sum := s.Users.Posted + s.Sessions.Posted
	for _, h := range s.House {
		sum += h.Posted
	}
	return sum
}

// Owed is what belongs to others: the balances of users and sessions, and what
// came in and has no owner yet. The free pool is the operator's own.
func (s Sheet) Owed() timmy.Msat {
	owed := s.Users.Posted + s.Sessions.Posted
	for _, h := range s.House {
		if h.Account == timmy.HouseSuspense {
			owed += h.Posted
		}
	}
	return owed
}

// houseAccounts are all there are.
var houseAccounts = []timmy.Account{
	timmy.HouseLightning, timmy.HouseRevenue, timmy.HouseOperator, timmy.HousePool,
	timmy.HouseFees, timmy.HouseDust, timmy.HouseSuspense,
}

// Sheet adds up all accounts.
func (l *Ledger) Sheet(ctx context.Context) (s Sheet, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		s, err = sheet(q)
		return err
	})
	return s, err
}

func sheet(q *db.Tx) (s Sheet, err error) {
	for _, a := range houseAccounts {
		b, err := balance(q, a)
		if err != nil {
			return s, fmt.Errorf("adding up %s: %w", a, err)
		}
		s.House = append(s.House, Holding{a, 1, b})
	}
	for kind, into := range map[string]*Holding{"user": &s.Users, "session": &s.Sessions} {
		var sum struct{ Accounts, Posted, Held int64 }
		err := q.Get(&sum, `SELECT COUNT(*) AS accounts, CAST(COALESCE(SUM(posted), 0) AS BIGINT) AS posted,
			CAST(COALESCE(SUM(held), 0) AS BIGINT) AS held FROM accounts WHERE name LIKE ?`, kind+":%")
		if err != nil {
			return s, fmt.Errorf("adding up %ss: %w", kind, err)
		}
		*into = Holding{timmy.Account(kind + "s"), sum.Accounts, timmy.Balance{Posted: timmy.Msat(sum.Posted), Held: timmy.Msat(sum.Held)}}
	}
	return s, nil
}

// Holding reads one account. NotFound: it never held anything, and is not the
// house's.
func (l *Ledger) Holding(ctx context.Context, a timmy.Account) (h Holding, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		var used int64
		if err := q.Get(&used, `SELECT COUNT(*) FROM accounts WHERE name = ?`, a); err != nil {
			return err
		}
		if used == 0 && !known(a) {
			return timmy.Errorf(timmy.NotFound, "the books have no account %s", a)
		}
		b, err := balance(q, a)
		h = Holding{a, 1, b}
		return err
	})
	return h, err
}

func known(a timmy.Account) bool {
	for _, h := range houseAccounts {
		if a == h {
			return true
		}
	}
	return false
}

// Export calls f for every posting, oldest first, in one snapshot and without
// keeping them. An error of f ends it and is returned.
func (l *Ledger) Export(ctx context.Context, f func(timmy.Posting) error) error {
	return l.read(ctx, func(q *db.Tx) error {
		return q.Each(func(rows *sqlx.Rows) error {
			var p timmy.Posting
			if err := rows.StructScan(&p); err != nil {
				return err
			}
			return f(p)
		}, `SELECT seq, key, source, destination, amount, at FROM postings ORDER BY seq`)
	})
}

// Statement is what moved in a span of time, and where the money is now.
type Statement struct {
	From, Until time.Time // From ≤ t < Until

	CameIn    timmy.Msat // over Lightning, whoever got it
	Suspended timmy.Msat // of that, what nobody could be credited for; negative: more was found to have an owner
	Tips      timmy.Msat // of that, for nobody's account: revenue
	WentOut   timmy.Msat // given back over Lightning: refunds with their fees, and by the operator's own hand

	Earned     timmy.Msat // by requests, and by tips
	Dust       timmy.Msat // earned by rounding up
	PoolGiven  timmy.Msat // to the pool
	PoolTaken  timmy.Msat // from it
	Requests   int64      // charged
	Payments   int64      // credited
	Now        Sheet      // when the statement is made, not at Until
	NowPending int64      // suspense rows that nobody has resolved
}

// flow is what moved between two kinds of accounts for one reason.
type flow struct {
	Why, Source, Destination string
	Amount                   timmy.Msat
	Count                    int64
}

// Statement adds up the postings of a span. It reads all of them: minutes of the
// month are not indexed, and a statement is made once in one.
func (l *Ledger) Statement(ctx context.Context, from, until time.Time) (s Statement, err error) {
	s = Statement{From: from, Until: until}
	var flows []flow
	err = l.read(ctx, func(q *db.Tx) error {
		err := q.Select(&flows, `SELECT why, source, destination, CAST(SUM(amount) AS BIGINT) AS amount, COUNT(*) AS count FROM (
				SELECT CASE WHEN key LIKE 'unsuspend:%' THEN 'unsuspend' WHEN key LIKE 'settle:%' THEN 'settle' ELSE '' END AS why,
					CASE WHEN source LIKE 'user:%' OR source LIKE 'session:%' THEN 'customer' ELSE source END AS source,
					CASE WHEN destination LIKE 'user:%' OR destination LIKE 'session:%' THEN 'customer' ELSE destination END AS destination, amount
				FROM postings WHERE at >= ? AND at < ?
			) AS p GROUP BY why, source, destination LIMIT ?`, ms(from), ms(until), maxList)
		if err != nil {
			return err
		}
		if err := q.Get(&s.NowPending, `SELECT COUNT(*) FROM suspense WHERE resolved = 0`); err != nil {
			return err
		}
		if err := q.Get(&s.Requests, `SELECT COUNT(*) FROM requests WHERE charged + absorbed > 0 AND since >= ? AND since < ?`, ms(from), ms(until)); err != nil {
			return err
		}
		s.Now, err = sheet(q)
		return err
	})
	for _, f := range flows {
		s.add(f)
	}
	return s, err
}

func (s *Statement) add(f flow) {
	from, to := timmy.Account(f.Source), timmy.Account(f.Destination)
	if f.Why == "settle" {
		s.Payments += f.Count
	}
	switch {
	case f.Why == "unsuspend": // it was counted when it came, and is again now
		s.CameIn -= f.Amount
		s.Suspended -= f.Amount
		return
	case from == timmy.HouseLightning:
		s.CameIn += f.Amount
	case to == timmy.HouseLightning:
		s.WentOut += f.Amount
	}
	switch to {
	case timmy.HouseRevenue:
		s.Earned += f.Amount
	case timmy.HouseDust:
		s.Dust += f.Amount
	case timmy.HousePool:
		s.PoolGiven += f.Amount
	case timmy.HouseSuspense:
		s.Suspended += f.Amount
	}
	if from == timmy.HouseLightning && to == timmy.HouseRevenue {
		s.Tips += f.Amount
	}
	if from == timmy.HousePool {
		s.PoolTaken += f.Amount
	}
}

// InvoiceRow is an invoice as the books have it, for the operator.
type InvoiceRow struct {
	Ref     string
	Hash    string // empty: the wallet has not said
	State   string // expected, open, expired, withdrawn, settled
	Account timmy.Account
	Purpose timmy.Purpose
	Amount  timmy.Msat
	timmy.InvoiceStatus
	Created time.Time
}

// InvoiceStates are the states that Invoices knows. "expired" is an open one that
// nobody paid in time; it is still credited if it is.
func InvoiceStates() []string { return []string{expected, issued, "expired", withdrawn, settled} }

// Invoices lists invoices of a state (empty: of any), newest first, at most limit
// and a thousand.
func (l *Ledger) Invoices(ctx context.Context, state string, limit int) (list []InvoiceRow, err error) {
	now := ms(l.o.Now())
	stored, open := state, false
	if state == "expired" || state == issued {
		stored, open = issued, true
	}
	var rows []irow
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&rows, `SELECT * FROM invoices WHERE (? = '' OR state = ?) AND (? = 0 OR CASE WHEN expires <= ? THEN 1 ELSE 0 END = ?)
			ORDER BY created DESC, ref LIMIT ?`, stored, stored, bit(open), now, bit(state == "expired"), clamp(limit, maxList))
	})
	for i := range rows {
		r := &rows[i]
		if r.State == issued && r.Expires <= now {
			r.State = "expired"
		}
		list = append(list, InvoiceRow{r.Ref, r.Hash.String, r.State, r.Account, r.Purpose, r.Amount, r.status(), when(r.Created)})
	}
	return list, err
}
