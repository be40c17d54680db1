package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// arrival is money for a session at a time of its own.
type arrival struct {
	at      time.Time
	payment timmy.Payment
}

// Excludes: money for a session that is kept, lost or counted twice because of when it
// comes: while the session lives, as it ends, long after, or while the tower is down
// (A10).
func TestMoneyCountsWheneverItComes(t *testing.T) {
	const sessions = 100 // with two invoices each
	f, rng := newFix(t), seed(t)
	ctx, began := t.Context(), f.clock.now()
	var due []arrival
	for i := range sessions {
		id := fmt.Sprint("s", i)
		account := timmy.SessionAccount(id)
		_, err := Sessions{f.Ledger}.Open(ctx, id, timmy.PubKey{}, "")
		f.ok(err)
		for _, purpose := range []timmy.Purpose{timmy.ForDeposit, timmy.ForPay} {
			p := f.invoice(timmy.TopUp{Account: account, Purpose: purpose, Amount: timmy.Msat(100+i) * sat}, timmy.Lease{})
			due = append(due, arrival{at: began.Add(time.Duration(rng.Int64N(int64(49 * time.Hour)))), payment: p})
		}
	}
	slices.SortFunc(due, func(a, b arrival) int { return a.at.Compare(b.at) })
	told := map[timmy.Hash]bool{}
	report := func(p timmy.Payment) {
		want := timmy.CreditApplied
		if told[p.Hash] {
			want = timmy.CreditReplayed
		}
		f.credit(p, want)
		told[p.Hash] = true
	}
	starts, ended, down := 0, 0, false
	for i, a := range due {
		f.clock.add(max(0, a.at.Sub(f.clock.now())))
		if down = down || rng.IntN(8) == 0; down && rng.IntN(4) > 0 {
			continue // nobody hears of this one
		}
		if down { // the full pass at the start tells all there was
			f.restart()
			starts, down = starts+1, false
			for _, missed := range due[:i] {
				report(missed.payment)
			}
		}
		n, err := f.ExpireSessions(ctx, f.clock.now())
		f.ok(err)
		ended += n
		report(a.payment)
	}
	for _, a := range due {
		report(a.payment)
	}
	for i := range sessions {
		id := fmt.Sprint("s", i)
		f.posted(timmy.SessionAccount(id), 2*timmy.Msat(100+i)*sat)
		if s, err := f.Session(ctx, id); err != nil || s.Bearer == 0 {
			t.Errorf("%s has money and no bearer: %+v, %v", id, s, err)
		}
	}
	f.verify()
	t.Logf("%d payments, %d starts, %d ends of sessions", len(due), starts, ended)
	if starts < 5 || ended < 20 {
		t.Error("too little happened for this test to mean anything")
	}
}
