package wallet

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestFakeSurvivesAKill excludes losing a payment that Pay has answered, also
// when the crash tore the last line.
func TestFakeSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wallet.jsonl")
	c := &clock{at: born}
	f := openFake(t, path, c)
	var paid, unpaid []timmy.Invoice
	for i := range 20 {
		inv, err := f.Issue(t.Context(), "ref", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if _, err := f.Pay(t.Context(), inv.Bolt11, 0); err != nil {
				t.Fatal(err)
			}
			paid = append(paid, inv)
		} else {
			unpaid = append(unpaid, inv)
		}
	}
	whole, err := os.ReadFile(path) // as a kill leaves it: never closed
	if err != nil {
		t.Fatal(err)
	}
	if mode, _ := os.Stat(path); mode.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", mode.Mode())
	}
	for _, torn := range []string{"", `{"op":"pa`, "\x00\x00\x00"} {
		again := filepath.Join(t.TempDir(), "again.jsonl")
		if err := os.WriteFile(again, append(whole[:len(whole):len(whole)], torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		g := openFake(t, again, c)
		for _, inv := range paid {
			if p, err := g.Lookup(t.Context(), inv.Hash); err != nil || !p.Settled || p.Received != 1000 {
				t.Fatalf("after %q: %+v, %v", torn, p, err)
			}
		}
		for _, inv := range unpaid {
			if p, err := g.Pay(t.Context(), inv.Bolt11, 0); err != nil || !p.Settled {
				t.Fatalf("after %q: %+v, %v", torn, p, err)
			}
		}
		if g.key.Key != f.key.Key {
			t.Error("another node key")
		}
		g.Close()
		if h := openFake(t, again, c); h.Stats() != (FakeStats{20, 20}) {
			t.Errorf("third opening: %+v", h.Stats())
		}
	}
}

// TestFakeRefusesADamagedJournal excludes going on with a hole in the books.
func TestFakeRefusesADamagedJournal(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":      "{\"op\":\"key\",\"key\":\"" + strings.Repeat("11", 32) + "\"}\ngarbage\n",
		"unknown op":   "{\"op\":\"steal\"}\n",
		"pay unknown":  "{\"op\":\"pay\",\"hash\":\"" + strings.Repeat("11", 32) + "\",\"seq\":1}\n",
		"bad preimage": "{\"op\":\"issue\",\"hash\":\"" + strings.Repeat("11", 32) + "\",\"preimage\":\"zz\"}\n",
		"long line":    strings.Repeat("x", maxJournalLine+10) + "\n",
	} {
		path := filepath.Join(t.TempDir(), "w")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := OpenFake(path, time.Now, nil, quiet()); err == nil {
			f.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

// TestPayIsOnceOnly excludes a second payment of one invoice, also at the same
// time, and payments of what is not ours or too late.
func TestPayIsOnceOnly(t *testing.T) {
	c := &clock{at: born}
	f := openFake(t, filepath.Join(t.TempDir(), "w"), c)
	inv, err := f.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if p, err := f.Pay(context.Background(), inv.Bolt11, timmy.Msat(1000+i)); err != nil || !p.Settled {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, _ := f.List(t.Context(), born); len(list) != 1 {
		t.Fatalf("%d payments", len(list))
	}
	if _, err := f.Pay(t.Context(), strings.ToUpper(inv.Bolt11), 0); err != nil {
		t.Errorf("paying again in capitals: %v", err)
	}
	late, _ := f.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, time.Hour)
	c.add(time.Hour)
	if _, err := f.Pay(t.Context(), late.Bolt11, 0); timmy.CodeOf(err) != timmy.Expired {
		t.Errorf("too late: %v", err)
	}
	if _, err := f.Pay(t.Context(), inv.Bolt11, 0); err != nil {
		t.Errorf("paying again after expiry: %v", err)
	}
	other := openFake(t, filepath.Join(t.TempDir(), "w"), c)
	strange, _ := other.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
	if _, err := f.Pay(t.Context(), strange.Bolt11, 0); timmy.CodeOf(err) != timmy.NotFound {
		t.Errorf("not ours: %v", err)
	}
	for _, s := range []string{"", "lnbc1x", "hello"} {
		if _, err := f.Pay(t.Context(), s, 0); timmy.CodeOf(err) == "" || timmy.CodeOf(err) == timmy.Internal {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := f.Pay(t.Context(), inv.Bolt11, -1); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("negative: %v", err)
	}
}

// TestWatchReplaysFromTheCursor excludes a payment that is missed because it
// came while the tower was down, and a cursor of another journal that hides all
// (bad-inputs 217).
func TestWatchReplaysFromTheCursor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	c := &clock{at: born}
	f := openFake(t, path, c)
	for range 10 {
		inv, err := f.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Pay(t.Context(), inv.Bolt11, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	g := openFake(t, path, c)
	for from, want := range map[timmy.Cursor]int{"": 10, "0": 10, "1": 9, "7": 3, "10": 0, "11": 10, "-1": 10, "x": 10, "99999999999999999999": 10} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		more := time.AfterFunc(time.Minute, cancel) // for what must not come
		if want == 0 {
			more.Reset(50 * time.Millisecond)
		}
		n, last := 0, timmy.Cursor("")
		_ = g.Watch(ctx, from, func(_ timmy.Payment, next timmy.Cursor) error {
			if n++; n == want {
				more.Reset(50 * time.Millisecond)
			}
			last = next
			return nil
		})
		cancel()
		if n != want || n > 0 && last != "10" {
			t.Errorf("from %q: %d payments up to %q, want %d", from, n, last, want)
		}
	}
}

// TestConcurrentIssueIsDurable excludes an invoice that a shared fsync forgot.
func TestConcurrentIssueIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	c := &clock{at: born}
	f := openFake(t, path, c)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				inv, err := f.Issue(context.Background(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := f.Pay(context.Background(), inv.Bolt11, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f.Close()
	if _, err := f.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000}, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	if g := openFake(t, path, c); g.Stats() != (FakeStats{80, 80}) {
		t.Errorf("reopened: %+v", g.Stats())
	}
}
