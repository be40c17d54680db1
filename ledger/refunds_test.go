package ledger

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// size is a Sizing over fixed numbers.
func size(amount, fee timmy.Msat) Sizing {
	return func(timmy.Msat) (timmy.Msat, timmy.Msat, error) { return amount, fee, nil }
}

// all gives everything back, less ten sats for routing.
func all(available timmy.Msat) (amount, fee timmy.Msat, err error) {
	if available <= 10*sat {
		return 0, 0, timmy.Errorf(timmy.Unpaid, "nothing to give back")
	}
	return available - 10*sat, 10 * sat, nil
}

// target is an invoice of somebody else's wallet.
func (f *fix) target(amount timmy.Msat) timmy.Invoice {
	_, h := f.preimage()
	return timmy.Invoice{Hash: h, Bolt11: "lnbcrt1" + h.String(), Amount: amount, Expires: f.clock.now().Add(time.Hour)}
}

func (f *fix) refund(id string, a timmy.Account, s Sizing) timmy.Refund {
	f.t.Helper()
	r, err := f.Refund(f.t.Context(), timmy.Refund{ID: id, Account: a, To: "me@wallet.example"}, s)
	f.ok(err)
	return r
}

// launched is a refund whose wallet may be asked.
func (f *fix) launched(id string, a timmy.Account, s Sizing) timmy.Refund {
	f.t.Helper()
	r := f.refund(id, a, s)
	f.ok(f.Aim(f.t.Context(), id, f.target(r.Amount)))
	f.ok(f.Launch(f.t.Context(), id))
	return r
}

// Excludes A4: a refund that is lost, paid twice, or leaves less than nothing, when
// the tower dies between any two of its steps, and each is tried again after it.
func TestARefundIsBookedOnceWhateverDies(t *testing.T) {
	for name, c := range map[string]struct {
		sent timmy.Sent
		left timmy.Msat
		fees timmy.Msat
		odd  bool
	}{
		"paid":         {timmy.Sent{State: timmy.SentPaid, Fee: 3 * sat, Preimage: [32]byte{1}}, 97 * sat, 3 * sat, false},
		"failed":       {timmy.Sent{State: timmy.SentFailed, Reason: "no route"}, 1000 * sat, 0, false},
		"huge fee":     {timmy.Sent{State: timmy.SentPaid, Fee: math.MaxInt64}, 90 * sat, 10 * sat, true},
		"negative fee": {timmy.Sent{State: timmy.SentPaid, Fee: -5 * sat}, 90 * sat, 10 * sat, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFix(t)
			ctx, a := t.Context(), timmy.UserAccount(key(1))
			f.give(a, 1000*sat)
			inv := f.target(900 * sat)
			held := func(want timmy.Msat) {
				t.Helper()
				f.verify()
				f.restart()
				f.verify()
				if b, err := f.Balance(ctx, a); err != nil || b.Held != want {
					t.Fatalf("held %v, want %v", b.Held, want)
				}
			}
			for range 2 {
				if r := f.refund("r", a, size(900*sat, 10*sat)); r.State != timmy.RefundReserved || r.Amount != 900*sat {
					t.Fatalf("reserved: %+v", r)
				}
				held(910 * sat)
			}
			f.is(f.Launch(ctx, "r"), timmy.Conflict) // without an invoice
			f.ok(f.Aim(ctx, "r", inv))
			held(910 * sat)
			f.is(f.Aim(ctx, "r", f.target(900*sat)), timmy.Conflict)
			f.ok(f.Launch(ctx, "r"))
			held(910 * sat)
			f.is(f.Launch(ctx, "r"), timmy.Conflict)
			f.is(f.Recall(ctx, "r", "too late"), timmy.Conflict)
			if open, err := f.OpenRefunds(ctx); err != nil || len(open) != 1 || open[0].Invoice != inv || open[0].Sent.IsZero() {
				t.Fatalf("open: %+v, %v", open, err)
			}
			r, odd, err := f.Land(ctx, "r", c.sent)
			f.ok(err)
			if odd != c.odd || !r.State.Final() {
				t.Errorf("landed: %+v, odd %v", r, odd)
			}
			held(0)
			for _, late := range []timmy.SentState{timmy.SentPaid, timmy.SentFailed} {
				again, _, err := f.Land(ctx, "r", timmy.Sent{State: late, Fee: sat})
				if f.ok(err); again.State != r.State || again.Fee != r.Fee {
					t.Errorf("landed twice: %+v", again)
				}
			}
			f.posted(a, c.left)
			f.posted(timmy.HouseLightning, -c.left)
			f.posted(timmy.HouseFees, 0)
			if s := f.refund("r", a, size(1, 1)); s != r {
				t.Errorf("asked again: %+v", s)
			}
			f.verify()
		})
	}
}

// Excludes: a refund that takes what a running question holds, two at a time, and
// more than there is, however many ask at once.
func TestRefundsNeverOverdraw(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	a := timmy.UserAccount(k)
	f.give(a, 1000*sat)
	f.accept(dm("q", k))
	f.start(quote(300*sat, 0))
	_, err := f.Refund(ctx, timmy.Refund{ID: "most", Account: a, To: "x@y.example"}, size(695*sat, 10*sat))
	f.is(err, timmy.Unpaid)
	var made atomic.Int32
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			_, err := f.Refund(ctx, timmy.Refund{ID: fmt.Sprint("r", n), Account: a, To: "x@y.example"}, size(400*sat, 10*sat))
			switch timmy.CodeOf(err) {
			case "":
				made.Add(1)
			case timmy.Conflict:
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if b, _ := f.Balance(ctx, a); made.Load() != 1 || b.Held != 710*sat {
		t.Errorf("%d made, %v held", made.Load(), b.Held)
	}
	f.verify()
}

// Excludes A4: two hundred payments whose wallet lies about the fee; no account
// falls below nothing and the books stay right.
func TestALyingWalletCostsNoMoreThanWasReserved(t *testing.T) {
	f := newFix(t)
	ctx, a := t.Context(), timmy.UserAccount(key(1))
	f.give(a, 5000*sat)
	fees := []timmy.Msat{0, 10 * sat, 11 * sat, -1, math.MaxInt64, math.MinInt64, 5000 * sat}
	charged := timmy.Msat(0)
	for n := range 200 {
		id := fmt.Sprint("r", n)
		f.launched(id, a, size(10*sat, 10*sat))
		r, _, err := f.Land(ctx, id, timmy.Sent{State: timmy.SentPaid, Fee: fees[n%len(fees)]})
		f.ok(err)
		if r.Fee < 0 || r.Fee > 10*sat {
			t.Fatalf("charged a fee of %v", r.Fee)
		}
		charged += r.Amount + r.Fee
	}
	f.posted(a, 5000*sat-charged)
	f.verify()
}

// Excludes: more than the operator allows in a day, and anything before it is.
func TestRefundsAreOffUntilAllowed(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	for n := range byte(3) {
		f.give(timmy.UserAccount(key(n)), 4000*sat)
	}
	f.launched("a", timmy.UserAccount(key(0)), size(2900*sat, 100*sat))
	_, err := f.Refund(ctx, timmy.Refund{ID: "b", Account: timmy.UserAccount(key(1)), To: "x@y.example"}, size(2000*sat, sat))
	f.is(err, timmy.Limited)
	f.refund("b", timmy.UserAccount(key(1)), size(1900*sat, 100*sat))
	f.ok(f.Recall(ctx, "b", "the address is away"))
	f.refund("c", timmy.UserAccount(key(2)), size(2000*sat, 0)) // what failed does not count
	f.clock.add(25 * time.Hour)
	f.refund("d", timmy.UserAccount(key(1)), size(3000*sat, 0))
	f.o.RefundsPerDay = 0
	_, err = f.Refund(ctx, timmy.Refund{ID: "e", Account: timmy.UserAccount(key(0)), To: "x@y.example"}, size(sat, 0))
	f.is(err, timmy.Conflict) // one is under way, which is said first
	_, _, err = f.Land(ctx, "a", timmy.Sent{State: timmy.SentPaid})
	f.ok(err)
	_, err = f.Refund(ctx, timmy.Refund{ID: "e", Account: timmy.UserAccount(key(0)), To: "x@y.example"}, size(sat, 0))
	f.is(err, timmy.Unavailable)
	f.verify()
}

// Excludes A5: a refund to an invoice of ours, and two to one invoice.
func TestARefundNeedsAnInvoiceOfItsOwn(t *testing.T) {
	f := newFix(t)
	ctx, a := t.Context(), timmy.UserAccount(key(1))
	f.give(a, 1000*sat)
	own := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 100 * sat}, timmy.Lease{})
	mine := timmy.Invoice{Hash: own.Hash, Bolt11: "lnbcrt1", Amount: 100 * sat, Expires: f.clock.now().Add(time.Hour)}
	_, err := f.Refund(ctx, timmy.Refund{ID: "r", Account: a, To: "lnbcrt1", Invoice: mine}, size(100*sat, 0))
	f.is(err, timmy.Invalid)
	f.refund("r", a, size(100*sat, 0))
	f.is(f.Aim(ctx, "r", mine), timmy.Invalid)
	theirs := f.target(100 * sat)
	f.ok(f.Aim(ctx, "r", theirs))
	f.ok(f.Recall(ctx, "r", "changed my mind"))
	_, err = f.Refund(ctx, timmy.Refund{ID: "s", Account: a, To: "lnbcrt1", Invoice: theirs}, size(100*sat, 0))
	f.is(err, timmy.Invalid)
	if b, _ := f.Balance(ctx, a); b.Posted != 1000*sat || b.Held != 0 {
		t.Errorf("balance %+v", b)
	}
	f.verify()
}

// Excludes D16: the remainder of an anonymous session that is kept although its
// payer said where it should go. It is tried once a day, by one of several towers.
func TestARemainderGoesBackAtTheEnd(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	for id, owner := range map[string]timmy.PubKey{"known": {}, "unknown": {}, "bound": key(7)} {
		f.session(id, owner, 200*sat)
		if id != "unknown" {
			f.ok(f.RefundTo(ctx, id, "me@wallet.example"))
		}
	}
	f.is(f.RefundTo(ctx, "known", ""), timmy.Internal)
	f.is(f.RefundTo(ctx, "known", strings.Repeat("x", maxRefundTo+1)), timmy.Internal)
	if s, err := f.Session(ctx, "known"); err != nil || s.RefundTo != "me@wallet.example" {
		t.Errorf("known: %+v, %v", s, err)
	}
	back := func(want int) {
		t.Helper()
		if n, err := f.ReturnRemainders(ctx, all); err != nil || n != want {
			t.Fatalf("%d given back, %v, want %d", n, err, want)
		}
	}
	back(0)
	f.clock.add(25 * time.Hour)
	if _, err := f.ExpireSessions(ctx, f.clock.now()); err != nil {
		t.Fatal(err)
	}
	f.restart()
	back(1)
	back(0)
	open, err := f.OpenRefunds(ctx)
	if f.ok(err); len(open) != 1 || open[0].Account != timmy.SessionAccount("known") || open[0].Amount != 190*sat || open[0].To != "me@wallet.example" {
		t.Fatalf("open: %+v", open)
	}
	f.ok(f.Recall(ctx, open[0].ID, "the address is away"))
	back(0)
	f.clock.add(25 * time.Hour)
	back(1)
	open, _ = f.OpenRefunds(ctx)
	f.ok(f.Aim(ctx, open[0].ID, f.target(190*sat)))
	f.ok(f.Launch(ctx, open[0].ID))
	_, _, err = f.Land(ctx, open[0].ID, timmy.Sent{State: timmy.SentPaid, Fee: sat})
	f.ok(err)
	f.posted(timmy.SessionAccount("known"), 9*sat)
	f.posted(timmy.SessionAccount("unknown"), 200*sat)
	f.posted(timmy.UserAccount(key(7)), 200*sat)
	f.clock.add(25 * time.Hour)
	back(0) // nine sats are not worth sending
	f.verify()
}

// Excludes: a payment that is called failed because another wallet than the one that
// was asked knows nothing of it.
func TestAnotherWalletIsNotAsked(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	for n := range byte(2) {
		f.give(timmy.UserAccount(key(n)), 1000*sat)
	}
	f.o.Wallet = "lnd https://a"
	f.launched("sent", timmy.UserAccount(key(0)), size(100*sat, 10*sat))
	f.refund("reserved", timmy.UserAccount(key(1)), size(100*sat, 10*sat))
	for name, want := range map[string]int{"lnd https://a": 2, "lnd https://b": 1} {
		f.o.Wallet = name
		if open, err := f.OpenRefunds(ctx); err != nil || len(open) != want {
			t.Errorf("%s: %+v, %v", name, open, err)
		}
	}
	f.verify()
}

// Excludes: a refund of a wallet that is gone, in doubt for ever; and an operator who
// decides twice, or what is the wallet's to say.
func TestTheOperatorEndsADoubt(t *testing.T) {
	f := newFix(t)
	ctx, a, b := t.Context(), timmy.UserAccount(key(1)), timmy.UserAccount(key(2))
	f.give(a, 1000*sat)
	f.give(b, 1000*sat)
	decide := func(id string, paid bool, fee timmy.Msat, reason string, want timmy.Code) {
		t.Helper()
		_, err := f.Decide(ctx, Decision{Refund: id, Paid: paid, Fee: fee, Reason: reason})
		f.is(err, want)
	}
	f.refund("a", a, size(100*sat, 10*sat))
	decide("a", true, 0, "early", timmy.Conflict)
	f.ok(f.Aim(ctx, "a", f.target(100*sat)))
	f.ok(f.Launch(ctx, "a"))
	f.launched("b", b, size(100*sat, 10*sat))
	decide("a", true, 0, " ", timmy.Invalid)
	decide("a", true, 11*sat, "seen", timmy.Invalid)
	decide("nobody", true, 0, "seen", timmy.NotFound)
	decide("a", true, 2*sat, "seen in the old node", "")
	decide("a", false, 0, "again", timmy.Conflict)
	if rows, err := f.Refunds(ctx, false, 10); err != nil || len(rows) != 1 || rows[0].ID != "b" {
		t.Errorf("open: %+v, %v", rows, err)
	}
	decide("b", false, 0, "the old node does not know it", "")
	rows, err := f.Refunds(ctx, true, 10)
	if f.ok(err); len(rows) != 2 || rows[0].Ended.IsZero() || rows[0].Reason == "" {
		t.Errorf("all: %+v", rows)
	}
	f.posted(a, 898*sat)
	f.posted(b, 1000*sat)
	f.verify()
}

// Excludes: what a failed refund held being left in a session that ended, or was
// moved, meanwhile.
func TestAFailedRefundFollowsTheRemainder(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	f.session("bound", key(7), 200*sat)
	f.session("moved", timmy.PubKey{}, 200*sat)
	for _, id := range []string{"bound", "moved"} {
		f.launched("r-"+id, timmy.SessionAccount(id), size(100*sat, 10*sat))
	}
	f.clock.add(25 * time.Hour)
	f.state("bound", timmy.SessionExpired)
	_, err := Sessions{f.Ledger}.Open(ctx, "next", timmy.PubKey{}, "moved")
	f.ok(err)
	f.posted(timmy.UserAccount(key(7)), 90*sat)
	for _, id := range []string{"bound", "moved"} {
		_, _, err := f.Land(ctx, "r-"+id, timmy.Sent{State: timmy.SentFailed, Reason: "no route"})
		f.ok(err)
	}
	f.posted(timmy.UserAccount(key(7)), 200*sat)
	f.posted(timmy.SessionAccount("next"), 200*sat)
	f.verify()
}
