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
// above the hold was checked. It says whether the user's leg was taken from an account
// that had what was expected, so that it need not be read.
func (t *txn) capture(id string, held [3]leg, payers []leg, absorbed, dust, expected timmy.Msat) (had bool, err error) {
	list := charges(id, payers, absorbed, dust, t.l.o.PoolShare)
	if err := t.enter(list); err != nil {
		return false, err
	}
	for i, out := range []timmy.Msat{payers[0].amount, payers[1].amount, absorbed} {
		h := held[i]
		if h.amount == 0 {
			continue
		}
		n := int64(0)
		if i == 1 {
			n, err = t.Exec(`UPDATE accounts SET posted = posted - ?, held = held - ?
				WHERE name = ? AND held >= ? AND posted - held >= ? AND posted = ?`, out, h.amount, h.from, h.amount, out-h.amount, expected)
			had = n == 1
		}
		if err == nil && n == 0 {
			n, err = t.Exec(`UPDATE accounts SET posted = posted - ?, held = held - ?
				WHERE name = ? AND held >= ? AND posted - held >= ?`, out, h.amount, h.from, h.amount, out-h.amount)
		}
		if err != nil {
			return false, err
		}
		if n != 1 {
			return false, bug("capturing %d of %d that %s held", out, h.amount, h.from)
		}
	}
	for _, e := range list {
		if e.to.Floored() {
			if err := t.arrive(e.to, e.amount); err != nil {
				return false, err
			}
		}
	}
	return had, nil
}

// enter writes postings, which all are new. Their accounts are the caller's to move.
// Several go at once where each statement is a way to the server; SQLite would keep a
// journal for such a statement.
func (t *txn) enter(list []entry) error {
	if len(list) == 0 {
		return nil
	}
	atOnce, written := 1, int64(0)
	if !t.oneProcess() {
		atOnce = len(list)
	}
	for some := range slices.Chunk(list, atOnce) {
		n, err := t.enterSome(some)
		if err != nil {
			return err
		}
		written += n
	}
	switch written {
	case 0:
		return errPosted
	case int64(len(list)):
		return nil
	}
	return bug("%d of %d postings from %s were new", written, len(list), list[0].key)
}

func (t *txn) enterSome(list []entry) (int64, error) {
	args := make([]any, 0, 5*len(list))
	for _, e := range list {
		if e.amount <= 0 || e.amount > timmy.MaxMsat {
			return 0, bug("posting %s of %d", e.key, e.amount)
		}
		args = append(args, e.key, e.from, e.to, e.amount, ms(t.now))
	}
	return t.Exec(`INSERT INTO postings (key, source, destination, amount, at) VALUES (?, ?, ?, ?, ?)`+
		strings.Repeat(`, (?, ?, ?, ?, ?)`, len(list)-1)+` ON CONFLICT (key) DO NOTHING`, args...)
}

// arrive adds to an account.
func (t *txn) arrive(to timmy.Account, amount timmy.Msat) error {
	_, err := t.Exec(`INSERT INTO accounts (name, posted) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET posted = accounts.posted + excluded.posted`, to, amount)
	return err
}
