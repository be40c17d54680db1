package tower

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

func topUp(amount timmy.Msat) timmy.TopUp {
	return timmy.TopUp{Account: timmy.UserAccount(alice), Purpose: timmy.ForPay, Amount: amount}
}

// runTill runs f with a till over fakes in a bubble of fake time.
func runTill(t *testing.T, cfg TillConfig, f func(t *testing.T, till *Till)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	till := NewTill(cfg)
	done := make(chan error)
	go func() { done <- till.Run(ctx) }()
	f(t, till)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Excludes B1: each detector alone credits every payment, once.
func TestEachDetectorAloneIsEnough(t *testing.T) {
	const payments = 50
	for _, alone := range []string{"push", "poll", "pass"} {
		t.Run(alone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book, fake := newBook(), newWallet()
				push := &pushWallet{fakeWallet: fake, breaks: 3, settled: make(chan timmy.Payment, payments)}
				fake.noLookup, fake.noList = alone != "poll", alone != "pass"
				cfg := TillConfig{Invoices: book, Wallet: fake}
				if alone == "push" {
					cfg.Wallet = push
				}
				runTill(t, cfg, func(t *testing.T, till *Till) {
					for range payments {
						inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
						if err != nil {
							t.Fatal(err)
						}
						fake.pay(inv.Hash, inv.Amount)
						push.settled <- timmy.Payment{Hash: inv.Hash, Received: inv.Amount, Settled: true}
					}
					time.Sleep(map[string]time.Duration{"push": 5 * time.Second, "poll": 15 * time.Second, "pass": passEvery + time.Minute}[alone])
					synctest.Wait()
					if b := book.balance(timmy.UserAccount(alice)); b.Posted != payments*100*timmy.Sat {
						t.Errorf("credited %v", b.Posted)
					}
					if s := till.Stats(); s.Applied != payments {
						t.Errorf("stats %+v", s)
					}
				})
				if alone == "push" && book.cursor == "" {
					t.Error("the cursor did not move")
				}
			})
		})
	}
}

// Excludes B1 after a restart: what was paid while the tower was down is credited
// by the first pass.
func TestFirstPassFindsWhatWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, wallet := newBook(), newWallet()
		inv, err := NewTill(TillConfig{Invoices: book, Wallet: wallet}).Invoice(t.Context(), topUp(100*timmy.Sat))
		if err != nil {
			t.Fatal(err)
		}
		wallet.pay(inv.Hash, inv.Amount)
		time.Sleep(5 * day)
		wallet.noLookup = true
		runTill(t, TillConfig{Invoices: book, Wallet: wallet}, func(t *testing.T, till *Till) { synctest.Wait() })
		if b := book.balance(timmy.UserAccount(alice)); b.Posted != 100*timmy.Sat {
			t.Errorf("credited %v", b.Posted)
		}
	})
}

// Excludes B2: credits that failed and were forgotten. Health goes red, then green.
func TestFailedCreditIsTriedAgain(t *testing.T) {
	const settlements = 100
	for _, push := range []bool{false, true} {
		t.Run(fmt.Sprint("push ", push), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book, fake := newBook(), newWallet()
				stream := &pushWallet{fakeWallet: fake, settled: make(chan timmy.Payment, settlements)}
				cfg := TillConfig{Invoices: book, Wallet: fake}
				if push {
					cfg.Wallet, fake.noLookup = stream, true
				}
				runTill(t, cfg, func(t *testing.T, till *Till) {
					var open []timmy.Invoice
					for range settlements {
						inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
						if err != nil {
							t.Fatal(err)
						}
						open = append(open, inv)
					}
					book.fail(func(method string) error {
						if method == "Credit" {
							return errors.New("database is locked")
						}
						return nil
					})
					for _, inv := range open {
						fake.pay(inv.Hash, inv.Amount)
						stream.settled <- timmy.Payment{Hash: inv.Hash, Received: inv.Amount, Settled: true}
					}
					time.Sleep(10 * time.Second)
					if till.Healthy() == nil {
						t.Error("healthy while a credit fails")
					}
					book.fail(nil)
					time.Sleep(time.Minute)
					if err := till.Healthy(); err != nil {
						t.Errorf("still unhealthy: %v", err)
					}
					if b := book.balance(timmy.UserAccount(alice)); b.Posted != settlements*100*timmy.Sat {
						t.Errorf("credited %v", b.Posted)
					}
				})
			})
		})
	}
}

// Excludes a wallet overrun by questions about one unpaid invoice, and one that is
// asked for ever.
func TestPollingSlowsDownAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, wallet := newBook(), newWallet()
		book.keepOpen = true
		runTill(t, TillConfig{Invoices: book, Wallet: wallet}, func(t *testing.T, till *Till) {
			inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Second)
			synctest.Wait()
			if n := wallet.asked(inv.Hash); n < 5 || n > 6 { // at 2, 7, 17, 27, 37, 47 s
				t.Errorf("asked %d times in 50 s", n)
			}
			time.Sleep(26 * time.Hour)
			book.mu.Lock()
			clear(book.invoices)
			book.mu.Unlock()
			time.Sleep(time.Minute)
			n := wallet.asked(inv.Hash)
			if n > 60+15+24*12+10 {
				t.Errorf("asked %d times", n)
			}
			time.Sleep(time.Hour)
			if wallet.asked(inv.Hash) != n || till.Stats().Polled != 0 {
				t.Error("still asked a day after its expiry")
			}
			book.mu.Lock()
			defer book.mu.Unlock()
			if book.lapses < 3600 {
				t.Errorf("lapsed %d times", book.lapses)
			}
		})
	})
}

// Excludes two invoices for one zap, and an error that hides the open one.
func TestConflictReturnsTheOpenInvoice(t *testing.T) {
	till := NewTill(TillConfig{Invoices: newBook(), Wallet: newWallet()})
	zap := topUp(21 * timmy.Sat)
	zap.ZapID = "z"
	first, err := till.Invoice(t.Context(), zap)
	if err != nil {
		t.Fatal(err)
	}
	again, err := till.Invoice(t.Context(), zap)
	if timmy.CodeOf(err) != timmy.Conflict || again != first {
		t.Errorf("got %+v, %v", again, err)
	}
}

// Excludes an asker who is shown a wallet's secrets or hangs on it, and a row that
// blocks the next try (B6, D8).
func TestWalletThatIsAwayIsSaidSo(t *testing.T) {
	book, wallet := newBook(), newWallet()
	till := NewTill(TillConfig{Invoices: book, Wallet: wallet})
	wallet.away = errors.New("401 from http://lnd?macaroon=secret")
	zap := topUp(21 * timmy.Sat)
	zap.ZapID = "z"
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // an asker that hangs up leaves no half-made invoice either
	_, err := till.Invoice(ctx, zap)
	if timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(timmy.MessageOf(err), "secret") || book.withdrawn != 1 {
		t.Errorf("got %v", err)
	}
	wallet.away = nil
	if _, err := till.Invoice(ctx, zap); err != nil {
		t.Errorf("the next try: %v", err)
	}
	for _, amount := range []timmy.Msat{0, -1, 999, timmy.MaxMsat + 1} {
		if _, err := till.Invoice(t.Context(), topUp(amount)); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%d: %v", amount, err)
		}
	}
}

// Excludes silence about money that nobody was credited for, and an alarm that
// never stops.
func TestStrayMoneyIsAlertedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, wallet := newBook(), newWallet()
		var alerts atomic.Int64
		cfg := TillConfig{Invoices: book, Wallet: wallet, Alert: func(string) { alerts.Add(1) }}
		runTill(t, cfg, func(t *testing.T, till *Till) {
			inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
			if err != nil {
				t.Fatal(err)
			}
			wallet.pay(inv.Hash, 10*inv.Amount)
			wallet.pay(timmy.Hash{9}, 5*timmy.Sat)
			time.Sleep(3 * time.Hour)
			if s := till.Stats(); alerts.Load() != 2 || s.Applied != 0 || s.Refused == 0 || s.Unknown == 0 {
				t.Errorf("%d alerts, stats %+v", alerts.Load(), s)
			}
		})
	})
}

// Excludes A3: all detectors at once credit once. Run with -race.
func TestAllDetectorsTogetherCreditOnce(t *testing.T) {
	book, fake := newBook(), newWallet()
	till := NewTill(TillConfig{Invoices: book, Wallet: fake})
	inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
	if err != nil {
		t.Fatal(err)
	}
	fake.pay(inv.Hash, inv.Amount)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { till.lookUpOne(t.Context(), inv.Hash) })
		all.Go(func() { _ = till.pass(t.Context(), time.Time{}) })
	}
	all.Wait()
	if s := till.Stats(); s.Applied != 1 || book.balance(timmy.UserAccount(alice)).Posted != 100*timmy.Sat {
		t.Errorf("stats %+v", s)
	}
}

// Excludes a nonsense report from the wallet that holds up all payments after it.
func TestNonsenseReportHoldsUpNothing(t *testing.T) {
	book := newBook()
	book.fail(func(method string) error {
		if method == "Credit" {
			return timmy.Errorf(timmy.Invalid, "a payment without hash and reference")
		}
		return nil
	})
	till := NewTill(TillConfig{Invoices: book, Wallet: newWallet()})
	if err := till.creditUntilDone(t.Context(), timmy.Payment{Settled: true}, "1"); err != nil || till.Healthy() != nil {
		t.Errorf("got %v, health %v", err, till.Healthy())
	}
}

// Excludes: a payer who says that he paid and is told to wait for the next poll.
func TestOneInvoiceIsCheckedNow(t *testing.T) {
	book, wallet := newBook(), newWallet()
	till := NewTill(TillConfig{Invoices: book, Wallet: wallet})
	inv, err := till.Invoice(t.Context(), topUp(100*timmy.Sat))
	if err != nil {
		t.Fatal(err)
	}
	till.Check(t.Context(), inv.Hash)
	if b := book.balance(timmy.UserAccount(alice)); b.Posted != 0 {
		t.Errorf("credited %v before it was paid", b.Posted)
	}
	wallet.pay(inv.Hash, inv.Amount)
	for range 2 {
		till.Check(t.Context(), inv.Hash)
	}
	if b := book.balance(timmy.UserAccount(alice)); b.Posted != inv.Amount {
		t.Errorf("credited %v", b.Posted)
	}
}

// Excludes a tower that learns from its next customer that its wallet is dead, and
// one that does not learn that it is back.
func TestAQuietTowerHearsOfADeadWallet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wallet := newWallet()
		runTill(t, TillConfig{Invoices: newBook(), Wallet: wallet}, func(t *testing.T, till *Till) {
			wallet.dies(t, till, false)
			wallet.dies(t, till, true)
			wallet.dies(t, till, false)
		})
	})
}

// dies is a wallet that answers no lookup from now on, or does again.
func (w *fakeWallet) dies(t *testing.T, till *Till, dead bool) {
	t.Helper()
	w.mu.Lock()
	w.noLookup = dead
	w.mu.Unlock()
	time.Sleep(2 * probeAfter)
	synctest.Wait()
	if away := !till.WalletAway().IsZero(); away != dead {
		t.Errorf("dead %v, known %v", dead, away)
	}
}

// Excludes operators who are told that nobody can pay, for the wallet's list fails, and
// who are not told when it is true.
func TestAWalletThatDoesNotListIsNotAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wallet := newWallet()
		runTill(t, TillConfig{Invoices: newBook(), Wallet: wallet}, func(t *testing.T, till *Till) {
			wallet.dies(t, till, false)
			wallet.mu.Lock()
			wallet.noList = true
			wallet.mu.Unlock()
			time.Sleep(passEvery)
			wallet.dies(t, till, false)
			wallet.dies(t, till, true)
		})
	})
}
