package wallet

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestCLNCountsOnlyProvenPayments is bad-inputs 213 and 214.
func TestCLNCountsOnlyProvenPayments(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(map[string]any)
		settled  bool
		received timmy.Msat
	}{
		"as it is":        {func(map[string]any) {}, true, 10_000},
		"unpaid":          {func(m map[string]any) { m["status"] = "unpaid" }, false, 0},
		"expired":         {func(m map[string]any) { m["status"] = "expired" }, false, 0},
		"status true":     {func(m map[string]any) { m["status"] = true }, false, 0},
		"no preimage":     {func(m map[string]any) { delete(m, "payment_preimage") }, true, 10_000},
		"zero preimage":   {func(m map[string]any) { m["payment_preimage"] = strings.Repeat("0", 64) }, true, 10_000},
		"overpaid":        {func(m map[string]any) { m["amount_received_msat"] = 15_001 }, true, 15_001},
		"with its unit":   {func(m map[string]any) { m["amount_received_msat"] = "12000msat" }, true, 12_000},
		"negative":        {func(m map[string]any) { m["amount_received_msat"] = -1 }, true, 0},
		"fraction":        {func(m map[string]any) { m["amount_received_msat"] = 10_000.5 }, true, 0},
		"missing":         {func(m map[string]any) { delete(m, "amount_received_msat") }, true, 0},
		"paid in 1970":    {func(m map[string]any) { m["paid_at"] = 1 }, true, 10_000},
		"paid in 2106":    {func(m map[string]any) { m["paid_at"] = int64(1) << 32 }, true, 10_000},
		"label is a list": {func(m map[string]any) { m["label"] = []int{} }, true, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			n := newCLNNode(t)
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

// TestCLNFindsAnUnansweredInvoice excludes two invoices for one reference: the
// node made the first, and its answer came too late.
func TestCLNFindsAnUnansweredInvoice(t *testing.T) {
	t.Parallel()
	n := newCLNNode(t)
	l := n.wallet(t)
	l.create = 200 * time.Millisecond
	n.set(func() { *n.swallow = true })
	top := timmy.TopUp{Amount: 10_000, Memo: "m"}
	inv, err := l.Issue(t.Context(), "ref", top, 0)
	if err != nil || len(n.made) != 1 || inv.Hash != n.made[0] {
		t.Fatalf("Issue = %+v, %v, %d made", inv, err, len(n.made))
	}
	again, err := l.Issue(t.Context(), "ref", top, 0)
	if err != nil || again.Hash != inv.Hash || len(n.made) != 1 {
		t.Fatalf("again = %+v, %v", again, err)
	}
	if _, err := l.Issue(t.Context(), "ref", timmy.TopUp{Amount: 20_000, Memo: "m"}, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("another amount under the same label: %v", err)
	}
	n.pay(inv.Bolt11, 0)
	if _, err := l.Issue(t.Context(), "ref", top, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("a paid invoice was given out again: %v", err)
	}
}

// TestCLNNeedsTheDescription excludes an invoice that hashes another text.
func TestCLNNeedsTheDescription(t *testing.T) {
	n := newCLNNode(t)
	_, err := n.wallet(t).Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000, DescriptionHash: sha256.Sum256([]byte("x"))}, 0)
	if timmy.CodeOf(err) != timmy.Invalid || n.calls.Load() != 0 {
		t.Errorf("Issue = %v", err)
	}
}

// TestCLNFaults is threat B6.
func TestCLNFaults(t *testing.T) {
	endure(t, func(t testing.TB) (*node, issuer) { n := newCLNNode(t); return n.node, n.wallet(t) }, testRune)
}

// TestCLNReplaysWhatWasMissed is threats B1 and B7: what was paid while nobody
// watched is reported, from no cursor, a cursor, and one of before a restore.
func TestCLNReplaysWhatWasMissed(t *testing.T) {
	n := newCLNNode(t)
	l := n.wallet(t)
	other, err := n.issue(timmy.TopUp{Amount: 5000, Memo: "coffee"}, "coffee", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(other.Bolt11, 0)
	all := map[timmy.Hash]bool{}
	cursor := timmy.Cursor("")
	for round := range 3 {
		want := map[timmy.Hash]bool{}
		for i := range 3 {
			inv, err := l.Issue(t.Context(), fmt.Sprint(round, "-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			want[inv.Hash], all[inv.Hash] = true, true
			n.pay(inv.Bolt11, 0)
		}
		got, stop := gather(t, l, cursor)
		for len(want) > 0 {
			select {
			case p := <-got:
				if !all[p.Hash] {
					t.Fatalf("reported %+v", p)
				}
				delete(want, p.Hash)
			case <-time.After(time.Minute):
				t.Fatalf("round %d: not reported", round)
			}
		}
		cursor = stop()
	}
	if cursor != "10" {
		t.Errorf("cursor %q, want 10", cursor)
	}
	got, stop := gather(t, l, "5000")
	await(t, got, all)
	stop()
}

// TestCLNListSkipsWhatIsOver excludes a full pass that reads years every hour,
// and one that skips what is still open.
func TestCLNListSkipsWhatIsOver(t *testing.T) {
	n := newCLNNode(t)
	l := n.wallet(t)
	for i := range 2 * nodePage {
		inv, err := l.Issue(t.Context(), fmt.Sprint(i), timmy.TopUp{Amount: 1000, Memo: "m"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 > 0 {
			n.pay(inv.Bolt11, 0)
		}
	}
	n.clock.add(30 * time.Hour)
	open, err := l.Issue(t.Context(), "open", timmy.TopUp{Amount: 1000, Memo: "m"}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	since := n.clock.now()
	for range 2 {
		if list, err := l.List(t.Context(), since); err != nil || len(list) != 0 {
			t.Fatalf("List = %d, %v", len(list), err)
		}
	}
	n.pay(open.Bolt11, 0)
	before := n.calls.Load()
	if list, err := l.List(t.Context(), since); err != nil || len(list) != 1 || n.calls.Load() != before+1 {
		t.Errorf("List = %d, %v, %d calls", len(list), err, n.calls.Load()-before)
	}
	if list, err := l.List(t.Context(), born); err != nil || len(list) != nodePage+1 {
		t.Errorf("List from the beginning = %d, %v", len(list), err)
	}
}

// TestNewCLNRefusesBadSettings excludes a tower that starts and cannot be paid.
func TestNewCLNRefusesBadSettings(t *testing.T) {
	for _, cfg := range []CLNConfig{
		{URL: "", Rune: testRune, Network: Regtest},
		{URL: "https://x", Rune: "", Network: Regtest},
		{URL: "https://x", Rune: "a\r\nb", Network: Regtest},
		{URL: "https://x", Rune: testRune, Network: Regtest, Cert: []byte("x")},
		{URL: "https://x", Rune: testRune, Network: "moon"},
	} {
		if _, err := NewCLN(cfg); timmy.CodeOf(err) != timmy.Invalid || strings.Contains(err.Error(), testRune) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
