package wallet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// tampered are the ways in which an answer to an invoice over 10,000 msat is wrong
// (threats B5), given the names of its fields.
func tampered(t *testing.T, invoice, hash string) map[string]func(map[string]any) {
	h := sha256.Sum256([]byte("h"))
	crafted := func(net *chaincfg.Params, options ...func(*zpay32.Invoice)) func(map[string]any) {
		return func(m map[string]any) {
			m[hash] = timmy.Hash(h).String()
			m[invoice] = craft(t, net, h, append(options, zpay32.PaymentAddr([32]byte{1}))...)
		}
	}
	regtest, text, hour := &chaincfg.RegressionNetParams, zpay32.Description("m"), zpay32.Expiry(time.Hour)
	return map[string]func(map[string]any){
		"no invoice":        func(m map[string]any) { delete(m, invoice) },
		"null invoice":      func(m map[string]any) { m[invoice] = nil },
		"number":            func(m map[string]any) { m[invoice] = 7 },
		"no invoice at all": func(m map[string]any) { m[invoice] = "hello" },
		"other hash":        func(m map[string]any) { m[hash] = timmy.Hash{1}.String() },
		"malformed hash":    func(m map[string]any) { m[hash] = "hash" },
		"8 kB":              func(m map[string]any) { m[invoice] = strings.Repeat("lnbcrt1", 1200) },
		"overflow":          func(m map[string]any) { m[invoice] = "lnbcrt184467440737096u1pj" },
		"other network":     crafted(&chaincfg.MainNetParams, zpay32.Amount(10_000), text, hour),
		"1 msat off":        crafted(regtest, zpay32.Amount(10_001), text, hour),
		"no amount":         crafted(regtest, text, hour),
		"expired at birth":  crafted(regtest, zpay32.Amount(10_000), text, zpay32.Expiry(0)),
	}
}

// TestTamperedInvoicesAreRefused is threat B5 at every node that makes the invoices: each
// of the twelve is an error of the wallet, which a caller hears without what was wrong.
func TestTamperedInvoicesAreRefused(t *testing.T) {
	type maker interface {
		Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error)
	}
	for name, c := range map[string]struct {
		open          func(t *testing.T, tamper func(map[string]any)) maker
		invoice, hash string
	}{
		"lnbits": {func(t *testing.T, f func(map[string]any)) maker {
			s := newServer(t)
			s.tamper = func(m map[string]any) {
				delete(m, "payment_request") // its older name
				f(m)
			}
			return s.wallet(t)
		}, "bolt11", "payment_hash"},
		"lnd": {func(t *testing.T, f func(map[string]any)) maker {
			n := newLNDNode(t)
			n.tamper = func(m map[string]any) { f(m); inBase64(m, "r_hash") }
			return n.wallet(t)
		}, "payment_request", "r_hash"},
		"cln": {func(t *testing.T, f func(map[string]any)) maker {
			n := newCLNNode(t)
			n.tamper = f
			return n.wallet(t)
		}, "bolt11", "payment_hash"},
		"phoenixd": {func(t *testing.T, f func(map[string]any)) maker {
			n := newPhoenixNode(t)
			n.tamper = f
			return n.wallet(t)
		}, "serialized", "paymentHash"},
		"nwc": {func(t *testing.T, f func(map[string]any)) maker {
			n := newNWCNode(t, nip.NIP44)
			w := n.wallet(t)
			n.set(func() { n.tamper = f })
			return w
		}, "invoice", "payment_hash"},
	} {
		for what, tamper := range tampered(t, c.invoice, c.hash) {
			t.Run(name+"/"+what, func(t *testing.T) {
				_, err := c.open(t, tamper).Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
				if timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(timmy.MessageOf(err), "hash") {
					t.Errorf("Issue = %v", err)
				}
			})
		}
	}
}

// inBase64 writes a field as lnd does.
func inBase64(m map[string]any, field string) {
	text, _ := m[field].(string)
	if raw, err := hex.DecodeString(text); err == nil {
		m[field] = b64(raw)
	}
}
