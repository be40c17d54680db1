package wallet

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/tower"
)

// books are a real ledger behind a node, and the tills that fill it.
type books struct {
	*ledger.Ledger
	t      *testing.T
	node   lndNode
	alerts atomic.Int64
}

func newBooks(t *testing.T, n lndNode) *books {
	t.Helper()
	l, err := ledger.Open(t.Context(), dbtest.Open(t, filepath.Join(t.TempDir(), "ledger.db")), ledger.Options{Now: n.clock.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return &books{Ledger: l, t: t, node: n}
}

// with runs a till of its own during f.
func (b *books) with(w tower.Wallet, f func(*tower.Till)) {
	b.t.Helper()
	till := tower.NewTill(tower.TillConfig{
		Invoices: b.Ledger, Wallet: w, Now: b.node.clock.now, Alert: func(string) { b.alerts.Add(1) }, Log: quiet(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- till.Run(ctx) }()
	f(till)
	cancel()
	if err := <-done; err != nil {
		b.t.Error(err)
	}
}

// invoices makes n invoices of 10 sats for one account.
func (b *books) invoices(till *tower.Till, n int) (all []timmy.Invoice) {
	b.t.Helper()
	for range n {
		inv, err := till.Invoice(b.t.Context(), timmy.TopUp{Account: customer, Purpose: timmy.ForPay, Amount: 10 * timmy.Sat, Memo: "m"})
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, inv)
	}
	return all
}

func (b *books) pay(invoices []timmy.Invoice) {
	b.node.listening()
	b.node.clock.add(time.Minute)
	for _, inv := range invoices {
		b.node.pay(inv.Bolt11, 0)
	}
}

// has holds the books to what the customer was credited.
func (b *books) has(payments int) {
	b.t.Helper()
	bal, err := b.Balance(b.t.Context(), customer)
	if want := timmy.Msat(payments) * 10 * timmy.Sat; err != nil || bal.Posted != want {
		b.t.Errorf("credited %v, want %v; %v", bal.Posted, want, err)
	}
	if drifts, err := b.Verify(b.t.Context()); err != nil || len(drifts) > 0 {
		b.t.Errorf("drifts %v, %v", drifts, err)
	}
}

var customer = timmy.UserAccount(timmy.PubKey{7})

// eventually waits for what a till does by itself.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Errorf("%s did not happen within a minute", what)
}

// Excludes: a node whose word is taken for money (B3). Each lie is alerted.
func TestAPaymentNeedsItsPreimage(t *testing.T) {
	const lies = 20
	for name, lie := range map[string]func(map[string]any){
		"wrong":  func(m map[string]any) { m["r_preimage"] = b64(slices.Repeat([]byte{9}, 32)) },
		"absent": func(m map[string]any) { delete(m, "r_preimage") },
		"zero":   func(m map[string]any) { m["r_preimage"] = b64(make([]byte, 32)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newLNDNode(t)
			n.show = lie
			b := newBooks(t, n)
			b.with(n.wallet(t), func(till *tower.Till) {
				b.pay(b.invoices(till, lies))
				eventually(t, "an alert of each", func() bool { return b.alerts.Load() == lies })
				if s := till.Stats(); s.Applied != 0 {
					t.Errorf("stats %+v", s)
				}
			})
			b.with(n.wallet(t), func(*tower.Till) {}) // the full pass at a start tells no more than the stream
			b.has(0)
		})
	}
}

// Excludes: money that is on its way taken for money that is here (B9).
func TestHeldIsNotPaid(t *testing.T) {
	const held = 100
	n := newLNDNode(t)
	b := newBooks(t, n)
	b.with(n.wallet(t), func(till *tower.Till) {
		all := b.invoices(till, held)
		for _, state := range []string{"ACCEPTED", "CANCELED"} {
			n.set(func() { n.show = func(m map[string]any) { m["state"] = state } })
			if state == "ACCEPTED" {
				b.pay(all)
			}
			n.rouse()
			for _, inv := range all {
				till.Check(t.Context(), inv.Hash)
			}
		}
		if s := till.Stats(); s.Applied != 0 || s.Refused != 0 || s.Lookups < 2*held {
			t.Errorf("stats %+v", s)
		}
	})
	b.has(0)
}

// Excludes: a node that was restored from a backup, and counts from lower again, whose
// old payments are credited again or whose new ones are overlooked (B7).
func TestARestoredNodeIsCreditedOnce(t *testing.T) {
	const old, late = 500, 20
	n := newLNDNode(t)
	b := newBooks(t, n)
	b.with(n.wallet(t), func(till *tower.Till) {
		b.pay(b.invoices(till, old))
		eventually(t, "the credit of all", func() bool { return till.Stats().Applied == old })
	})
	if _, err := b.Credit(t.Context(), timmy.Payment{}, "10000"); err != nil { // what it counted up to before
		t.Fatal(err)
	}
	restored := n.wallet(t)
	restored.wait.replay = 200 * time.Millisecond
	b.with(restored, func(till *tower.Till) {
		eventually(t, "a second look at all", func() bool { return till.Stats().Replayed >= old })
		all := b.invoices(till, late)
		b.pay(all)
		eventually(t, "the credit of what is new", func() bool { return till.Stats().Applied == late })
	})
	b.has(old + late)
}

// Excludes: a caller who waits for a wallet that does not answer, and one that leaves
// more goroutines behind the more it is asked (B6): 2,000 calls, ten kinds of faults.
func TestFaultsAreAnsweredInTime(t *testing.T) {
	kinds := faults()
	kinds["hang"] = func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or it does not hear that the caller is gone
		<-r.Context().Done()
	}
	const callers = 5
	each, before := 2000/len(kinds)/callers, runtime.NumGoroutine()
	t.Run("kinds", func(t *testing.T) {
		for name, fault := range kinds {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				n := newLNDNode(t)
				n.fault = fault
				w := n.wallet(t)
				var all sync.WaitGroup
				for range callers {
					all.Go(func() { askInVain(t, w, each) })
				}
				all.Wait()
				w.call.http.CloseIdleConnections()
				if calls := n.calls.Load(); calls > breakerFailures+callers-1 { // those that were under way when it opened
					t.Errorf("the breaker let %d calls through", calls)
				}
			})
		}
	})
	eventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

// askInVain calls a wallet that is away.
func askInVain(t *testing.T, w *LND, calls int) {
	for i := range calls {
		began := time.Now()
		var err error
		if i%2 == 0 {
			_, err = w.Issue(t.Context(), fmt.Sprint(i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		} else {
			_, err = w.Lookup(t.Context(), timmy.Hash{1})
		}
		if took := time.Since(began); timmy.CodeOf(err) != timmy.Unavailable || took > 11*time.Second {
			t.Errorf("call %d: %v after %v", i, err, took)
		}
	}
}
