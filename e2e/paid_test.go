package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestPaidAtAnyTimeIsCredited pays 300 invoices at a wallet at random times, while the
// tower is killed and started thirty times: within a minute of the last start each is
// credited, once (B1).
func TestPaidAtAnyTimeIsCredited(t *testing.T) {
	t.Parallel()
	ln := startLNbits(t)
	tw := startTower(t, append(ln.env(), "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_LOG_LEVEL=warn")...)
	paidAtAnyTime(t, tw, ln.pay)
}

// paidAtAnyTime is that of one wallet, whose invoices are paid by pay.
func paidAtAnyTime(t *testing.T, tw *tower, pay func(bolt11 string) error) {
	const rounds, each = 30, 10
	rng := seed(t)
	a := newAPI(t, tw)
	owed := map[string]int64{}
	var paying sync.WaitGroup
	for round := range rounds {
		for n := range each {
			sats := int64(100 + round*each + n)
			created := a.call(201, "POST", "/sessions", fmt.Sprintf(`{"amount_sats":%d}`, sats))
			owed[created.str("sessionId")] = sats
			bolt11, wait := created.obj("invoice").str("paymentRequest"), within(rng, time.Second)
			paying.Go(func() {
				time.Sleep(wait)
				if err := pay(bolt11); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(within(rng, 500*time.Millisecond))
		tw.kill()
		time.Sleep(within(rng, 500*time.Millisecond))
		tw.start()
	}
	started := time.Now()
	paying.Wait()
	for id, sats := range owed {
		if got := a.active(id).num("balanceSats"); got != sats {
			t.Errorf("session %s has %d sats, %d were paid", id, got, sats)
		}
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("all were credited %v after the last start", took)
	}
	tw.restart() // whose full pass sees all of them again
	for id, sats := range owed {
		if got := a.active(id).num("balanceSats"); got != sats {
			t.Errorf("session %s has %d sats after another start, %d were paid", id, got, sats)
		}
	}
	tw.verifyBooks()
	t.Logf("%d sessions paid, %d starts", len(owed), rounds+2)
}

// within is any time up to most.
func within(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

// pay pays at the wallet, which then tells whoever listens.
func (l *lnbits) pay(bolt11 string) error {
	p, err := l.node.Pay(context.Background(), bolt11, 0)
	if err == nil {
		l.push(p.Hash)
	}
	return err
}

// mainnetInvoice is the first example of BOLT 11: of another network, and without an
// amount.
const mainnetInvoice = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql"

// TestATamperedInvoiceIsShownToNobody lets the wallet answer with twelve invoices that
// are not what it was asked for: the caller is told that none can be had now, and sees
// nothing of them (B5).
func TestATamperedInvoiceIsShownToNobody(t *testing.T) {
	t.Parallel()
	ln := startLNbits(t)
	tw := startTower(t, append(ln.env(), "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_RATE_PER_MINUTE=0")...)
	a := newAPI(t, tw)
	other := func(change func(*timmy.TopUp)) timmy.Invoice {
		top := timmy.TopUp{Account: timmy.HouseRevenue, Purpose: timmy.ForPay, Amount: 500 * timmy.Sat, Memo: "tampered"}
		change(&top)
		inv, err := ln.node.Issue(context.Background(), newUUID(), top, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	instead := func(inv timmy.Invoice) func(map[string]any) {
		return func(m map[string]any) { m["bolt11"], m["payment_hash"] = inv.Bolt11, inv.Hash.String() }
	}
	dear := other(func(top *timmy.TopUp) { top.Amount += timmy.Sat })
	odd := other(func(top *timmy.TopUp) { top.Amount++ })
	cheap := other(func(top *timmy.TopUp) { top.Amount = timmy.Sat })
	same := other(func(*timmy.TopUp) {})
	tampered := map[string]func(map[string]any){
		"no invoice":        func(m map[string]any) { delete(m, "bolt11") },
		"null":              func(m map[string]any) { m["bolt11"] = nil },
		"a number":          func(m map[string]any) { m["bolt11"] = 7 },
		"no invoice at all": func(m map[string]any) { m["bolt11"] = "tampered" },
		"cut off":           func(m map[string]any) { m["bolt11"] = same.Bolt11[:len(same.Bolt11)-1] },
		"8 kB":              func(m map[string]any) { m["bolt11"] = strings.Repeat("lnbcrt1", 1200) },
		"another's hash":    func(m map[string]any) { m["payment_hash"] = same.Hash.String() },
		"malformed hash":    func(m map[string]any) { m["payment_hash"] = "tampered" },
		"another network":   func(m map[string]any) { m["bolt11"] = mainnetInvoice },
		"a sat more":        instead(dear),
		"a msat more":       instead(odd),
		"less":              instead(cheap),
	}
	for name, tamper := range tampered {
		ln.tamper.Store(&tamper)
		got := a.call(503, "POST", "/sessions", `{"amount_sats":500}`)
		if got.header.Get("Retry-After") == "" || strings.Contains(got.raw, "lnbc") || strings.Contains(got.raw, "tampered") {
			t.Errorf("%s: %v %s", name, got.header, got.raw)
		}
	}
	ln.tamper.Store(nil)
	if open, err := tw.timmy("invoice", "list", "--json"); err != nil || strings.Contains(open, "lnbc") {
		t.Errorf("tampered invoices are kept: %v\n%s", err, open)
	}
	a.call(201, "POST", "/sessions", `{"amount_sats":500}`) // each was asked of the wallet: no breaker stood before it
	tw.verifyBooks()
}
