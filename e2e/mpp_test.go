package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/zpay32"
)

// TestMPPPaysAndAsks: a charge and a session of the HTTP scheme Payment; what the
// session has left is paid to an invoice that leaves the amount to the tower.
func TestMPPPaysAndAsks(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_MPP=true", "TIMMY_REFUNDS_SATS_PER_DAY=5000")
	tw.node("mpp.mjs", "RETURN="+openInvoice(t))
	tw.verifyBooks()
	back := readBooks(t, tw, `SELECT sum(amount) FROM refunds WHERE state = 'paid'`)
	if !sentBy(t, tw)[back/1000] {
		t.Errorf("the books say that %d msat went back, the wallet %v", back, sentBy(t, tw))
	}
}

// lightningMPP is the same with a real wallet at either end.
func lightningMPP(t *testing.T, l *lightning) {
	tw := l.tower(t, "TIMMY_MPP=true", "TIMMY_REFUNDS_SATS_PER_DAY=5000", "TIMMY_LND_MACAROON_FILE="+l.Shop.AdminMacaroonFile())
	out := l.invoice(t, 0)
	tw.node("mpp.mjs", "PAYER="+l.payer.URL, "RETURN="+out)
	tw.verifyBooks()
	back := readBooks(t, tw, `SELECT sum(amount) FROM refunds WHERE state = 'paid'`)
	if sats := l.received(t, out); sats == 0 || sats*1000 != back {
		t.Errorf("the books say that %d msat went back, and %d sats came", back, sats)
	}
}

// openInvoice is one of some wallet on regtest that names no amount.
func openInvoice(t *testing.T) string {
	t.Helper()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	var hash, secret [32]byte
	rand.Read(hash[:])
	rand.Read(secret[:])
	features := lnwire.NewRawFeatureVector(lnwire.TLVOnionPayloadRequired, lnwire.PaymentAddrRequired)
	inv, err := zpay32.NewInvoice(&chaincfg.RegressionNetParams, hash, time.Now(), zpay32.PaymentAddr(secret),
		zpay32.Description("what is left"), zpay32.Expiry(30*24*time.Hour), zpay32.Features(lnwire.NewFeatureVector(features, lnwire.Features)))
	if err != nil {
		t.Fatal(err)
	}
	bolt11, err := inv.Encode(zpay32.MessageSigner{SignCompact: func(m []byte) ([]byte, error) {
		digest := sha256.Sum256(m)
		return ecdsa.SignCompact(key, digest[:], true), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return bolt11
}
