package wallet

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestLNDCountsOnlyProvenSettlements is bad-inputs 213, 214 and threat B9: held,
// cancelled or unproven is not paid, and an impossible amount is 0.
func TestLNDCountsOnlyProvenSettlements(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(map[string]any)
		settled  bool
		received timmy.Msat
	}{
		"as it is":         {func(map[string]any) {}, true, 10_000},
		"held":             {func(m map[string]any) { m["state"] = "ACCEPTED" }, false, 0},
		"cancelled":        {func(m map[string]any) { m["state"] = "CANCELED" }, false, 0},
		"settled flag":     {func(m map[string]any) { m["state"] = "OPEN"; m["settled"] = true }, false, 0},
		"state by number":  {func(m map[string]any) { m["state"] = 1 }, false, 0},
		"no preimage":      {func(m map[string]any) { delete(m, "r_preimage") }, true, 10_000},
		"zero preimage":    {func(m map[string]any) { m["r_preimage"] = b64(make([]byte, 32)) }, true, 10_000},
		"short preimage":   {func(m map[string]any) { m["r_preimage"] = "AA==" }, true, 10_000},
		"overpaid":         {func(m map[string]any) { m["amt_paid_msat"] = "15001" }, true, 15_001},
		"as a number":      {func(m map[string]any) { m["amt_paid_msat"] = 12_000 }, true, 12_000},
		"negative":         {func(m map[string]any) { m["amt_paid_msat"] = "-1" }, true, 0},
		"overflow":         {func(m map[string]any) { m["amt_paid_msat"] = "99999999999999999999" }, true, 0},
		"missing":          {func(m map[string]any) { delete(m, "amt_paid_msat") }, true, 0},
		"settled in 1970":  {func(m map[string]any) { m["settle_date"] = "1" }, true, 10_000},
		"settled in 2106":  {func(m map[string]any) { m["settle_date"] = "4294967295" }, true, 10_000},
		"memo is a number": {func(m map[string]any) { m["memo"] = 7 }, true, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			n := newLNDNode(t)
			l := n.wallet(t)
			inv, err := l.Issue(t.Context(), "ref", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			n.pay(inv.Bolt11, 0)
			n.clock.add(time.Minute)
			n.set(func() { n.show = c.change })
			p, err := l.Lookup(t.Context(), inv.Hash)
			if err != nil || p.Settled != c.settled || p.Received != c.received {
				t.Fatalf("Lookup = %+v, %v", p, err)
			}
			if p.Unproven != strings.HasSuffix(name, "preimage") || p.Unproven && p.Preimage != [32]byte{} {
				t.Errorf("unproven: %v, %x", p.Unproven, p.Preimage)
			}
			if p.Settled && (p.At.Before(born) || p.At.After(n.clock.now())) {
				t.Errorf("dated %v", p.At)
			}
		})
	}
}

// faults are the ways in which a server is away.
func faults() map[string]http.HandlerFunc {
	huge := `{"x":"` + strings.Repeat("x", maxReply) + `"}`
	return map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { reply(w, 500, map[string]any{"message": "x"}) },
		"429":     func(w http.ResponseWriter, _ *http.Request) { reply(w, 429, "slow down") },
		"401":     func(w http.ResponseWriter, _ *http.Request) { reply(w, 401, "who are you") },
		"html":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"empty":   func(http.ResponseWriter, *http.Request) {},
		"hang up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"huge":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, huge) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
		"echo": func(w http.ResponseWriter, r *http.Request) { // says the key back
			reply(w, 500, map[string]any{"message": fmt.Sprint(r.Header)})
		},
	}
}

// issuer is a wallet with its breaker.
type issuer interface {
	pusher
	Stats() BackendStats
}

// endure holds a backend to threat B6: no call hangs, writes are tried once,
// reads at most three times, the breaker opens, and no key is in an error.
func endure(t *testing.T, open func(testing.TB) (*node, issuer), secrets ...string) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, w := open(t)
			n.set(func() { n.fault = fault })
			var texts []string
			_, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if timmy.CodeOf(err) != timmy.Unavailable {
				t.Fatalf("Issue = %v", err)
			}
			texts = append(texts, err.Error())
			for range 3 {
				_, err = w.Lookup(t.Context(), timmy.Hash{1})
				if timmy.CodeOf(err) != timmy.Unavailable {
					t.Fatalf("Lookup = %v", err)
				}
				texts = append(texts, err.Error())
			}
			if w.Stats().Breaker != "open" || n.calls.Load() > breakerFailures {
				t.Errorf("breaker %s after %d calls", w.Stats().Breaker, n.calls.Load())
			}
			if err := w.Watch(t.Context(), "7", nil); err == nil {
				t.Error("Watch went on")
			} else {
				texts = append(texts, err.Error())
			}
			for _, text := range texts {
				for _, s := range secrets {
					if strings.Contains(text, s) {
						t.Errorf("the key is in %q", text)
					}
				}
			}
		})
	}
}

// TestLNDFaults is threat B6.
func TestLNDFaults(t *testing.T) {
	endure(t, func(t testing.TB) (*node, issuer) { n := newLNDNode(t); return n.node, n.wallet(t) }, hex.EncodeToString(testMacaroon))
}

// TestLNDReplaysWhatWasMissed excludes a payment that is lost because nobody
// watched, also with the very first cursor and across cut streams (B1).
func TestLNDReplaysWhatWasMissed(t *testing.T) {
	n := newLNDNode(t)
	l := n.wallet(t)
	cursor := timmy.Cursor("")
	for round := range 4 {
		want := map[timmy.Hash]bool{}
		for i := range round + 1 { // 1 in the first round: the index that cannot be asked for
			inv, err := l.Issue(t.Context(), fmt.Sprint(round, "-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			want[inv.Hash] = true
			n.pay(inv.Bolt11, 0) // nobody watches
		}
		got, stop := gather(t, l, cursor)
		for range round {
			n.cutStreams()
		}
		late, err := l.Issue(t.Context(), fmt.Sprint(round, "-late"), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		n.pay(late.Bolt11, 0)
		seen := map[timmy.Hash]bool{late.Hash: true}
		for h := range want {
			seen[h] = true
		}
		for len(seen) > 0 {
			select {
			case p := <-got:
				delete(seen, p.Hash)
			case <-time.After(time.Minute):
				t.Fatalf("round %d: %d payments were not reported", round, len(seen))
			}
		}
		cursor = stop()
	}
	if cursor != "14" {
		t.Errorf("cursor %q, want 14", cursor)
	}
}

// TestLNDStreamsWithoutAList is a node that has too much to list it in time, and a tower
// that has no cursor yet: what is paid from then on is reported, and the cursor stays, so
// that what was paid before is found once the node lists.
func TestLNDStreamsWithoutAList(t *testing.T) {
	n := newLNDNode(t)
	l := n.wallet(t)
	issue := func(ref string) timmy.Invoice {
		inv, err := l.Issue(t.Context(), ref, timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	before, after := issue("before"), issue("after")
	n.pay(before.Bolt11, 0)
	n.unlisted.Store(true)
	got, stop := gather(t, l, "")
	time.Sleep(100 * time.Millisecond)
	n.pay(after.Bolt11, 0)
	await(t, got, map[timmy.Hash]bool{after.Hash: true})
	if cursor := stop(); cursor != "" {
		t.Errorf("the cursor moved to %q, past what was not listed", cursor)
	}
	n.unlisted.Store(false)
	again, stopAgain := gather(t, l, "")
	defer stopAgain()
	await(t, again, map[timmy.Hash]bool{before.Hash: true, after.Hash: true})
}

// TestLNDNoticesARestoredNode is threat B7: a node that counts from lower again
// would show nothing up to the old index.
func TestLNDNoticesARestoredNode(t *testing.T) {
	n := newLNDNode(t)
	l := n.wallet(t)
	l.wait.replay = 200 * time.Millisecond
	inv, err := l.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(inv.Bolt11, 0)
	got, stop := gather(t, l, "500")
	await(t, got, map[timmy.Hash]bool{inv.Hash: true})
	stop()
}

// TestLNDLeavesOtherInvoicesAlone excludes that sats which a node received for
// something else end up in our books.
func TestLNDLeavesOtherInvoicesAlone(t *testing.T) {
	n := newLNDNode(t)
	l := n.wallet(t)
	other, err := n.issue(timmy.TopUp{Amount: 5000, Memo: "coffee"}, "coffee", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(other.Bolt11, 0)
	list, err := l.List(t.Context(), born)
	if err != nil || len(list) != 0 {
		t.Fatalf("List = %v, %v", list, err)
	}
	inv, err := l.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(inv.Bolt11, 0)
	got, stop := gather(t, l, "2")
	await(t, got, map[timmy.Hash]bool{inv.Hash: true})
	stop()
}

// TestLNDStreamGarbage excludes a watch that swallows an error of the stream.
func TestLNDStreamGarbage(t *testing.T) {
	for _, line := range []string{"{", "[]", "null", `{"error":{"code":2,"message":"shutting down"}}`, strings.Repeat("x", maxReply+1)} {
		n := newLNDNode(t)
		l := n.wallet(t)
		n.fault = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, line+"\n") }
		err := l.Watch(t.Context(), "9", func(timmy.Payment, timmy.Cursor) error { return errors.New("reported") })
		if timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("%.20q: %v", line, err)
		}
	}
}

// TestPinRefusesOtherCertificates excludes whoever stands in between, who has
// another certificate for the same name.
func TestPinRefusesOtherCertificates(t *testing.T) {
	n := newLNDNode(t)
	cert := otherCert(t)
	l, err := NewLND(LNDConfig{URL: n.http.URL, Macaroon: testMacaroon, Cert: cert, Network: Regtest, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Lookup(t.Context(), timmy.Hash{1}); !strings.Contains(fmt.Sprint(err), errNotPinned.Error()) {
		t.Errorf("Lookup = %v", err)
	}
	if n.calls.Load() != 0 {
		t.Error("the macaroon was sent")
	}
}

// TestNewLNDRefusesBadSettings excludes a tower that starts and cannot be paid.
func TestNewLNDRefusesBadSettings(t *testing.T) {
	good := LNDConfig{URL: "https://127.0.0.1:8080", Macaroon: testMacaroon, Network: Regtest}
	var log bytes.Buffer
	good.Log = slog.New(slog.NewTextHandler(&log, nil))
	for name, change := range map[string]func(*LNDConfig){
		"no url":       func(c *LNDConfig) { c.URL = "" },
		"userinfo":     func(c *LNDConfig) { c.URL = "https://u:p@x" },
		"no macaroon":  func(c *LNDConfig) { c.Macaroon = nil },
		"huge":         func(c *LNDConfig) { c.Macaroon = make([]byte, 1<<16) },
		"cert garbage": func(c *LNDConfig) { c.Cert = []byte("x") },
		"network":      func(c *LNDConfig) { c.Network = "moon" },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewLND(cfg); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Macaroon = []byte(hex.EncodeToString(testMacaroon) + "\n")
	if l, err := NewLND(good); err != nil || l.call.secret != hex.EncodeToString(testMacaroon) {
		t.Errorf("hex macaroon: %v", err)
	}
}

// TestLNDWatchEndsWithItsContext excludes a goroutine that outlives the tower.
func TestLNDWatchEndsWithItsContext(t *testing.T) {
	l := newLNDNode(t).wallet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.Watch(ctx, "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch = %v", err)
	}
}
