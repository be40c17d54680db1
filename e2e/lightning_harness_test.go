package e2e

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/e2e/simnet"
)

// lightningBin is where `make lightning-bin` puts btcd and lnd.
const lightningBin = "lightning/bin"

// lightning is a network of real nodes.
type lightning struct {
	*simnet.Network
	payer *httptest.Server // pays from the other node
}

func startLightning(t *testing.T, chain simnet.Chain) *lightning {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	n, err := simnet.Start(ctx, lightningBin, t.TempDir(), chain)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("btcd, two nodes and a channel after %v", time.Since(begun).Round(100*time.Millisecond))
	l := &lightning{Network: n}
	t.Cleanup(func() {
		n.Close()
		if t.Failed() {
			t.Logf("log of the shop's node:\n%s\nlog of the payer's node:\n%s", n.Shop.LogTail(40), n.Payer.LogTail(40))
		}
	})
	l.payer = payingServer(t, func(ctx context.Context, bolt11 string) error { return n.Payer.Pay(ctx, bolt11, 0) })
	return l
}

// payingServer pays what it is sent: a body is an invoice.
func payingServer(t *testing.T, pay func(ctx context.Context, bolt11 string) error) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bolt11, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		if err := pay(r.Context(), string(bolt11)); err != nil {
			http.Error(w, err.Error(), http.StatusPaymentRequired)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// tower starts one whose wallet is the shop's node.
func (l *lightning) tower(t *testing.T, env ...string) *tower {
	t.Helper()
	return startTower(t, append([]string{
		"TIMMY_WALLET=lnd", "TIMMY_NETWORK=simnet", "TIMMY_BTC_USD=100000", "TIMMY_LND_URL=" + l.Shop.URL(),
		"TIMMY_LND_MACAROON_FILE=" + l.Shop.InvoiceMacaroonFile(), "TIMMY_LND_CERT_FILE=" + l.Shop.CertFile(),
	}, env...)...)
}

// pay pays an invoice in full from the other node.
func (l *lightning) pay(t testing.TB, bolt11 string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := l.Payer.Pay(ctx, bolt11, 0); err != nil {
		t.Fatal(err)
	}
}
