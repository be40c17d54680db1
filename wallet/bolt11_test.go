package wallet

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

// born is when the tests' invoices are made.
var born = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// craft signs any invoice, also such as no honest wallet makes.
func craft(t testing.TB, net *chaincfg.Params, hash [32]byte, options ...func(*zpay32.Invoice)) string {
	t.Helper()
	key, _ := btcec.PrivKeyFromBytes([]byte(strings.Repeat("k", 32)))
	options = append(options, zpay32.Features(lnwire.NewFeatureVector(
		lnwire.NewRawFeatureVector(lnwire.TLVOnionPayloadRequired, lnwire.PaymentAddrRequired), lnwire.Features)))
	z, err := zpay32.NewInvoice(net, hash, born, options...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := z.Encode(zpay32.MessageSigner{SignCompact: func(m []byte) ([]byte, error) {
		digest := sha256.Sum256(m)
		return ecdsa.SignCompact(key, digest[:], true), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCheckRefusesTamperedInvoices excludes showing an invoice that pays
// somebody else, another amount, or nobody (threats B5, faults Z1 to Z4).
func TestCheckRefusesTamperedInvoices(t *testing.T) {
	hash, other, dh := sha256.Sum256([]byte("hash")), sha256.Sum256([]byte("other")), sha256.Sum256([]byte("description"))
	reg, secret := &chaincfg.RegressionNetParams, zpay32.PaymentAddr([32]byte{7})
	amount, text, hour := zpay32.Amount(21_000), zpay32.Description("tea"), zpay32.Expiry(time.Hour)
	good := craft(t, reg, hash, amount, text, secret, hour)
	zap := craft(t, reg, hash, amount, zpay32.DescriptionHash(dh), secret, hour)
	want := Want{Network: Regtest, Amount: 21_000, Hash: hash, Now: born.Add(time.Minute)}
	wantZap := want
	wantZap.DescriptionHash = dh
	late := want
	late.Now = born.Add(time.Hour)
	for name, c := range map[string]struct {
		bolt11 string
		want   Want
		ok     bool
	}{
		"good":                    {good, want, true},
		"good in capitals":        {strings.ToUpper(good), want, true},
		"good zap":                {zap, wantZap, true},
		"expired":                 {good, late, false},
		"no description hash":     {good, wantZap, false},
		"other description hash":  {craft(t, reg, hash, amount, zpay32.DescriptionHash(other), secret, hour), wantZap, false},
		"one msat more":           {craft(t, reg, hash, zpay32.Amount(21_001), text, secret, hour), want, false},
		"one msat less":           {craft(t, reg, hash, zpay32.Amount(20_999), text, secret, hour), want, false},
		"no amount":               {craft(t, reg, hash, text, secret, hour), want, false},
		"other hash":              {craft(t, reg, other, amount, text, secret, hour), want, false},
		"zero hash":               {craft(t, reg, [32]byte{}, amount, text, secret, hour), Want{Network: Regtest, Amount: 21_000, Now: want.Now}, false},
		"no payment secret":       {craft(t, reg, hash, amount, text, hour), want, false},
		"mainnet":                 {craft(t, &chaincfg.MainNetParams, hash, amount, text, secret, hour), want, false},
		"testnet":                 {craft(t, &chaincfg.TestNet3Params, hash, amount, text, secret, hour), want, false},
		"signet":                  {craft(t, &chaincfg.SigNetParams, hash, amount, text, secret, hour), want, false},
		"simnet":                  {craft(t, &chaincfg.SimNetParams, hash, amount, text, secret, hour), want, false},
		"wrong checksum":          {good[:len(good)-1] + "q", want, false},
		"mixed case":              {"LNBCRT" + good[6:], want, false},
		"empty":                   {"", want, false},
		"too long":                {good + strings.Repeat("q", maxBolt11), want, false},
		"overflowing amount":      {"lnbcrt184467440737096u1qqqq", want, false},
		"overflowing bitcoin":     {"lnbcrt300000000001qqqq", want, false},
		"not an invoice":          {"lnurl1dp68gurn8ghj7", want, false},
		"an address":              {"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", want, false},
		"expired before it began": {craft(t, reg, hash, amount, text, secret, zpay32.Expiry(0)), want, false},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := Check(c.bolt11, c.want)
			if c.ok != (err == nil) {
				t.Fatalf("Check = %v, want ok %v", err, c.ok)
			}
			if c.ok && (inv.Amount != 21_000 || inv.Hash != hash || !inv.Expires.Equal(born.Add(time.Hour))) {
				t.Fatalf("Check = %+v", inv)
			}
		})
	}
}

// TestExpiryIsClamped excludes an expiry that overflows into the past or into
// some other century (fault Z3), and a clock of the backend that is far ahead.
func TestExpiryIsClamped(t *testing.T) {
	hash := sha256.Sum256([]byte("hash"))
	for _, life := range []time.Duration{25 * time.Hour, 365 * 24 * time.Hour, 290 * 365 * 24 * time.Hour} {
		s := craft(t, &chaincfg.RegressionNetParams, hash, zpay32.Amount(1000), zpay32.Description("x"),
			zpay32.PaymentAddr([32]byte{1}), zpay32.Expiry(life))
		inv, err := Check(s, Want{Network: Regtest, Amount: 1000, Now: born})
		if err != nil || !inv.Expires.Equal(born.Add(24*time.Hour)) {
			t.Errorf("life %v: expires %v, %v", life, inv.Expires, err)
		}
		inv, err = Check(s, Want{Network: Regtest, Amount: 1000, Now: born.Add(-100 * time.Hour)})
		if err != nil || !inv.Expires.Equal(born.Add(-76*time.Hour)) {
			t.Errorf("life %v, backend ahead: expires %v, %v", life, inv.Expires, err)
		}
	}
	if got := seconds([]byte{31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31}); got != maxReadLife {
		t.Errorf("seconds of the largest field = %v", got)
	}
}

// TestDescribeIsForPeople excludes a display that hides what one pays.
func TestDescribeIsForPeople(t *testing.T) {
	s := craft(t, &chaincfg.MainNetParams, sha256.Sum256([]byte("h")), zpay32.Amount(21_500), zpay32.Description("two teas"),
		zpay32.PaymentAddr([32]byte{1}), zpay32.Expiry(time.Hour))
	text, err := Describe(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mainnet", "21 sats and 500 msat", "two teas", "2026-11-24T13:00:00Z"} {
		if !strings.Contains(text, want) {
			t.Errorf("Describe lacks %q:\n%s", want, text)
		}
	}
	if _, err := Describe("lnbc1nonsense"); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("Describe of nonsense = %v", err)
	}
}

// FuzzDecode holds that no bytes crash the decoder, and that what it accepts is
// within bounds.
func FuzzDecode(f *testing.F) {
	f.Add(craft(f, &chaincfg.RegressionNetParams, sha256.Sum256([]byte("h")), zpay32.Amount(21_000),
		zpay32.Description("tea"), zpay32.PaymentAddr([32]byte{1}), zpay32.Expiry(time.Hour)))
	for _, s := range []string{"", "1", "ln1", "lnbc1", "lnbcrt1", "lnbc184467440737096u1", "lntbs300000000001", "LNBC1", "lnbc9999999999p1qqq"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Decode(s)
		if err != nil {
			return
		}
		if d.Amount < 0 || d.Amount > timmy.MaxMsat || d.Life < 0 || d.Life > maxLife || d.Network.params() == nil {
			t.Fatalf("Decode(%q) = %+v", s, d)
		}
	})
}
