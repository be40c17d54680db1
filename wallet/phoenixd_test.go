package wallet

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestPhoenixdBelievesOnlyIsPaid is bad-inputs 213 and 214: the preimage is shown
// before anybody paid and decides nothing. What phoenixd kept for liquidity was
// paid all the same.
func TestPhoenixdBelievesOnlyIsPaid(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(map[string]any)
		settled  bool
		received timmy.Msat
	}{
		"as it is":         {func(map[string]any) {}, true, 10_000},
		"not paid":         {func(m map[string]any) { m["isPaid"] = false }, false, 0},
		"paid as text":     {func(m map[string]any) { m["isPaid"] = "true" }, false, 0},
		"paid missing":     {func(m map[string]any) { delete(m, "isPaid") }, false, 0},
		"no preimage":      {func(m map[string]any) { delete(m, "preimage") }, true, 10_000},
		"wrong preimage":   {func(m map[string]any) { m["preimage"] = strings.Repeat("0", 64) }, true, 10_000},
		"less":             {func(m map[string]any) { m["receivedSat"] = 5 }, true, 5000},
		"twice":            {func(m map[string]any) { m["receivedSat"] = 20 }, true, 20_000},
		"a fee":            {func(m map[string]any) { m["receivedSat"] = 8; m["fees"] = 2000 }, true, 10_000},
		"a fee in parts":   {func(m map[string]any) { m["receivedSat"] = 8; m["fees"] = 1500 }, true, 10_000},
		"less and a fee":   {func(m map[string]any) { m["receivedSat"] = 4; m["fees"] = 1500 }, true, 5500},
		"all is fee":       {func(m map[string]any) { m["receivedSat"] = 0; m["fees"] = 10_000 }, true, 10_000},
		"negative fee":     {func(m map[string]any) { m["fees"] = -5000 }, true, 10_000},
		"received 0":       {func(m map[string]any) { m["receivedSat"] = 0 }, true, 0},
		"received -1":      {func(m map[string]any) { m["receivedSat"] = -1 }, true, 0},
		"received text":    {func(m map[string]any) { m["receivedSat"] = "10" }, true, 0},
		"received missing": {func(m map[string]any) { delete(m, "receivedSat") }, true, 0},
		"received 2^62":    {func(m map[string]any) { m["receivedSat"] = int64(1) << 62 }, true, 0},
		"dated 1970":       {func(m map[string]any) { m["completedAt"] = 1 }, true, 10_000},
		"dated 2106":       {func(m map[string]any) { m["completedAt"] = int64(1) << 42 }, true, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			n := newPhoenixNode(t)
			p := n.wallet(t)
			inv, err := p.Issue(t.Context(), "ref", timmy.TopUp{Amount: 10_000, Memo: strings.Repeat("ü", 200)}, 0)
			if err != nil {
				t.Fatal(err)
			}
			n.pay(inv.Bolt11, 0)
			n.clock.add(time.Minute)
			n.set(func() { n.show = c.change })
			got, err := p.Lookup(t.Context(), inv.Hash)
			if err != nil || got.Settled != c.settled || got.Received != c.received {
				t.Fatalf("Lookup = %+v, %v", got, err)
			}
			if got.Settled && (got.At.Before(born) || got.At.After(n.clock.now())) {
				t.Errorf("dated %v", got.At)
			}
		})
	}
}

// TestPhoenixdRefusesPartsOfASat excludes an invoice over another amount.
func TestPhoenixdRefusesPartsOfASat(t *testing.T) {
	n := newPhoenixNode(t)
	_, err := n.wallet(t).Issue(t.Context(), "r", timmy.TopUp{Amount: 10_001, Memo: "m"}, 0)
	if timmy.CodeOf(err) != timmy.Invalid || n.calls.Load() != 0 {
		t.Errorf("Issue = %v", err)
	}
}

// TestPhoenixdFaults is threat B6.
func TestPhoenixdFaults(t *testing.T) {
	endure(t, func(t testing.TB) (*node, issuer) { n := newPhoenixNode(t); return n.node, n.wallet(t) },
		testPassword, base64.StdEncoding.EncodeToString([]byte(":"+testPassword)))
}

// TestPhoenixdCatchesUp is threat B1: what was paid while nobody watched is
// listed, from no cursor, a cursor, and one of a clock that was ahead.
func TestPhoenixdCatchesUp(t *testing.T) {
	n := newPhoenixNode(t)
	p := n.wallet(t)
	other, err := n.issue(timmy.TopUp{Amount: 5000, Memo: "coffee"}, "coffee", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(other.Bolt11, 0)
	cursor := timmy.Cursor("")
	for round := range 4 {
		n.clock.add(20 * time.Minute)
		want := map[timmy.Hash]bool{}
		for i := range 2 {
			inv, err := p.Issue(t.Context(), fmt.Sprint(round, "-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			want[inv.Hash] = true
			n.pay(inv.Bolt11, 0)
		}
		if round == 3 {
			cursor = timmy.Cursor(fmt.Sprint(n.clock.now().Add(1000 * time.Hour).UnixMilli()))
		}
		got, stop := gather(t, p, cursor)
		time.Sleep(50 * time.Millisecond)
		live, err := p.Issue(t.Context(), fmt.Sprint(round, "-live"), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		want[live.Hash] = true
		n.pay(live.Bolt11, 0)
		for len(want) > 0 { // the minutes before the cursor are reported again
			select {
			case p := <-got:
				delete(want, p.Hash)
			case <-time.After(time.Minute):
				t.Fatalf("round %d: %d were not reported", round, len(want))
			}
		}
		cursor = stop()
		if round < 3 && cursor != timmy.Cursor(fmt.Sprint(n.clock.now().UnixMilli())) {
			t.Errorf("round %d: cursor %q", round, cursor)
		}
	}
}

// TestNewPhoenixdRefusesBadSettings excludes a tower that starts and cannot be
// paid.
func TestNewPhoenixdRefusesBadSettings(t *testing.T) {
	for _, cfg := range []PhoenixdConfig{
		{URL: "", Password: testPassword, Network: Regtest},
		{URL: "http://:" + testPassword + "@127.0.0.1:9740", Password: testPassword, Network: Regtest},
		{URL: "http://127.0.0.1:9740", Password: "", Network: Regtest},
		{URL: "http://127.0.0.1:9740", Password: "a b\n", Network: Regtest},
		{URL: "http://127.0.0.1:9740", Password: testPassword, Network: "moon"},
	} {
		if _, err := NewPhoenixd(cfg); timmy.CodeOf(err) != timmy.Invalid || strings.Contains(err.Error(), testPassword) {
			t.Errorf("%+v: %v", cfg.URL, err)
		}
	}
}
