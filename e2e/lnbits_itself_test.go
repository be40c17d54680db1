package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/e2e/simnet"
)

// lnbitsVenv is where `make lnbits-venv` puts LNbits.
const lnbitsVenv = "lnbits/venv"

// TestLNbitsItself is the server as its users install it, with its made-up funding
// source and with a real node behind it: a deposit by push, one while the tower was down,
// one while the server was, and refunds out.
func TestLNbitsItself(t *testing.T) {
	t.Run("made-up sats", func(t *testing.T) {
		t.Parallel()
		l := startLNbitsItself(t, "LNBITS_BACKEND_WALLET_CLASS=FakeWallet")
		customer := l.wallet("customer")
		l.do(l.Give(l.ctx, customer, 10_000))
		l.paidAndBack("mainnet", payer{
			pay: func(bolt11 string) { l.do(l.Pay(l.ctx, customer, bolt11)) },
			invoice: func(sats int64) string {
				return must(t, func() (string, error) { return l.Invoice(l.ctx, customer, sats) })
			},
			received: func(string) int64 {
				return must(t, func() (int64, error) { return l.Balance(l.ctx, customer) })/1000 - (10_000 - 1_600)
			},
		})
	})
	t.Run("a node", func(t *testing.T) {
		t.Parallel()
		n := startLightning(t, simnet.Regtest) // LNbits reads no invoices of simnet
		l := startLNbitsItself(t, "LNBITS_BACKEND_WALLET_CLASS=LndRestWallet", "LND_REST_ENDPOINT="+n.Shop.URL(),
			"LND_REST_CERT="+n.Shop.CertFile(), "LND_REST_MACAROON="+n.Shop.AdminMacaroonFile())
		l.paidAndBack("regtest", payer{
			pay:      func(bolt11 string) { n.pay(t, bolt11) },
			invoice:  func(sats int64) string { return n.invoice(t, sats) },
			received: func(bolt11 string) int64 { return n.received(t, bolt11) },
		})
	})
}

// payer is a customer's wallet.
type payer struct {
	pay      func(bolt11 string)
	invoice  func(sats int64) string
	received func(bolt11 string) int64 // sats
}

type lnbitsItself struct {
	*simnet.LNbits
	t   *testing.T
	ctx context.Context
}

func startLNbitsItself(t *testing.T, env ...string) *lnbitsItself {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(cancel)
	begun := time.Now()
	l, err := simnet.StartLNbits(ctx, lnbitsVenv, t.TempDir(), env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("LNbits after %v", time.Since(begun).Round(100*time.Millisecond))
	t.Cleanup(func() {
		l.Kill()
		if t.Failed() {
			t.Logf("log of LNbits:\n%s", l.LogTail(60))
		}
	})
	return &lnbitsItself{l, t, ctx}
}

func (l *lnbitsItself) do(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lnbitsItself) wallet(name string) simnet.LNbitsWallet {
	l.t.Helper()
	return must(l.t, func() (simnet.LNbitsWallet, error) { return l.Wallet(l.ctx, name) })
}

func must[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// paidAndBack is what a tower does with a wallet on the server.
func (l *lnbitsItself) paidAndBack(network string, p payer) {
	t, w := l.t, l.wallet("tower")
	base := []string{"TIMMY_WALLET=lnbits", "TIMMY_NETWORK=" + network, "TIMMY_LNBITS_URL=" + l.URL(), "TIMMY_BTC_USD=100000"}
	tw := newTower(t)
	tw.env = append(base, "TIMMY_LNBITS_KEY="+w.InvoiceKey)
	for key, broad := range map[string]bool{w.InvoiceKey: false, w.AdminKey: true} {
		out, err := tw.timmyWith(append(base, "TIMMY_LNBITS_KEY="+key), "wallet", "test")
		if err != nil || !strings.Contains(out, "ok       make an invoice") || strings.Contains(out, "warning") != broad {
			t.Errorf("wallet test: %v\n%s", err, out)
		}
	}
	tw.start()
	a := newAPI(t, tw)
	id, bolt11 := deposit(a, 500)
	began := time.Now()
	p.pay(bolt11)
	bearer := "Bearer " + a.active(id).str("macaroon")
	t.Logf("credited %v after it was paid", time.Since(began).Round(time.Millisecond))
	credited(a, id, 500)

	second, bolt11 := deposit(a, 600) // paid while the tower is down
	tw.kill()
	p.pay(bolt11)
	if err := tw.tryStart(); err != nil {
		t.Fatal(err)
	}
	credited(a, second, 600)

	third, bolt11 := deposit(a, 500) // the server dies right after it was paid
	p.pay(bolt11)
	l.Kill()
	l.do(l.Start(l.ctx))
	credited(a, third, 500)

	tw.kill() // now with a key that may pay
	tw.env = append(base, "TIMMY_LNBITS_KEY="+w.AdminKey, "TIMMY_REFUNDS_SATS_PER_DAY=2000")
	if err := tw.tryStart(); err != nil {
		t.Fatal(err)
	}
	target := p.invoice(300)
	done := a.refunded("/sessions/"+id+"/refund", fmt.Sprintf(`{"destination":%q}`, target), bearer)
	if done.str("state") != "paid" || done.num("amountSats") != 300 {
		t.Errorf("refund: %s", done.raw)
	}
	if sats := p.received(target); sats != 300 {
		t.Errorf("300 sats were sent back and %d came", sats)
	}
	tw.verifyBooks()
	want(t, tw, 0, `SELECT count(*) FROM postings WHERE destination = 'house:suspense'`) // what we paid is not paid to us
}
