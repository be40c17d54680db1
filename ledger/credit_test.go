package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes: one payment credited twice, when push, poll, full pass and restart all
// report it at once (A3).
func TestCreditIsOnceOnly(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	const reports = 50
	invoices := times(100, 1000)
	var payments []timmy.Payment
	for range invoices {
		payments = append(payments, f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 10 * sat}, timmy.Lease{}))
	}
	var applied, replayed atomic.Int64
	var wg sync.WaitGroup
	for g := range reports {
		wg.Go(func() {
			for i := range payments {
				p := payments[(i+g*7)%invoices]
				switch g % 4 { // four paths that know different things
				case 1:
					p.Ref = ""
				case 2:
					p.Hash = timmy.Hash{}
				case 3:
					p.Preimage = [32]byte{}
				}
				c, err := f.Credit(t.Context(), p, timmy.Cursor(fmt.Sprint(i)))
				switch {
				case err != nil:
					t.Error(err)
				case c == timmy.CreditApplied:
					applied.Add(1)
				case c == timmy.CreditReplayed:
					replayed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := int64(invoices); applied.Load() != n || replayed.Load() != n*(reports-1) {
		t.Errorf("%d applied, %d replayed", applied.Load(), replayed.Load())
	}
	f.posted(a, timmy.FromSats(int64(10*invoices)))
	f.posted(timmy.HouseLightning, -timmy.FromSats(int64(10*invoices)))
	if c, err := f.Cursor(t.Context()); err != nil || c == "" {
		t.Errorf("cursor %q, %v", c, err)
	}
	f.verify()
}

// Excludes: money minted by a backend that reports nonsense (A5), and a payment
// that is lost because its first report was nonsense.
func TestNonsenseIsQuarantined(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	top := timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 100 * sat}
	for name, received := range map[string]timmy.Msat{
		"nothing": 0, "negative": -1, "short": 100*sat - 1, "above twice": 200*sat + 1, "absurd": 1<<63 - 1, "least": -1 << 63,
	} {
		p := f.invoice(top, timmy.Lease{})
		bad := p
		bad.Received = received
		t.Log(name)
		f.credit(bad, timmy.CreditRefused)
		f.credit(bad, timmy.CreditRefused)
		f.posted(a, 0)
		f.verify()
	}
	p := f.invoice(top, timmy.Lease{})
	bad := p
	bad.Preimage[0] ^= 1
	f.credit(bad, timmy.CreditRefused)
	f.posted(timmy.HouseSuspense, 100*sat-1+200*sat+1+100*sat)
	f.credit(p, timmy.CreditApplied)
	f.credit(p, timmy.CreditReplayed)
	f.credit(bad, timmy.CreditReplayed)
	f.posted(a, 100*sat)
	f.posted(timmy.HouseSuspense, 300*sat)
	more := f.invoice(top, timmy.Lease{})
	more.Received = 200 * sat
	f.credit(more, timmy.CreditApplied)
	f.posted(a, 300*sat)
	ds, err := f.Suspense(t.Context(), 100)
	f.ok(err)
	if len(ds) != 7 {
		t.Errorf("%d rows in suspense, want 7", len(ds))
	}
	f.verify()
}

// Excludes: a payment of nobody's invoice that vanishes; one that was reported
// before its invoice's hash was stored and stays in suspense (A11).
func TestUnknownMoneyIsKept(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	p, h := f.preimage()
	pay := timmy.Payment{Hash: h, Received: 70 * sat, Preimage: p, Settled: true}
	f.credit(pay, timmy.CreditUnknown)
	f.credit(pay, timmy.CreditReplayed)
	f.posted(timmy.HouseSuspense, 70*sat)

	ref, _, err := f.Expect(t.Context(), timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 70 * sat})
	f.ok(err)
	f.ok(f.Issued(t.Context(), ref, timmy.Invoice{Hash: h, Bolt11: "ln", Amount: 70 * sat, Expires: f.clock.now()}, timmy.Lease{}))
	f.posted(a, 70*sat)
	f.posted(timmy.HouseSuspense, 0)

	// The process died after the wallet made the invoice: the reference finds it.
	ref, _, err = f.Expect(t.Context(), timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 5 * sat})
	f.ok(err)
	f.ok(f.Withdrawn(t.Context(), ref))
	p, h = f.preimage()
	f.credit(timmy.Payment{Hash: h, Ref: ref, Received: 5 * sat, Preimage: p, Settled: true}, timmy.CreditApplied)
	f.posted(a, 75*sat)
	s, err := f.Invoice(t.Context(), h)
	f.ok(err)
	if !s.Settled || s.Received != 5*sat || s.Preimage != p {
		t.Errorf("invoice: %+v", s)
	}
	f.verify()
}

// Excludes: two open invoices for one thing (D9), and a slot that an abandoned
// invoice blocks for ever (D8, A12).
func TestASlotHasOneOpenInvoice(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	f.session("s", timmy.PubKey{}, 100*sat)
	top := timmy.TopUp{Account: timmy.SessionAccount("s"), Purpose: timmy.ForTopUp, Amount: 200 * sat}
	var wg sync.WaitGroup
	var won atomic.Int64
	var ref atomic.Value
	for range 20 {
		wg.Go(func() {
			r, open, err := f.Expect(ctx, top)
			if err == nil {
				won.Add(1)
				ref.Store(r)
			} else if timmy.CodeOf(err) != timmy.Conflict || open != nil {
				t.Errorf("%v %v", open, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d callers got the slot", won.Load())
	}
	p, h := f.preimage()
	inv := timmy.Invoice{Hash: h, Bolt11: "ln", Amount: 200 * sat, Expires: f.clock.now().Add(time.Hour)}
	f.ok(f.Issued(ctx, ref.Load().(string), inv, timmy.Lease{}))
	_, open, err := f.Expect(ctx, top)
	f.is(err, timmy.Conflict)
	if open == nil || open.Hash != h {
		t.Errorf("open: %v", open)
	}
	if s := f.state("s", timmy.SessionActive); s.TopUp == nil || s.TopUp.Hash != h {
		t.Errorf("session: %+v", s)
	}
	f.clock.add(time.Hour)
	if s := f.state("s", timmy.SessionActive); s.TopUp != nil {
		t.Errorf("an expired top-up is shown")
	}
	f.invoice(top, timmy.Lease{})
	f.credit(timmy.Payment{Hash: h, Received: 200 * sat, Preimage: p, Settled: true}, timmy.CreditApplied)
	f.posted(top.Account, 300*sat)

	zap := timmy.TopUp{Account: timmy.HouseRevenue, Purpose: timmy.ForZap, Amount: 21 * sat, Zap: []byte("{9734}"), ZapID: "z"}
	z := f.invoice(zap, timmy.Lease{})
	_, open, err = f.Expect(ctx, zap)
	if f.is(err, timmy.Conflict); open == nil || open.Hash != z.Hash {
		t.Errorf("open zap: %v", open)
	}
	f.credit(z, timmy.CreditApplied)
	_, _, err = f.Expect(ctx, zap)
	if f.is(err, timmy.Conflict); timmy.MessageOf(err) != "already paid" {
		t.Errorf("paid zap: %v", err)
	}
	f.posted(timmy.HouseRevenue, 21*sat)
	ps := f.due()
	if len(ps) != 1 || ps[0].Zap == nil || string(ps[0].Request) != "{9734}" || !ps[0].Zap.Settled || ps[0].Zap.Hash != z.Hash {
		t.Errorf("receipt: %+v", ps)
	}
	f.verify()
}

// Excludes: a caller that waits a minute for its second try, because the process
// that asked the wallet for its invoice is dead (D11); and one that does not wait,
// where another tower may still be asking.
func TestADeadProcessHoldsNoSlot(t *testing.T) {
	f := newFix(t)
	f.session("s", timmy.PubKey{}, 100*sat)
	top := timmy.TopUp{Account: timmy.SessionAccount("s"), Purpose: timmy.ForTopUp, Amount: 200 * sat}
	lost, _, err := f.Expect(t.Context(), top)
	f.ok(err)
	f.clock.add(time.Second)
	f.born = f.clock.now()
	_, _, err = f.Expect(t.Context(), top)
	if server != nil {
		f.is(err, timmy.Conflict)
		return
	}
	f.ok(err)
	// The wallet did make the first invoice, and somebody paid it.
	f.credit(timmy.Payment{Ref: lost, Received: 200 * sat, Settled: true}, timmy.CreditApplied)
	f.posted(top.Account, 300*sat)
	f.verify()
}

// Excludes: a question that waits for its money and cannot be stopped, or is stopped by
// somebody else.
func TestAParkedRequestIsStopped(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	f.accept(dm("a", k))
	j, _, err := f.Start(ctx, nil, quote(30*sat, 0))
	f.is(err, timmy.Unpaid)
	f.invoice(timmy.TopUp{Account: j.Payer, Purpose: timmy.ForRequest, For: j.ID, Amount: 100 * sat}, j.Lease)
	for _, c := range []struct {
		by   timmy.PubKey
		keep timmy.RequestID
		want int
	}{{key(2), "", 0}, {k, "a", 0}, {k, "", 1}, {k, "", 0}} {
		if n, err := f.Cancel(ctx, c.by, c.keep); err != nil || n != c.want {
			t.Errorf("%v cancelled %d, %v", c, n, err)
		}
	}
	r, done, err := f.Reply(ctx, "a")
	if f.ok(err); !done || r.Outcome.State != timmy.StateFailed {
		t.Errorf("after it: %+v", r)
	}
	f.verify()
}

// Excludes: a request that waits for ever, runs unpaid, or is forgotten when its
// money comes.
func TestAParkedRequestRunsWhenPaid(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	park := func(id string) (timmy.Payment, timmy.Job) {
		f.accept(dm(id, k))
		j, ok, err := f.Start(ctx, nil, quote(30*sat, 0))
		if f.is(err, timmy.Unpaid); !ok || j.Lease.Request != timmy.RequestID(id) {
			t.Fatalf("unpaid: %v %+v", ok, j.Lease)
		}
		top := timmy.TopUp{Account: j.Payer, Purpose: timmy.ForRequest, For: j.ID, Amount: 100 * sat}
		return f.invoice(top, j.Lease), j
	}
	paid, j := park("a")
	r, done, err := f.Reply(ctx, "a")
	f.ok(err)
	if done || r.Outcome.State != timmy.StateParked || r.Invoice == nil || r.Invoice.Hash != paid.Hash {
		t.Fatalf("parked: %+v", r)
	}
	if ps := f.due(); len(ps) != 1 || ps[0].Reply.Invoice == nil {
		t.Fatalf("parcels: %+v", ps)
	}
	_, err = f.Finish(ctx, j, complete(0, 0))
	f.is(err, timmy.Conflict)

	// A credit that is too little, from elsewhere, does not wake it; the invoice does.
	f.give(j.Payer, 10*sat)
	if _, ok, _ := f.Start(ctx, nil, quote(0, 0)); ok {
		t.Fatal("it ran without its money")
	}
	f.credit(paid, timmy.CreditApplied)
	ps := f.due()
	if n := ps[len(ps)-1].Paid; n == nil || n.Amount != 100*sat || n.Balance != 110*sat || !n.Working || string(ps[len(ps)-1].ReplyTo) != "to a" {
		t.Fatalf("notice: %+v", ps[len(ps)-1])
	}
	j = f.start(quote(30*sat, 0))
	_, err = f.Finish(ctx, j, complete(30*sat, 0))
	f.ok(err)
	f.posted(j.Payer, 80*sat)

	// Nobody pays: it is closed with a parcel, and late money is only credited.
	f.accept(dm("b", k))
	j, _, err = f.Start(ctx, nil, quote(500*sat, 0))
	f.is(err, timmy.Unpaid)
	late := f.invoice(timmy.TopUp{Account: j.Payer, Purpose: timmy.ForRequest, For: "b", Amount: 420 * sat}, j.Lease)
	if n, err := f.Lapse(ctx, f.clock.now()); err != nil || n != 0 {
		t.Fatalf("lapsed early: %d %v", n, err)
	}
	f.clock.add(time.Hour)
	if n, err := f.Lapse(ctx, f.clock.now()); err != nil || n != 1 {
		t.Fatalf("lapse: %d %v", n, err)
	}
	ps = f.due()
	if last := ps[len(ps)-1]; last.Reply == nil || last.Reply.Outcome.State != timmy.StateUnpaid {
		t.Errorf("lapse parcel: %+v", last)
	}
	f.credit(late, timmy.CreditApplied)
	f.posted(j.Payer, 500*sat)
	if _, ok, _ := f.Start(ctx, nil, quote(0, 0)); ok {
		t.Error("a lapsed request ran")
	}
	f.verify()
}

// Excludes: a lost lease that parks, and an invoice that is lost with it.
func TestIssuedWithALostLeaseKeepsTheInvoice(t *testing.T) {
	f := newFix(t)
	k := key(1)
	f.accept(dm("a", k))
	j, _, err := f.Start(t.Context(), nil, quote(30*sat, 0))
	f.is(err, timmy.Unpaid)
	ref, _, err := f.Expect(t.Context(), timmy.TopUp{Account: j.Payer, Purpose: timmy.ForRequest, For: "a", Amount: 100 * sat})
	f.ok(err)
	f.restart()
	if n, err := f.Recover(t.Context()); err != nil || n != 1 {
		t.Fatalf("recover: %d %v", n, err)
	}
	p, h := f.preimage()
	inv := timmy.Invoice{Hash: h, Bolt11: "ln", Amount: 100 * sat, Expires: f.clock.now().Add(time.Hour)}
	f.is(f.Issued(t.Context(), ref, inv, j.Lease), timmy.Conflict)
	f.credit(timmy.Payment{Hash: h, Received: 100 * sat, Preimage: p, Settled: true}, timmy.CreditApplied)
	f.posted(j.Payer, 100*sat)
	f.start(quote(30*sat, 0))
	f.verify()
}
