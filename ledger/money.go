package ledger

import (
	"context"
	"database/sql"
	"errors"
	"math/bits"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// million is the unit of shares: millionths.
const million = 1_000_000

// errShort: the floor of an account held.
var errShort = timmy.Errorf(timmy.Unpaid, "not enough balance")

// errPosted: a posting with this key exists; nothing moved.
var errPosted = timmy.Errorf(timmy.Conflict, "this was booked already")

// The keys of charges, which nearly all are, have an index of their own on SQLite: those
// over HTTP come in the order of time, and at the end of an index they take a page of it,
// in its middle two and a half. A query by key says which it means.
const (
	chargeKeys = `key >= 'finish:' AND key < 'finish;'`
	otherKeys  = `(key < 'finish:' OR key >= 'finish;')`
)

// post moves an amount once. The guard of the source is in the write itself.
func (t *txn) post(key string, from, to timmy.Account, amount timmy.Msat) error {
	if amount == 0 {
		return nil
	}
	if amount < 0 || amount > timmy.MaxMsat {
		return bug("posting %s of %d", key, amount)
	}
	n, err := t.Exec(`INSERT INTO postings (key, source, destination, amount, at)
		VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, key, from, to, amount, ms(t.now))
	if err != nil {
		return err
	}
	if n == 0 {
		return errPosted
	}
	if from.Floored() {
		n, err := t.Exec(`UPDATE accounts SET posted = posted - ? WHERE name = ? AND posted - held >= ?`,
			amount, from, amount)
		if err != nil {
			return err
		}
		if n != 1 {
			return errShort
		}
	}
	if to.Floored() {
		return t.arrive(to, amount)
	}
	return nil
}

// reserve holds an amount, or answers errShort.
func (t *txn) reserve(a timmy.Account, amount timmy.Msat) error {
	if amount == 0 {
		return nil
	}
	if amount < 0 || !a.Floored() {
		return bug("holding %d of %s", amount, a)
	}
	n, err := t.Exec(`UPDATE accounts SET held = held + ? WHERE name = ? AND posted - held >= ?`, amount, a, amount)
	if err != nil {
		return err
	}
	if n != 1 {
		return errShort
	}
	return nil
}

// release gives back what was held.
func (t *txn) release(a timmy.Account, amount timmy.Msat) error {
	if amount == 0 {
		return nil
	}
	n, err := t.Exec(`UPDATE accounts SET held = held - ? WHERE name = ? AND held >= ?`, amount, a, amount)
	if err != nil {
		return err
	}
	if n != 1 {
		return bug("releasing %d of %s: not held", amount, a)
	}
	return nil
}

// balance reads an account: the stored one, or for the house's others the sum of
// their postings. An account that was never used has nothing.
func balance(q *db.Tx, a timmy.Account) (b timmy.Balance, err error) {
	if !a.Floored() {
		err = q.Get(&b.Posted, `SELECT
			COALESCE((SELECT SUM(amount) FROM postings WHERE `+arrivals(a)+`), 0) -
			COALESCE((SELECT SUM(amount) FROM postings WHERE `+departures+`), 0)`, a, a)
		return b, err
	}
	err = q.Row([]any{&b.Posted, &b.Held}, `SELECT posted, held FROM accounts WHERE name = ?`, a)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return b, err
}

// arrivals is the condition of the postings to an account, as the index has them: it has
// none to the three accounts that nearly each charge goes to.
func arrivals(a timmy.Account) string {
	if eachCharge(a) {
		return `destination = ?`
	}
	return `destination = ? AND ` + indexedArrivals
}

const indexedArrivals = `destination <> 'house:revenue' AND destination <> 'house:pool' AND destination <> 'house:dust'`

// eachCharge is an account that nearly each charge goes to.
func eachCharge(a timmy.Account) bool {
	return a == timmy.HouseRevenue || a == timmy.HousePool || a == timmy.HouseDust
}

// leg is a part of a charge and the account that pays it.
type leg struct {
	name   string // in the posting's key
	from   timmy.Account
	amount timmy.Msat
}

// millionths is amount × share / 1,000,000, rounded down, without overflow.
func millionths(amount timmy.Msat, share int64) timmy.Msat {
	if amount <= 0 || share <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(amount), uint64(share))
	q, _ := bits.Div64(hi, lo, million)
	return timmy.Msat(q)
}

// Balance reads an account. One that was never used has nothing.
func (l *Ledger) Balance(ctx context.Context, a timmy.Account) (b timmy.Balance, err error) {
	err = l.read(ctx, func(q *db.Tx) error { b, err = balance(q, a); return err })
	return b, err
}

// Postings lists an account's latest movements, newest first.
func (l *Ledger) Postings(ctx context.Context, a timmy.Account, limit int) (ps []timmy.Posting, err error) {
	limit = clamp(limit, maxList)
	by, args := paidBy(l.db.Dialect(), a, limit)
	to, more := paidTo(l.db.Dialect(), a, limit)
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&ps, `SELECT `+movement+` FROM (
				SELECT * FROM (`+by+`) AS s UNION ALL SELECT * FROM (`+to+`) AS d
			) AS p ORDER BY seq DESC LIMIT ?`, append(append(args, more...), limit)...)
	})
	return ps, err
}

// Fund moves the operator's money into the free pool, exactly once in the life of
// the books: a second call, with whatever amount, changes nothing.
func (l *Ledger) Fund(ctx context.Context, amount timmy.Msat) error {
	if amount < 0 || amount > timmy.MaxMsat {
		return timmy.Errorf(timmy.Invalid, "the pool cannot be funded with %s", amount)
	}
	err := l.write(ctx, failpoint.LedgerFund, func(t *txn) error {
		return t.post("fund:pool", timmy.HouseOperator, timmy.HousePool, amount)
	})
	if errors.Is(err, errPosted) {
		return nil
	}
	return err
}

func clamp(n, most int) int { return max(0, min(n, most)) }
