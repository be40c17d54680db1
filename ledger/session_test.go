package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// run runs a request of a session to its end.
func (f *fix) run(r timmy.Request, hold, charge timmy.Msat) timmy.Reply {
	f.t.Helper()
	j, ok, err := f.Start(f.t.Context(), &r, quote(hold, 0))
	f.ok(err)
	if !ok {
		f.t.Fatal("not started")
	}
	reply, err := f.Finish(f.t.Context(), j, complete(charge, 0))
	f.ok(err)
	return reply
}

// Excludes: the documented states told wrongly, or written too early.
func TestASessionLivesAsDocumented(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	nobody := timmy.PubKey{}
	_, err := f.Session(ctx, "s")
	f.is(err, timmy.NotFound)
	_, err = Sessions{f.Ledger}.Open(ctx, "s", nobody, "")
	f.ok(err)
	r := call("early", "s", nobody)
	_, _, err = f.Start(ctx, &r, quote(0, 0))
	f.is(err, timmy.Conflict)
	top := timmy.TopUp{Account: timmy.SessionAccount("s"), Purpose: timmy.ForDeposit, Amount: 100 * sat}
	pay := f.invoice(top, timmy.Lease{})
	if s := f.state("s", timmy.SessionAwaiting); s.Deposit == nil || s.Deposit.Hash != pay.Hash || s.Bearer != 0 {
		t.Errorf("awaiting: %+v", s)
	}
	f.credit(pay, timmy.CreditApplied)
	if s := f.state("s", timmy.SessionActive); s.Deposit != nil || s.Bearer != 1 || s.Balance != 100*sat || s.Used {
		t.Errorf("active: %+v", s)
	}
	f.ok(f.Presented(ctx, "s"))
	if s := f.state("s", timmy.SessionActive); !s.Used {
		t.Error("the use of the bearer was not noted")
	}

	r = call("a", "s", nobody)
	j, _, err := f.Start(ctx, &r, quote(80*sat, 0))
	f.ok(err)
	r2 := call("b", "s", nobody) // 20 of 100 are free: 402, but not paused
	_, _, err = f.Start(ctx, &r2, quote(10*sat, 0))
	f.is(err, timmy.Unpaid)
	if s := f.state("s", timmy.SessionActive); s.Balance != 100*sat || s.Available != 20*sat {
		t.Errorf("held: %+v", s)
	}
	f.clock.add(time.Hour)
	reply, err := f.Finish(ctx, j, complete(60*sat, 0))
	f.ok(err)
	if s := f.state("s", timmy.SessionPaused); reply.Balance != 40*sat || !s.Expires.Equal(f.clock.now().Add(24*time.Hour)) {
		t.Errorf("paused: %+v, %v", s, reply.Balance)
	}
	_, _, err = f.Start(ctx, &r2, quote(10*sat, 0)) // known, and final
	f.ok(err)
	r3 := call("c", "s", nobody)
	_, _, err = f.Start(ctx, &r3, quote(10*sat, 0))
	f.is(err, timmy.Unpaid)
	top.Purpose = timmy.ForTopUp
	f.credit(f.invoice(top, timmy.Lease{}), timmy.CreditApplied)
	f.state("s", timmy.SessionActive)
	f.run(call("d", "s", nobody), 50*sat, 10*sat)

	f.clock.add(25 * time.Hour)
	_, _, err = f.Expect(ctx, top)
	f.is(err, timmy.Conflict)
	r4 := call("e", "s", nobody)
	_, _, err = f.Start(ctx, &r4, quote(10*sat, 0))
	f.is(err, timmy.Expired)
	f.state("s", timmy.SessionExpired)
	f.posted(timmy.SessionAccount("s"), 130*sat)
	if len(f.due()) != 0 {
		t.Error("HTTP got a parcel")
	}
	f.verify()
}

// Excludes: money that is kept because it came after the end (A10, D6, D7).
func TestLateMoneyRevivesASession(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	_, err := Sessions{f.Ledger}.Open(ctx, "s", timmy.PubKey{}, "")
	f.ok(err)
	a := timmy.SessionAccount("s")
	late := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForDeposit, Amount: 100 * sat}, timmy.Lease{})
	f.clock.add(25 * time.Hour)
	if n, err := f.ExpireSessions(ctx, f.clock.now()); err != nil || n != 1 {
		t.Fatalf("expired %d, %v", n, err)
	}
	f.state("s", timmy.SessionExpired)
	f.restart()
	f.credit(late, timmy.CreditApplied)
	if s := f.state("s", timmy.SessionActive); s.Bearer != 1 || !s.Expires.Equal(f.clock.now().Add(24*time.Hour)) {
		t.Errorf("revived: %+v", s)
	}
	topUp := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForTopUp, Amount: 100 * sat}, timmy.Lease{})
	f.clock.add(25 * time.Hour)
	f.state("s", timmy.SessionExpired)
	f.credit(topUp, timmy.CreditApplied)
	if s := f.state("s", timmy.SessionActive); s.Balance != 200*sat {
		t.Errorf("revived: %+v", s)
	}
	f.verify()
}

// Excludes: an L402 challenge that strands what is left in a session whose time is
// over, makes an invoice a call, or is told as somebody's top-up.
func TestAChallengeRevivesASession(t *testing.T) {
	f := newFix(t)
	ctx, a := t.Context(), timmy.SessionAccount("s")
	f.session("s", timmy.PubKey{}, 100*sat)
	opened := f.state("s", timmy.SessionActive).Paid
	if s, err := f.Invoice(ctx, opened); err != nil || !s.Settled || s.Account != a {
		t.Fatalf("opened by %+v, %v", s, err)
	}
	f.clock.add(25 * time.Hour)
	f.state("s", timmy.SessionExpired)
	top := timmy.TopUp{Account: a, Purpose: timmy.ForAsk, Amount: 100 * sat}
	inv := f.invoice(top, timmy.Lease{})
	_, open, err := f.Expect(ctx, top)
	f.is(err, timmy.Conflict)
	if open == nil || open.Hash != inv.Hash {
		t.Errorf("a second challenge: %+v", open)
	}
	f.restart()
	f.credit(inv, timmy.CreditApplied)
	if s := f.state("s", timmy.SessionActive); s.Balance != 200*sat || s.TopUp != nil || s.Paid != opened || s.Moved {
		t.Errorf("revived: %+v", s)
	}
	f.invoice(top, timmy.Lease{}) // the slot is free again
	f.clock.add(25 * time.Hour)
	_, err = Sessions{f.Ledger}.Open(ctx, "next", timmy.PubKey{}, "s")
	f.ok(err)
	if s := f.state("s", timmy.SessionExpired); !s.Moved || s.Balance != 0 {
		t.Errorf("moved: %+v", s)
	}
	if s := f.state("next", timmy.SessionAwaiting); !s.Paid.IsZero() || s.Moved {
		t.Errorf("awaiting: %+v", s)
	}
	f.verify()
}

// Excludes: a bound session that cannot spend its owner's money, spends without
// end, or keeps its remainder (D16).
func TestABoundSessionSharesItsOwnersAccount(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(9)
	u := timmy.UserAccount(k)
	f.session("s", k, 100*sat)
	f.give(u, 20_000*sat)
	if s := f.state("s", timmy.SessionActive); s.Balance != 10_100*sat || s.Available != 10_100*sat {
		t.Fatalf("may draw %v, %v", s.Balance, s.Available)
	}
	f.run(call("a", "s", k), 10_100*sat, 150*sat)
	f.posted(timmy.SessionAccount("s"), 0)
	f.posted(u, 19_950*sat)
	if s := f.state("s", timmy.SessionActive); s.Balance != 9_950*sat {
		t.Fatalf("may draw %v", s.Balance)
	}
	f.run(call("b", "s", k), 9_950*sat, 9_950*sat)
	f.posted(u, 10_000*sat)
	f.state("s", timmy.SessionPaused) // the limit of a life is reached, whoever has the bearer
	f.credit(f.invoice(timmy.TopUp{Account: timmy.SessionAccount("s"), Purpose: timmy.ForTopUp, Amount: 300 * sat}, timmy.Lease{}), timmy.CreditApplied)

	// In flight at the end: charged, not remembered, the rest carried to the owner (D18).
	r := call("c", "s", k)
	j, _, err := f.Start(ctx, &r, quote(200*sat, 0))
	f.ok(err)
	f.clock.add(25 * time.Hour)
	f.state("s", timmy.SessionExpired)
	f.posted(u, 10_100*sat)
	f.verify()
	reply, err := f.Finish(ctx, j, complete(50*sat, 0))
	f.ok(err)
	if reply.Outcome.Text != "because" {
		t.Error("the result was not kept")
	}
	f.state("s", timmy.SessionExpired)
	f.posted(u, 10_250*sat)
	f.posted(timmy.SessionAccount("s"), 0)
	if n, err := f.Forget(ctx, "session:s", timmy.PubKey{}); err != nil || n != 0 {
		t.Errorf("%d turns after the end, %v", n, err)
	}
	f.verify()
}

// Excludes: an anonymous remainder that is lost when it is taken along, while a
// request runs and an invoice is open.
func TestARemainderMovesIntoTheNewSession(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	nobody := timmy.PubKey{}
	f.session("old", nobody, 500*sat)
	open := f.invoice(timmy.TopUp{Account: timmy.SessionAccount("old"), Purpose: timmy.ForTopUp, Amount: 100 * sat}, timmy.Lease{})
	r := call("a", "old", nobody)
	j, _, err := f.Start(ctx, &r, quote(200*sat, 0))
	f.ok(err)
	for range 2 { // a repeated call changes nothing
		s, err := Sessions{f.Ledger}.Open(ctx, "new", nobody, "old")
		f.ok(err)
		if s.State != timmy.SessionAwaiting || s.Balance != 300*sat {
			t.Fatalf("new: %+v", s)
		}
	}
	f.state("old", timmy.SessionExpired)
	_, err = f.Finish(ctx, j, complete(50*sat, 0))
	f.ok(err)
	f.posted(timmy.SessionAccount("new"), 450*sat)
	f.credit(open, timmy.CreditApplied)
	f.posted(timmy.SessionAccount("old"), 0)
	if s := f.state("new", timmy.SessionActive); s.Balance != 550*sat {
		t.Errorf("new: %+v", s)
	}
	f.session("bound", key(1), 100*sat)
	_, err = Sessions{f.Ledger}.Open(ctx, "x", nobody, "bound")
	f.is(err, timmy.Conflict)
	_, err = f.Session(ctx, "x")
	f.is(err, timmy.NotFound)
	f.verify()
}

// Excludes: money that is doubled, lost or stranded when one session is joined to another,
// again and again, by many at once; and one that is taken from its owner so.
func TestASessionIsJoinedOnce(t *testing.T) {
	f := newFix(t)
	ctx, nobody := t.Context(), timmy.PubKey{}
	for _, id := range []string{"main", "more", "other"} {
		f.session(id, nobody, 500*sat)
	}
	f.session("bound", key(1), 500*sat)
	late := f.invoice(timmy.TopUp{Account: timmy.SessionAccount("more"), Purpose: timmy.ForTopUp, Amount: 100 * sat}, timmy.Lease{})
	r := call("a", "more", nobody)
	j, _, err := f.Start(ctx, &r, quote(200*sat, 0))
	f.ok(err)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { f.ok(f.Join(ctx, "main", "more")) })
	}
	all.Wait()
	f.posted(timmy.SessionAccount("main"), 800*sat)
	_, err = f.Finish(ctx, j, complete(50*sat, 0))
	f.ok(err)
	f.credit(late, timmy.CreditApplied)
	f.posted(timmy.SessionAccount("main"), 1050*sat)
	f.posted(timmy.SessionAccount("more"), 0)
	f.state("more", timmy.SessionExpired)
	f.state("main", timmy.SessionActive)
	for _, c := range [][2]string{{"other", "more"}, {"main", "main"}, {"main", "bound"}, {"more", "other"}, {"gone", "other"}} {
		f.is(f.Join(ctx, c[0], c[1]), timmy.Conflict)
	}
	f.is(f.Join(ctx, "main", "gone"), timmy.NotFound)
	f.posted(timmy.SessionAccount("other"), 500*sat)
	f.verify()
}

// Excludes: a session that is used, or whose money is lost, after its holder ended it.
func TestASessionIsEndedByItsHolder(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	f.session("s", timmy.PubKey{}, 500*sat)
	f.session("bound", key(1), 500*sat)
	for range 2 {
		f.ok(f.End(ctx, "s"))
		f.ok(f.End(ctx, "bound"))
	}
	f.is(f.End(ctx, "gone"), timmy.NotFound)
	f.state("s", timmy.SessionExpired)
	r := call("a", "s", timmy.PubKey{})
	_, _, err := f.Start(ctx, &r, quote(200*sat, 0))
	f.is(err, timmy.Expired)
	f.posted(timmy.SessionAccount("s"), 500*sat)
	f.posted(timmy.UserAccount(key(1)), 500*sat)
	f.verify()
}

// Excludes: a remainder that is stranded in a session that was never paid, and so has no
// bearer: that of the first one moves it on.
func TestARemainderIsNotStrandedInAnUnpaidSession(t *testing.T) {
	f := newFix(t)
	ctx, nobody := t.Context(), timmy.PubKey{}
	open := func(id, from string) {
		t.Helper()
		_, err := Sessions{f.Ledger}.Open(ctx, id, nobody, from)
		f.ok(err)
	}
	f.session("first", nobody, 500*sat)
	open("second", "first")
	late := f.invoice(timmy.TopUp{Account: timmy.SessionAccount("second"), Purpose: timmy.ForDeposit, Amount: 100 * sat}, timmy.Lease{})
	open("third", "first")
	f.state("second", timmy.SessionExpired)
	f.posted(timmy.SessionAccount("second"), 0)
	f.clock.add(25 * time.Hour)
	f.state("third", timmy.SessionExpired)
	open("fourth", "first")
	if s := f.state("fourth", timmy.SessionAwaiting); s.Balance != 500*sat {
		t.Errorf("fourth: %+v", s)
	}
	f.credit(late, timmy.CreditApplied)
	if s := f.state("fourth", timmy.SessionActive); s.Balance != 600*sat || s.Bearer != 1 {
		t.Errorf("paid: %+v", s)
	}
	open("fifth", "first") // the fourth has a bearer, which alone moves it
	f.posted(timmy.SessionAccount("fourth"), 600*sat)
	f.posted(timmy.SessionAccount("fifth"), 0)
	f.verify()
}

// Excludes: a top-up that vanishes under a request that finishes (D1, A13).
func TestTopUpsAndDebitsAddUp(t *testing.T) {
	f := newFix(t)
	f.session("s", timmy.PubKey{}, 1000*sat)
	a := timmy.SessionAccount("s")
	var payments []timmy.Payment
	n := times(100, 1000)
	for range n {
		payments = append(payments, f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 500 * sat}, timmy.Lease{}))
	}
	var wg sync.WaitGroup
	for i, p := range payments {
		wg.Go(func() {
			if c, err := f.Credit(t.Context(), p, ""); err != nil || c != timmy.CreditApplied {
				t.Errorf("%v %v", c, err)
			}
		})
		wg.Go(func() {
			r := call(fmt.Sprint(i), "s", timmy.PubKey{})
			j, _, err := f.Start(t.Context(), &r, quote(20*sat, 0))
			if err == nil {
				_, err = f.Finish(t.Context(), j, complete(20*sat, 0))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.posted(a, timmy.FromSats(int64(1000+n*500-n*20)))
	f.verify()
}

// Excludes: a session that is paused for what is only reserved, or while something
// runs whose end may give it back.
func TestASessionIsNotPausedWhileSomethingRuns(t *testing.T) {
	f := newFix(t)
	f.session("s", timmy.PubKey{}, 200*sat)
	var jobs []timmy.Job
	for i, hold := range []timmy.Msat{20 * sat, 80 * sat, 100 * sat} {
		r := call(fmt.Sprint(i), "s", timmy.PubKey{})
		j, _, err := f.Start(t.Context(), &r, quote(hold, 0))
		f.ok(err)
		jobs = append(jobs, j)
	}
	f.state("s", timmy.SessionActive)
	for _, j := range jobs[1:] {
		_, err := f.Finish(t.Context(), j, complete(j.Hold.Payer, 0))
		f.ok(err)
	}
	f.posted(timmy.SessionAccount("s"), 20*sat)
	f.state("s", timmy.SessionActive)
	_, err := f.Finish(t.Context(), jobs[0], complete(0, 0))
	f.ok(err)
	f.state("s", timmy.SessionPaused)
	f.verify()
}
