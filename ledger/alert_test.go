package ledger

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes an operator who is told of the same trouble at every start, by every
// tower on the same books, or only the first time it comes.
func TestAlertsAreSaidOncePerPeriod(t *testing.T) {
	f := newFix(t)
	ctx, to := t.Context(), []timmy.PubKey{key(1), key(2)}
	again := f.clock.now().Add(time.Hour)
	var said atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if ok, err := f.Alert(ctx, "wallet", again, to, "The wallet is away."); err != nil {
				t.Error(err)
			} else if ok {
				said.Add(1)
			}
		})
	}
	all.Wait()
	if n := said.Load(); n != 1 {
		t.Errorf("said %d times", n)
	}
	f.restart()
	if ok, err := f.Alert(ctx, "wallet", again, to, "The wallet is away."); err != nil || ok {
		t.Errorf("said again after a restart: %v %v", ok, err)
	}
	ps := f.due()
	if len(ps) != 2 || ps[0].Alert != "The wallet is away." || ps[0].Front != timmy.FrontDM || ps[0].To == ps[1].To {
		t.Errorf("parcels: %+v", ps)
	}
	seen := f.Stats().Seen
	f.clock.add(time.Hour)
	if ok, err := f.Alert(ctx, "wallet", f.clock.now().Add(time.Hour), to, "The wallet is away."); err != nil || !ok {
		t.Errorf("not said again when the time is over: %v %v", ok, err)
	}
	if n := f.Stats().Seen; n != seen {
		t.Errorf("%d rows are counted, were %d", n, seen)
	}
}

// Excludes a list that shows a key what is another's, what is over, or what is paid.
func TestAKeySeesItsOpenSessionsAndInvoices(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	account := timmy.UserAccount(k)
	f.session("mine", k, 300*sat)
	f.session("others", key(2), 300*sat)
	f.session("nobodys", timmy.PubKey{}, 300*sat)
	f.give(account, 1000*sat)
	owned, err := f.Owned(ctx, k, 10)
	f.ok(err)
	if len(owned) != 1 || owned[0].ID != "mine" || owned[0].Balance != 300*sat {
		t.Errorf("owned: %+v", owned)
	}
	if of, err := f.Owned(ctx, timmy.PubKey{}, 10); err != nil || len(of) != 0 {
		t.Errorf("nobody owns %+v, %v", of, err)
	}
	top := timmy.TopUp{Account: account, Purpose: timmy.ForPay, Amount: 100 * sat}
	paid := f.invoice(top, timmy.Lease{})
	open := f.invoice(top, timmy.Lease{})
	f.credit(paid, timmy.CreditApplied)
	unpaid, err := f.Unpaid(ctx, account, 10)
	f.ok(err)
	if len(unpaid) != 1 || unpaid[0].Hash != open.Hash || unpaid[0].Bolt11 == "" {
		t.Errorf("unpaid: %+v", unpaid)
	}
	f.clock.add(48 * time.Hour)
	unpaid, err = f.Unpaid(ctx, account, 10)
	f.ok(err)
	owned, err = f.Owned(ctx, k, 10)
	f.ok(err)
	if len(unpaid) != 0 || len(owned) != 0 {
		t.Errorf("two days later: %+v, %+v", unpaid, owned)
	}
}
