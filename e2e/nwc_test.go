package e2e

import (
	"context"
	"crypto/rand"
	"net/url"
	"testing"

	"github.com/timmy-tower/timmy/nip"
)

// TestAlbysWalletService has Alby's wallet service and client speak over the relay of one
// tower, and the service be the wallet of another, which is killed between a payment and
// its credit.
func TestAlbysWalletService(t *testing.T) {
	t.Parallel()
	ln := startLNbits(t)
	payer := payingServer(t, func(_ context.Context, bolt11 string) error { return ln.pay(bolt11) })
	var keys [2]nip.Key // of the service, and of the tower at it
	for i := range keys {
		var err error
		if keys[i], err = nip.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	between := startTower(t)
	connection := "nostr+walletconnect://" + keys[0].Public().String() + "?relay=" + url.QueryEscape(between.relay()) + "&secret=" + keys[1].Secret()
	tw := startTower(t, "TIMMY_WALLET=nwc", "TIMMY_NWC="+connection, "TIMMY_NETWORK=regtest", "TIMMY_BTC_USD=100000")
	tw.node("nwc.mjs", "NWC="+connection, "WALLET_SECRET="+keys[0].Secret(), "LNBITS_URL="+ln.URL, "LNBITS_KEY="+lnbitsKey, "PAYER="+payer.URL)
	tw.verifyBooks()
}
