package ledger

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// stray is a payment that nobody asked for.
func (f *fix) stray(amount timmy.Msat) timmy.Payment {
	f.t.Helper()
	_, h := f.preimage()
	p := timmy.Payment{Hash: h, Received: amount, Settled: true, At: f.clock.now()}
	f.credit(p, timmy.CreditUnknown)
	return p
}

// Excludes: money of one suspense row given out twice, by two operators at once or
// by a retry, or given out without a word why.
func TestSuspenseIsResolvedOnce(t *testing.T) {
	f := newFix(t)
	p := f.stray(70 * sat)
	a, b := timmy.UserAccount(key(1)), timmy.UserAccount(key(2))
	for _, bad := range []Resolution{
		{Name: p.Hash.String(), To: a},
		{Name: p.Hash.String(), To: a, Reason: strings.Repeat("x", maxReason+1)},
		{Name: p.Hash.String(), To: timmy.HouseSuspense, Reason: "why"},
		{Name: p.Hash.String(), To: "house:mine", Reason: "why"},
		{Name: p.Hash.String(), To: "user:short", Reason: "why"},
	} {
		_, err := f.Resolve(t.Context(), bad)
		f.is(err, timmy.Invalid)
	}
	_, err := f.Resolve(t.Context(), Resolution{Name: "nothing", To: a, Reason: "why"})
	f.is(err, timmy.NotFound)
	_, err = f.Resolve(t.Context(), Resolution{Name: p.Hash.String(), To: timmy.SessionAccount("gone"), Reason: "why"})
	f.is(err, timmy.NotFound)
	f.posted(timmy.HouseSuspense, 70*sat)

	var done, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			to := []timmy.Account{a, b}[i%2]
			_, err := f.Resolve(t.Context(), Resolution{Name: p.Hash.String(), To: to, Reason: fmt.Sprint("attempt ", i)})
			if err == nil {
				done.Add(1)
			} else if timmy.CodeOf(err) == timmy.Conflict {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 || refused.Load() != 19 {
		t.Errorf("%d done, %d refused", done.Load(), refused.Load())
	}
	f.restart()
	_, err = f.Resolve(t.Context(), Resolution{Name: p.Hash.String(), To: a, Reason: "again"})
	f.is(err, timmy.Conflict)
	f.posted(timmy.HouseSuspense, 0)
	list, err := f.Resolutions(t.Context())
	f.ok(err)
	if len(list) != 1 || list[0].Amount != 70*sat || !strings.HasPrefix(list[0].Reason, "attempt ") {
		t.Errorf("%+v", list)
	}
	f.posted(list[0].To, 70*sat)
	f.credit(p, timmy.CreditReplayed)
	f.verify()
}

// Excludes: a payment that the operator gave to somebody by hand and that is
// credited a second time when the wallet reports it rightly later.
func TestResolvedMoneyIsNotCreditedAgain(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	p := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 100 * sat}, timmy.Lease{})
	short := p
	short.Received = 60 * sat
	f.credit(short, timmy.CreditRefused)
	_, err := f.Resolve(t.Context(), Resolution{Name: p.Hash.String(), To: a, Reason: "underpaid, credited what came"})
	f.ok(err)
	f.posted(a, 60*sat)
	f.credit(p, timmy.CreditReplayed)
	f.credit(short, timmy.CreditReplayed)
	byRef := p
	byRef.Hash = timmy.Hash{}
	f.credit(byRef, timmy.CreditReplayed)
	f.posted(a, 60*sat)
	f.posted(timmy.HouseLightning, -60*sat)
	f.verify()
}

// Excludes: money that is resolved to an expired session and stranded there.
func TestResolvedMoneyRevivesASession(t *testing.T) {
	f := newFix(t)
	f.session("s1", key(3), 100*sat)
	f.clock.add(48 * time.Hour)
	_, err := f.ExpireSessions(t.Context(), f.clock.now())
	f.ok(err)
	f.state("s1", timmy.SessionExpired)
	p := f.stray(500 * sat)
	_, err = f.Resolve(t.Context(), Resolution{Name: p.Hash.String(), To: timmy.SessionAccount("s1"), Reason: "their deposit"})
	f.ok(err)
	f.state("s1", timmy.SessionActive)
	f.posted(timmy.SessionAccount("s1"), 500*sat)
	f.verify()
}

// Excludes: totals that do not add up, and a statement that counts money twice
// when it is found to have an owner after all.
func TestTheStatementAddsUp(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	f.ok(f.Fund(t.Context(), 1000*sat))
	f.give(a, 300*sat)
	f.give(timmy.HouseRevenue, 5*sat)
	p := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 100 * sat}, timmy.Lease{})
	bad := p
	bad.Preimage[0] ^= 1
	f.credit(bad, timmy.CreditRefused)
	f.credit(p, timmy.CreditApplied)
	lost := f.stray(40 * sat)
	f.stray(7 * sat)
	_, err := f.Resolve(t.Context(), Resolution{Name: lost.Hash.String(), To: timmy.HouseLightning, Reason: "paid back"})
	f.ok(err)
	f.accept(dm("r1", key(1)))
	j := f.start(quote(100*sat, 20*sat))
	_, err = f.Finish(t.Context(), j, complete(50*sat, 10*sat))
	f.ok(err)

	from := f.clock.now().Add(-time.Hour)
	s, err := f.Statement(t.Context(), from, from.Add(2*time.Hour))
	f.ok(err)
	got := map[string]timmy.Msat{
		"came in": s.CameIn, "suspended": s.Suspended, "tips": s.Tips, "went out": s.WentOut, "earned": s.Earned,
		"given": s.PoolGiven, "taken": s.PoolTaken, "owed": s.Now.Owed(), "sum": s.Now.Sum(),
	}
	want := map[string]timmy.Msat{
		"came in": 452 * sat, "suspended": 47 * sat, "tips": 5 * sat, "went out": 40 * sat, "earned": 60 * sat,
		"given": 1005 * sat, "taken": 10 * sat, "owed": 357 * sat, "sum": 0,
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s: %v, want %v", k, got[k], w)
		}
	}
	if s.Requests != 1 || s.Payments != 3 || s.NowPending != 1 {
		t.Errorf("%d requests, %d payments, %d pending", s.Requests, s.Payments, s.NowPending)
	}
	before, err := f.Statement(t.Context(), from.Add(-time.Hour), from)
	f.ok(err)
	if before.CameIn != 0 || before.Earned != 0 || before.Now.Owed() != s.Now.Owed() {
		t.Errorf("another hour: %+v", before)
	}
	f.verify()
}

// Excludes: an export that misses, doubles or reorders postings, and one whose
// sum is not the balance.
func TestTheExportIsEveryPosting(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	for range 50 {
		f.give(a, 3*sat)
	}
	var last, n int64
	var sum timmy.Msat
	f.ok(f.Export(t.Context(), func(p timmy.Posting) error {
		if p.Seq <= last || p.Amount <= 0 || p.Key == "" || p.At == 0 {
			t.Errorf("%+v after %d", p, last)
		}
		last, n, sum = p.Seq, n+1, sum+p.Amount
		return nil
	}))
	if n != 50 || sum != 150*sat {
		t.Errorf("%d postings of %v", n, sum)
	}
	h, err := f.Holding(t.Context(), a)
	f.ok(err)
	if h.Posted != 150*sat {
		t.Errorf("%+v", h)
	}
	_, err = f.Holding(t.Context(), timmy.UserAccount(key(9)))
	f.is(err, timmy.NotFound)
	_, err = f.Holding(t.Context(), timmy.HouseFees)
	f.ok(err)
}

// Excludes: an open invoice shown as payable after it expired.
func TestInvoicesAreListedByState(t *testing.T) {
	f := newFix(t)
	top := timmy.TopUp{Account: timmy.UserAccount(key(1)), Purpose: timmy.ForPay, Amount: 10 * sat}
	f.invoice(top, timmy.Lease{})
	f.clock.add(2 * time.Hour)
	f.invoice(top, timmy.Lease{})
	f.give(top.Account, 10*sat)
	_, _, err := f.Expect(t.Context(), top)
	f.ok(err)
	for state, want := range map[string]int{"": 4, "open": 1, "expired": 1, "settled": 1, "expected": 1, "withdrawn": 0} {
		rows, err := f.Invoices(t.Context(), state, 100)
		f.ok(err)
		if len(rows) != want {
			t.Errorf("%q: %d rows, want %d", state, len(rows), want)
		}
		for _, r := range rows {
			if state != "" && r.State != state {
				t.Errorf("%s listed as %s", r.State, state)
			}
		}
	}
}
