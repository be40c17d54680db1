package wallet

import (
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// TestProbesOfWorkingWallets excludes a probe that complains about a wallet that
// works, or that changes something.
func TestProbesOfWorkingWallets(t *testing.T) {
	t.Parallel()
	lnd, cln, phoenix := newLNDNode(t), newCLNNode(t), newPhoenixNode(t)
	for name, w := range map[string]Prober{"lnd": lnd.wallet(t), "cln": cln.wallet(t), "phoenixd": phoenix.wallet(t)} {
		r := w.Probe(t.Context())
		for _, f := range r.Findings {
			if f.Level == Missing {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if name != "lnd" && len(r.Facts) == 0 || len(r.Findings) < 2 {
			t.Errorf("%s says nothing: %+v", name, r)
		}
	}
	if len(lnd.made)+len(cln.made)+len(phoenix.made) > 0 {
		t.Error("a probe made an invoice")
	}
}

// TestProbeNamesAnotherNetwork is bad-inputs 190: a testnet node behind a
// mainnet tower.
func TestProbeNamesAnotherNetwork(t *testing.T) {
	n := newPhoenixNode(t)
	p := n.wallet(t)
	p.network = Mainnet
	r := p.Probe(t.Context())
	for _, f := range r.Findings {
		if f.What == "network" && f.Level == Missing && strings.Contains(f.Text, "regtest") {
			return
		}
	}
	t.Errorf("%+v", r)
}

// TestProbeFaultsAreWords excludes a probe that shows the key or hangs.
func TestProbeFaultsAreWords(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newCLNNode(t)
			n.set(func() { n.fault = fault })
			r := n.wallet(t).Probe(t.Context())
			if len(r.Findings) == 0 || r.Findings[0].Level != Missing || r.Findings[0].Text == "" || strings.Contains(r.Findings[0].Text, testRune) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestProbeInvoicesAreNobodys excludes that an invoice made to try a wallet out
// reaches the books when somebody pays it.
func TestProbeInvoicesAreNobodys(t *testing.T) {
	lnd, cln, phoenix := newLNDNode(t), newCLNNode(t), newPhoenixNode(t)
	for name, b := range map[string]bench{
		"lnd": {wallet: lnd.wallet(t), pay: lnd.pay}, "cln": {wallet: cln.wallet(t), pay: cln.pay}, "phoenixd": {wallet: phoenix.wallet(t), pay: phoenix.pay},
	} {
		inv, err := b.wallet.Issue(t.Context(), ProbeRef+"1", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		b.pay(inv.Bolt11, 0)
		if list, err := b.wallet.List(t.Context(), born); err != nil || len(list) != 0 {
			t.Errorf("%s lists %v, %v", name, list, err)
		}
	}
}
