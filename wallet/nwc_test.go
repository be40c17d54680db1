package wallet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// TestNWCBelievesOnlyTheState is bad-inputs 213 and 214: the preimage is shown
// before anybody paid and decides nothing, a held payment (B9) is not settled, and
// an amount that cannot be is 0, which the ledger quarantines.
func TestNWCBelievesOnlyTheState(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(map[string]any)
		settled  bool
		received timmy.Msat
	}{
		"as it is":               {func(map[string]any) {}, true, 10_000},
		"no state":               {func(m map[string]any) { delete(m, "state") }, true, 10_000},
		"null state":             {func(m map[string]any) { m["state"] = nil }, true, 10_000},
		"state in capitals":      {func(m map[string]any) { m["state"] = "SETTLED" }, true, 10_000},
		"state is a number":      {func(m map[string]any) { m["state"] = 1 }, false, 0},
		"pending":                {func(m map[string]any) { m["state"] = "pending" }, false, 0},
		"held":                   {func(m map[string]any) { m["state"] = "accepted" }, false, 0},
		"expired":                {func(m map[string]any) { m["state"] = "expired" }, false, 0},
		"failed":                 {func(m map[string]any) { m["state"] = "failed" }, false, 0},
		"neither state nor date": {func(m map[string]any) { delete(m, "state"); delete(m, "settled_at") }, false, 0},
		"no state, date null":    {func(m map[string]any) { delete(m, "state"); m["settled_at"] = nil }, false, 0},
		"no state, date 0":       {func(m map[string]any) { delete(m, "state"); m["settled_at"] = 0 }, false, 0},
		"no state, date text":    {func(m map[string]any) { delete(m, "state"); m["settled_at"] = "1790000000" }, false, 0},
		"outgoing":               {func(m map[string]any) { m["type"] = "outgoing" }, false, 0},
		"no type":                {func(m map[string]any) { delete(m, "type") }, true, 10_000},
		"no preimage":            {func(m map[string]any) { delete(m, "preimage") }, true, 10_000},
		"zero preimage":          {func(m map[string]any) { m["preimage"] = strings.Repeat("0", 64) }, true, 10_000},
		"less":                   {func(m map[string]any) { m["amount"] = 5000 }, true, 5000},
		"twice":                  {func(m map[string]any) { m["amount"] = 20_000 }, true, 20_000},
		"nothing":                {func(m map[string]any) { m["amount"] = 0 }, true, 0},
		"negative":               {func(m map[string]any) { m["amount"] = -1 }, true, 0},
		"too much":               {func(m map[string]any) { m["amount"] = int64(1) << 62 }, true, 0},
		"a fraction":             {func(m map[string]any) { m["amount"] = 10_000.5 }, true, 0},
		"missing":                {func(m map[string]any) { delete(m, "amount") }, true, 0},
		"metadata is a list":     {func(m map[string]any) { m["metadata"] = []int{1} }, true, 10_000},
		"dated 1970":             {func(m map[string]any) { m["settled_at"] = 1 }, true, 10_000},
		"dated 2106":             {func(m map[string]any) { m["settled_at"] = int64(1) << 32 }, true, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNWCNode(t, nip.NIP44)
			w := n.wallet(t)
			inv, err := w.Issue(t.Context(), "ref", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			n.pay(inv.Bolt11, 0)
			n.clock.add(time.Minute)
			n.set(func() { n.show = c.change })
			p, err := w.Lookup(t.Context(), inv.Hash)
			if err != nil || p.Settled != c.settled || p.Received != c.received || p.Ref != "ref" {
				t.Fatalf("Lookup = %+v, %v", p, err)
			}
			if p.Settled && (p.At.Before(born) || p.At.After(n.clock.now())) {
				t.Errorf("settled at %v", p.At)
			}
		})
	}
}

// TestNWCNotificationsAreHints is threat B8: each notification comes three times
// and in two encryptions, 30 % are lost, some are forged and some lie about the
// amount. 300 paid invoices are reported once by Watch, or found by List, and
// nothing else is.
func TestNWCNotificationsAreHints(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	w := n.wallet(t)
	lost := 0
	n.notify = func(send func(int, nip.Scheme)) {
		if lost++; lost%10 < 3 {
			return
		}
		for range 3 {
			send(nip.KindWalletNote44, nip.NIP44)
			send(nip.KindWalletNote04, nip.NIP04)
		}
	}
	got, stop := gather(t, w, "")
	n.listening()
	paid := map[timmy.Hash]bool{}
	pushed := map[timmy.Hash]int{}
	drain := func(most time.Duration) {
		for {
			select {
			case p := <-got:
				pushed[p.Hash]++
				if p.Received != 1000 || !paid[p.Hash] {
					t.Fatalf("reported %+v", p)
				}
			case <-time.After(most):
				return
			}
		}
	}
	for i := range 300 {
		inv, err := w.Issue(t.Context(), fmt.Sprint("r-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // zaps: some wallets keep neither memo nor metadata of those
			n.set(func() { n.meta = i%4 == 0 })
		}
		paid[inv.Hash] = true
		n.pay(inv.Bolt11, 0)
		drain(0)
	}
	for end := time.Now().Add(10 * time.Second); len(pushed) < 210 && time.Now().Before(end); {
		drain(50 * time.Millisecond)
	}
	drain(100 * time.Millisecond)
	stop()
	for h, times := range pushed {
		if times != 1 {
			t.Errorf("%s was reported %d times", h, times)
		}
	}
	if len(pushed) != 210 {
		t.Errorf("%d were pushed, want the 210 whose notification came", len(pushed))
	}
	list, err := w.List(t.Context(), born)
	if err != nil || len(list) != len(paid) {
		t.Errorf("List: %d of %d, %v", len(list), len(paid), err)
	}
}

// TestNWCCatchesUp is threat B1: what was paid while nobody watched is listed, from
// no cursor, a cursor, and one of a clock that was ahead; what is not the tower's is
// left alone.
func TestNWCCatchesUp(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	other, err := n.issue(timmy.TopUp{Amount: 5000, Memo: "coffee"}, "coffee\x00", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n.pay(other.Bolt11, 0)
	cursor := timmy.Cursor("")
	for round := range 4 {
		w := n.wallet(t) // the tower was restarted: it remembers nothing
		n.clock.add(20 * time.Minute)
		want := map[timmy.Hash]bool{}
		for i := range 25 {
			inv, err := w.Issue(t.Context(), fmt.Sprint(round, "-", i), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			want[inv.Hash] = true
			n.pay(inv.Bolt11, 0)
		}
		if round == 3 {
			cursor = timmy.Cursor(fmt.Sprint(n.clock.now().Add(1000 * time.Hour).UnixMilli()))
		}
		w = n.wallet(t)
		got, stop := gather(t, w, cursor)
		n.listening()
		live, err := w.Issue(t.Context(), fmt.Sprint(round, "-live"), timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		want[live.Hash] = true
		n.pay(live.Bolt11, 0)
		late := time.After(time.Minute)
		for len(want) > 0 { // what was before the cursor is reported again
			select {
			case p := <-got:
				if p.Hash == other.Hash {
					t.Fatal("somebody else's invoice was reported")
				}
				delete(want, p.Hash)
			case <-late:
				t.Fatalf("round %d: %d were not reported", round, len(want))
			}
		}
		cursor = stop()
	}
}

// TestNWCFaults is threat B6 over Nostr: relays that are down, wallets that say
// nothing, garbage or no. An invoice is asked for once, a read at most three times,
// nothing hangs, and the breaker opens for those that are away.
func TestNWCFaults(t *testing.T) {
	no := func(code string) func(*nwcNode) {
		return func(n *nwcNode) {
			n.refuse = func(string) *nip.WalletError { return &nip.WalletError{Code: code, Message: "x"} }
		}
	}
	for name, c := range map[string]struct {
		script func(*nwcNode)
		opens  bool
	}{
		"relays down":   {func(n *nwcNode) { n.down = map[string]bool{n.uri.Relays[0]: true, n.uri.Relays[1]: true} }, true},
		"no info event": {func(n *nwcNode) { n.methods = nil }, true},
		"rate limited":  {no(nip.WalletRateLimited), true},
		"unauthorized":  {no(nip.WalletUnauthorized), true},
		"restricted":    {no(nip.WalletRestricted), false},
		"quota":         {no(nip.WalletQuota), false},
		"internal":      {no(nip.WalletInternal), false},
		"other":         {no(nip.WalletOther), false},
		"encryption":    {no(nip.WalletUnsupported), false},
		"a list":        {func(n *nwcNode) { n.garble = func(string, string) string { return `{"result":[1]}` } }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNWCNode(t, nip.NIP44)
			w := n.wallet(t)
			n.set(func() { c.script(n) })
			start := time.Now()
			_, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(err.Error(), n.uri.Key.Secret()) {
				t.Fatalf("Issue = %v", err)
			}
			if made := n.times("make_invoice"); made > 2*2 {
				t.Errorf("an invoice was asked for %d times", made)
			}
			for range 3 {
				if _, err := w.Lookup(t.Context(), timmy.Hash{1}); timmy.CodeOf(err) != timmy.Unavailable {
					t.Fatalf("Lookup = %v", err)
				}
			}
			if c.opens != (w.Stats().Breaker == "open") {
				t.Errorf("breaker %s", w.Stats().Breaker)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestNWCSilenceEnds excludes an asker who waits for ever for a wallet that says
// nothing, and a read that is not tried again with a new event.
func TestNWCSilenceEnds(t *testing.T) {
	t.Parallel()
	n := newNWCNode(t, nip.NIP44)
	w := n.wallet(t)
	n.set(func() { n.drop = func(string) bool { return true } })
	start := time.Now()
	if _, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("Issue = %v", err)
	}
	if d := time.Since(start); d > callTimeout+5*time.Second {
		t.Errorf("it took %v", d)
	}
	lost := 0
	n.set(func() { n.drop = func(string) bool { lost++; return lost <= len(n.uri.Relays) } })
	if _, err := w.Lookup(t.Context(), timmy.Hash{1}); timmy.CodeOf(err) != timmy.NotFound {
		t.Errorf("a read whose first try was lost: %v", err)
	}
}

// TestNWCOneRelayIsEnough excludes a wallet that is away because one of its relays
// is.
func TestNWCOneRelayIsEnough(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	n.down[n.uri.Relays[0]] = true
	if _, err := n.wallet(t).Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lastTag.Find("expiration") == nil {
		t.Error("the request never expires")
	}
}

// TestNWCRefusesBadInvoices is bad-inputs 211 and 212, and a wallet that ignores the
// description hash: what it gets wrong, nobody is shown.
func TestNWCRefusesBadInvoices(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	w := n.wallet(t)
	first := ""
	n.set(func() {
		n.tamper = func(m map[string]any) {
			if first == "" {
				first = m["invoice"].(string)
			}
			m["invoice"] = first
			delete(m, "payment_hash")
		}
	})
	if _, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0); err != nil {
		t.Errorf("without a hash beside the invoice: %v", err)
	}
	if _, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("the same invoice twice: %v", err)
	}
	zap := timmy.TopUp{Amount: 10_000, Description: []byte("zap"), DescriptionHash: sha256.Sum256([]byte("zap"))}
	if _, err := w.Issue(t.Context(), "r", zap, 0); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("the description hash is ignored: %v", err)
	}
}

// TestNWCProbeNamesWhatIsMissing excludes an operator who gives the tower a key that
// can spend, or one that cannot be paid, and is not told.
func TestNWCProbeNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		methods []string
		level   Level
		text    string
	}{
		{[]string{"make_invoice", "lookup_invoice", "list_transactions", "get_info"}, Good, ""},
		{[]string{"make_invoice", "lookup_invoice", "list_transactions", "get_info", "pay_invoice", "multi_pay_invoice"}, Warning, "can spend (pay_invoice, multi_pay_invoice)"},
		{[]string{"lookup_invoice", "list_transactions", "get_info"}, Missing, "does not allow make_invoice"},
		{[]string{"make_invoice", "list_transactions", "get_info"}, Missing, "does not allow lookup_invoice"},
		{[]string{"make_invoice", "lookup_invoice", "get_info"}, Warning, "does not allow list_transactions"},
		{[]string{"make_invoice", "lookup_invoice", "list_transactions"}, Good, ""},
		{nil, Missing, "nothing is heard of the wallet"},
	} {
		n := newNWCNode(t, nip.NIP44)
		n.methods = c.methods
		r := n.wallet(t).Probe(t.Context())
		worst, text := Good, ""
		for _, f := range r.Findings {
			if f.Level == Missing || f.Level == Warning && worst == Good {
				worst = f.Level
			}
			text += f.Text + "\n"
		}
		if worst != c.level || !strings.Contains(text, c.text) {
			t.Errorf("%v: %s\n%s", c.methods, worst, text)
		}
	}
	n := newNWCNode(t, nip.NIP04)
	if r := n.wallet(t).Probe(t.Context()); r.Findings[len(r.Findings)-1].What != "encryption" {
		t.Errorf("NIP-04 alone: %+v", r.Findings)
	}
	n.set(func() {
		n.refuse = func(string) *nip.WalletError { return &nip.WalletError{Code: nip.WalletUnauthorized} }
	})
	if r := n.wallet(t).Probe(t.Context()); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Text, "revoked") {
		t.Errorf("revoked: %+v", r.Findings)
	}
}

// TestNWCLearnsAnotherEncryption excludes a wallet that is lost until the tower is
// restarted because it was updated.
func TestNWCLearnsAnotherEncryption(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	w := n.wallet(t)
	for range 2 {
		if _, err := w.Lookup(t.Context(), timmy.Hash{1}); timmy.CodeOf(err) != timmy.NotFound {
			t.Fatal(err)
		}
		n.set(func() {
			refused := false
			n.refuse = func(string) *nip.WalletError {
				if refused {
					return nil
				}
				refused = true
				return &nip.WalletError{Code: nip.WalletUnsupported}
			}
		})
	}
	if times := n.times("lookup_invoice"); times < 3 {
		t.Errorf("asked %d times", times)
	}
}

// TestNWCWithoutAListIsPolled excludes a full pass that fails for ever where the
// wallet does not allow it.
func TestNWCWithoutAListIsPolled(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	n.methods = []string{"make_invoice", "lookup_invoice"}
	if list, err := n.wallet(t).List(t.Context(), born); err != nil || list != nil {
		t.Errorf("List = %v, %v", list, err)
	}
	n.set(func() { n.refuse = func(string) *nip.WalletError { return &nip.WalletError{Code: nip.WalletInternal} } })
	if _, err := n.wallet(t).List(t.Context(), born); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("a wallet that is away lists nothing: %v", err)
	}
}

// TestNewNWCRefusesBadSettings excludes a tower that starts and cannot be paid.
func TestNewNWCRefusesBadSettings(t *testing.T) {
	n := newNWCNode(t, nip.NIP44)
	for _, cfg := range []NWCConfig{{}, {URI: n.uri, Network: Regtest}, {URI: n.uri, Relays: n, Network: "moon"}} {
		if _, err := NewNWC(cfg); timmy.CodeOf(err) != timmy.Invalid || errors.Is(err, errNoInfo) {
			t.Errorf("%v", err)
		}
	}
}
