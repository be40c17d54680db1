package ledger

import (
	"slices"
	"strings"

	"github.com/timmy-tower/timmy"
)

// entry is a posting that is about to be written.
type entry struct {
	key      string
	from, to timmy.Account
	amount   timmy.Msat
}

// charges are the postings of a request's cost: the payers' legs in their order fill
// dust first, then the pool's share, and the rest is revenue; the pool's leg has no
// share. Keys are "finish:<request>:<from>:<to>".
func charges(id string, payers []leg, absorbed, dust timmy.Msat, poolShare int64) []entry {
	var charged timmy.Msat
	for _, p := range payers {
		charged += p.amount
	}
	dustPaid := min(dust, charged)
	share := millionths(charged-dustPaid, poolShare)
	list := fill(nil, id, payers, []leg{
		{"dust", timmy.HouseDust, dustPaid}, {"pool", timmy.HousePool, share}, {"revenue", timmy.HouseRevenue, charged - dustPaid - share},
	})
	dustLeft := dust - dustPaid
	return fill(list, id, []leg{{"pool", timmy.HousePool, absorbed}}, []leg{
		{"dust", timmy.HouseDust, dustLeft}, {"revenue", timmy.HouseRevenue, absorbed - dustLeft},
	})
}

// fill pours the sources into the goals, in order. Both sums are equal.
func fill(list []entry, id string, sources, goals []leg) []entry {
	for _, s := range sources {
		for i := range goals {
			g := &goals[i]
			n := min(s.amount, g.amount)
			if n > 0 {
				list = append(list, entry{"finish:" + id + ":" + s.name + ":" + g.name, s.from, g.from, n})
			}
			s.amount -= n
			g.amount -= n
		}
	}
	return list
}

// capture books the cost of a request out of what it held, and releases the rest: what
// [txn.release] and [txn.post] would do one by one, in a statement for all postings and
// one for each account. The guard of an account is in its write; that the cost is not
// above the hold was checked. expected is what the payer's account had at the start.
func (t *txn) capture(r *row, held [3]leg, payers []leg, absorbed, dust, expected timmy.Msat) error {
	list := charges(r.ID, payers, absorbed, dust, t.l.o.PoolShare)
	if err := t.enter(list); err != nil {
		return err
	}
	for i, out := range []timmy.Msat{payers[0].amount, payers[1].amount, absorbed} {
		h := held[i]
		if h.amount == 0 {
			continue
		}
		take := t.take
		if _, ok := r.Payer.Session(); i == 1 && !ok {
			take = func(h leg, out timmy.Msat) error { return t.takeExpected(r, h, out, expected) }
		}
		if err := take(h, out); err != nil {
			return err
		}
	}
	for _, e := range list {
		if e.to.Floored() {
			if err := t.arrive(e.to, e.amount); err != nil {
				return err
			}
		}
	}
	return nil
}

// take moves out of an account what a request costs it, and releases what it held there.
func (t *txn) take(h leg, out timmy.Msat) error {
	return t.Later(func(n int64) error {
		if n != 1 {
			return bug("capturing %d of %d that %s held", out, h.amount, h.from)
		}
		return nil
	}, `UPDATE accounts SET posted = posted - ?, held = held - ?
		WHERE name = ? AND held >= ? AND posted - held >= ?`, out, h.amount, h.from, h.amount, out-h.amount)
}

// takeExpected is take from the payer's own account. If that had not what was expected,
// the request's balance is read and written anew.
func (t *txn) takeExpected(r *row, h leg, out, expected timmy.Msat) error {
	return t.Later(func(n int64) error {
		if n == 1 {
			return nil
		}
		if err := t.take(h, out); err != nil {
			return err
		}
		return t.setBalance(r)
	}, `UPDATE accounts SET posted = posted - ?, held = held - ?
		WHERE name = ? AND held >= ? AND posted - held >= ? AND posted = ?`, out, h.amount, h.from, h.amount, out-h.amount, expected)
}

// enter writes postings, which all are new. Their accounts are the caller's to move.
// Several go at once where each statement is a way to the server; SQLite would keep a
// journal for such a statement.
func (t *txn) enter(list []entry) error {
	atOnce, written, left := 1, int64(0), len(list)
	if !t.oneProcess() {
		atOnce = max(1, len(list))
	}
	for some := range slices.Chunk(list, atOnce) {
		args := make([]any, 0, 5*len(some))
		for _, e := range some {
			if e.amount <= 0 || e.amount > timmy.MaxMsat {
				return bug("posting %s of %d", e.key, e.amount)
			}
			args = append(args, e.key, e.from, e.to, e.amount, ms(t.now))
		}
		left -= len(some)
		last := left == 0
		err := t.Later(func(n int64) error {
			if written += n; !last || written == int64(len(list)) {
				return nil
			}
			if written == 0 {
				return errPosted
			}
			return bug("%d of %d postings from %s were new", written, len(list), list[0].key)
		}, `INSERT INTO postings (key, source, destination, amount, at) VALUES (?, ?, ?, ?, ?)`+
			strings.Repeat(`, (?, ?, ?, ?, ?)`, len(some)-1)+` ON CONFLICT DO NOTHING`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// arrive adds to an account.
func (t *txn) arrive(to timmy.Account, amount timmy.Msat) error {
	return t.Later(nil, `INSERT INTO accounts (name, posted) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET posted = accounts.posted + excluded.posted`, to, amount)
}
