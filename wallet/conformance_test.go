package wallet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// pusher is what the tower needs of a wallet, its optional push included.
type pusher interface {
	Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error)
	Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error)
	List(ctx context.Context, since time.Time) ([]timmy.Payment, error)
	Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error
}

// clock is a clock that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func openFake(t testing.TB, path string, c *clock) *Fake {
	t.Helper()
	f, err := OpenFake(path, c.now, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// bench is a wallet under test and the world that pays its invoices.
type bench struct {
	wallet pusher
	pay    func(bolt11 string, received timmy.Msat)
	clock  *clock

	// listening waits until the backend has the wallet as a listener; nil: it tells
	// a late one what it missed.
	listening func()

	// bound is a lightning address: the provider describes the invoice and says how
	// long it lives, tells no amount, and does not push.
	bound bool
}

// backends are the wallets that the suite runs on.
var backends = map[string]func(*testing.T) bench{
	"fake": func(t *testing.T) bench {
		c := &clock{at: born}
		f := openFake(t, filepath.Join(t.TempDir(), "wallet.jsonl"), c)
		return bench{wallet: f, clock: c, pay: func(bolt11 string, received timmy.Msat) {
			if _, err := f.Pay(context.Background(), bolt11, received); err != nil {
				t.Error(err)
			}
		}}
	},
	"lnbits": func(t *testing.T) bench {
		s := newServer(t)
		return bench{wallet: s.wallet(t), pay: s.pay, clock: s.clock, listening: s.listening}
	},
	"lnd": func(t *testing.T) bench {
		n := newLNDNode(t)
		return bench{wallet: n.wallet(t), pay: n.pay, clock: n.clock, listening: n.listening}
	},
	"cln": func(t *testing.T) bench {
		n := newCLNNode(t)
		return bench{wallet: n.wallet(t), pay: n.pay, clock: n.clock}
	},
	"phoenixd": func(t *testing.T) bench {
		n := newPhoenixNode(t)
		return bench{wallet: n.wallet(t), pay: n.pay, clock: n.clock, listening: n.listening}
	},
	"nwc": func(t *testing.T) bench {
		n := newNWCNode(t, nip.NIP44)
		return bench{wallet: n.wallet(t), pay: n.pay, clock: n.clock, listening: n.listening}
	},
	"nwc by nip04": func(t *testing.T) bench {
		n := newNWCNode(t, nip.NIP04)
		return bench{wallet: n.wallet(t), pay: n.pay, clock: n.clock, listening: n.listening}
	},
	"lnaddress": func(t *testing.T) bench {
		n := newProvider(t)
		return bench{wallet: polled{n.wallet(t, "")}, pay: n.pay, clock: n.clock, bound: true}
	},
	"lnbits legacy": func(t *testing.T) bench {
		s := newServer(t)
		s.legacy = true
		return bench{wallet: s.wallet(t), pay: s.pay, clock: s.clock, listening: s.listening}
	},
}

// polled is a wallet without push.
type polled struct{ *LNAddress }

// Watch waits, as the tower does.
func (p polled) Watch(ctx context.Context, _ timmy.Cursor, _ func(timmy.Payment, timmy.Cursor) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// conform runs a promise on every backend.
func conform(t *testing.T, promise func(*testing.T, bench)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { promise(t, open(t)) })
	}
}

// TestWalletIssuesWhatWasAsked excludes a wrong amount, description hash or life.
func TestWalletIssuesWhatWasAsked(t *testing.T) {
	conform(t, func(t *testing.T, b bench) {
		description := []byte(`{"kind":9734}`)
		for i, c := range []struct {
			top    timmy.TopUp
			expiry time.Duration
			life   time.Duration
		}{
			{timmy.TopUp{Amount: 100_000, Memo: "Timmy: deposit"}, 10 * time.Minute, 10 * time.Minute},
			{timmy.TopUp{Amount: 1000, Memo: ""}, 0, time.Hour},
			{timmy.TopUp{Amount: timmy.FromSats(1_000_000), Memo: "ünï"}, 100 * time.Hour, 24 * time.Hour},
			{timmy.TopUp{Amount: 21_000, DescriptionHash: sha256.Sum256(description), Description: description}, time.Hour, time.Hour},
		} {
			inv, err := b.wallet.Issue(t.Context(), fmt.Sprint("ref-", i), c.top, c.expiry)
			if b.bound && c.top.Description != nil {
				if timmy.CodeOf(err) != timmy.Invalid {
					t.Errorf("a description of ours: %v, want Invalid", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			d, err := Decode(inv.Bolt11)
			if b.bound {
				c.life, c.top.DescriptionHash = time.Hour, d.DescriptionHash
			}
			if err != nil || d.Amount != c.top.Amount || d.Hash != inv.Hash || d.DescriptionHash != c.top.DescriptionHash ||
				!inv.Expires.Equal(born.Add(c.life)) || inv.Amount != c.top.Amount {
				t.Errorf("Issue(%+v) = %+v, %v", c.top, inv, err)
			}
		}
		for _, amount := range []timmy.Msat{0, -1000, timmy.MaxMsat + 1000} {
			if _, err := b.wallet.Issue(t.Context(), "r", timmy.TopUp{Amount: amount, Memo: "m"}, 0); timmy.CodeOf(err) != timmy.Invalid {
				t.Errorf("amount %d: %v, want Invalid", amount, err)
			}
		}
	})
}

// TestWalletTellsPaidFromUnpaid excludes a credit for an invoice that nobody
// paid, and one that is reported with the wrong amount.
func TestWalletTellsPaidFromUnpaid(t *testing.T) {
	conform(t, func(t *testing.T, b bench) {
		for i, received := range []timmy.Msat{0, 5000, 15_000, 100_000} {
			inv, err := b.wallet.Issue(t.Context(), fmt.Sprint("ref-", i), timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := b.wallet.Lookup(t.Context(), inv.Hash); err != nil || p.Settled || p.Received != 0 {
				t.Fatalf("unpaid: %+v, %v", p, err)
			}
			b.clock.add(time.Second)
			b.pay(inv.Bolt11, received)
			b.clock.add(time.Second)
			want := received
			if want == 0 || b.bound {
				want = 10_000
			}
			p, err := b.wallet.Lookup(t.Context(), inv.Hash)
			if err != nil || !p.Settled || p.Received != want || p.Ref != fmt.Sprint("ref-", i) || sha256.Sum256(p.Preimage[:]) != inv.Hash {
				t.Fatalf("paid %d: %+v, %v", received, p, err)
			}
		}
		if _, err := b.wallet.Lookup(t.Context(), timmy.Hash{1}); timmy.CodeOf(err) != timmy.NotFound {
			t.Errorf("unknown hash: %v, want NotFound", err)
		}
	})
}

// TestWalletListsEverySettlement excludes a full pass that misses a payment on a
// later page, or one made long after its invoice.
func TestWalletListsEverySettlement(t *testing.T) {
	conform(t, func(t *testing.T, b bench) {
		want := map[timmy.Hash]bool{}
		for i := range 2*pageSize + 5 {
			inv, err := b.wallet.Issue(t.Context(), fmt.Sprint("r-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if i%5 > 0 {
				want[inv.Hash] = true
				b.clock.add(time.Second)
				b.pay(inv.Bolt11, 0)
			}
		}
		b.clock.add(time.Second)
		list, err := b.wallet.List(t.Context(), born)
		if err != nil || len(list) != len(want) {
			t.Fatalf("List: %d payments, %v; want %d", len(list), err, len(want))
		}
		for _, p := range list {
			if !want[p.Hash] || !p.Settled || p.Received != 1000 {
				t.Fatalf("List has %+v", p)
			}
		}
	})
}

// TestWatchReportsEachPayment excludes a push that is lost, or reported before
// it is true.
func TestWatchReportsEachPayment(t *testing.T) {
	conform(t, func(t *testing.T, b bench) {
		if b.bound {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		got, reported := make(chan timmy.Payment, 16), map[timmy.Hash]bool{}
		ended := make(chan error, 1)
		go func() {
			ended <- b.wallet.Watch(ctx, "", func(p timmy.Payment, _ timmy.Cursor) error { got <- p; return nil })
		}()
		if b.listening != nil {
			b.listening()
		}
		for i := range 5 {
			inv, err := b.wallet.Issue(ctx, fmt.Sprint("r-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			b.pay(inv.Bolt11, 0)
			for reported[inv.Hash] = false; !reported[inv.Hash]; {
				select {
				case p := <-got:
					if _, known := reported[p.Hash]; !known || !p.Settled {
						t.Fatalf("reported %+v", p)
					}
					reported[p.Hash] = true // some twice: the book credits once
				case <-ctx.Done():
					t.Fatal("the payment was not reported")
				}
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
}

// TestWatchStopsWhenTheBookFails excludes a cursor that runs ahead of a failed
// credit: the report's error must end the watch (threats B1, B2).
func TestWatchStopsWhenTheBookFails(t *testing.T) {
	conform(t, func(t *testing.T, b bench) {
		if b.bound {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		busy := errors.New("database is busy")
		ended := make(chan error, 1)
		go func() {
			ended <- b.wallet.Watch(ctx, "", func(timmy.Payment, timmy.Cursor) error { return busy })
		}()
		if b.listening != nil {
			b.listening()
		}
		inv, err := b.wallet.Issue(ctx, "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.pay(inv.Bolt11, 0)
		if err := <-ended; !errors.Is(err, busy) {
			t.Errorf("Watch = %v, want the book's error", err)
		}
	})
}
