package wallet

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
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
