package wallet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

// provider is a host of lightning addresses: LUD-16 and LUD-21.
type provider struct{ *node }

const providerMetadata = `[["text/plain","sats for timmy"],["text/identifier","timmy@provider"]]`

func newProvider(t testing.TB) provider {
	n := provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/lnurlp/timmy", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, n.changed(map[string]any{
			"tag": "payRequest", "callback": n.http.URL + "/cb?id=7", "minSendable": 1000, "maxSendable": 1_000_000_000_000, "metadata": providerMetadata,
		}))
	})
	mux.HandleFunc("GET /cb", func(w http.ResponseWriter, r *http.Request) {
		msat, _ := strconv.ParseInt(r.URL.Query().Get("amount"), 10, 64)
		top := timmy.TopUp{Amount: timmy.Msat(msat), DescriptionHash: sha256.Sum256([]byte(providerMetadata))}
		inv, err := n.issue(top, "", time.Hour)
		if err != nil || r.URL.Query().Get("id") != "7" {
			reply(w, http.StatusOK, map[string]any{"status": "ERROR", "reason": "bad amount"})
			return
		}
		out := map[string]any{"pr": inv.Bolt11, "routes": []any{}, "verify": n.http.URL + "/verify/" + inv.Hash.String()}
		n.set(func() {
			if n.tamper != nil {
				n.tamper(out)
			}
		})
		reply(w, http.StatusOK, out)
	})
	mux.HandleFunc("GET /verify/{hash}", func(w http.ResponseWriter, r *http.Request) {
		h, _ := timmy.ParseHash(r.PathValue("hash"))
		inv, _, ok := n.invoice(h)
		if !ok {
			reply(w, http.StatusOK, map[string]any{"status": "ERROR", "reason": "Not found"})
			return
		}
		out := map[string]any{"status": "OK", "settled": inv.seq > 0, "preimage": nil, "pr": inv.Bolt11}
		if inv.seq > 0 {
			out["preimage"] = hex.EncodeToString(inv.preimage[:])
		}
		reply(w, http.StatusOK, n.changed(out))
	})
	n.node = newNode(t, mux, httptest.NewTLSServer)
	return n
}

func (n provider) wallet(t testing.TB, path string) *LNAddress {
	t.Helper()
	a, err := OpenLNAddress(LNAddressConfig{
		Address: "timmy@" + strings.TrimPrefix(n.http.URL, "https://"), Path: path, Network: Regtest, HTTP: n.http.Client(), Now: n.clock.now, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// TestLNAddressBelievesOnlySettled excludes a credit for a preimage alone, for
// the wrong one, and for another invoice's.
func TestLNAddressBelievesOnlySettled(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(map[string]any)
		settled bool
		code    timmy.Code
	}{
		"as it is":       {func(map[string]any) {}, true, ""},
		"no preimage":    {func(m map[string]any) { m["preimage"] = nil }, true, ""},
		"not settled":    {func(m map[string]any) { m["settled"] = false }, false, ""},
		"settled text":   {func(m map[string]any) { m["settled"] = "true" }, false, ""},
		"wrong preimage": {func(m map[string]any) { m["preimage"] = strings.Repeat("0", 64) }, false, ""},
		"another pr":     {func(m map[string]any) { m["pr"] = "lnbcrt1x" }, false, timmy.Unavailable},
		"error":          {func(m map[string]any) { m["status"] = "ERROR" }, false, timmy.NotFound},
		"no status":      {func(m map[string]any) { delete(m, "status") }, false, timmy.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			n := newProvider(t)
			a := n.wallet(t, "")
			inv, err := a.Issue(t.Context(), "ref", timmy.TopUp{Amount: 10_000}, 0)
			if err != nil {
				t.Fatal(err)
			}
			n.pay(inv.Bolt11, 0)
			n.set(func() { n.show = c.change })
			if p, err := a.Lookup(t.Context(), inv.Hash); p.Settled != c.settled || timmy.CodeOf(err) != c.code {
				t.Errorf("Lookup = %+v, %v", p, err)
			}
		})
	}
}

// TestLNAddressRefusesBadAnswers excludes an invoice that cannot be verified, is
// somebody else's, or leads into this network.
func TestLNAddressRefusesBadAnswers(t *testing.T) {
	hash := sha256.Sum256([]byte("h"))
	described := zpay32.DescriptionHash(sha256.Sum256([]byte(providerMetadata)))
	crafted := func(net *chaincfg.Params, options ...func(*zpay32.Invoice)) func(map[string]any) {
		return func(m map[string]any) {
			m["pr"] = craft(t, net, hash, append(options, zpay32.PaymentAddr([32]byte{1}))...)
		}
	}
	for name, c := range map[string]struct{ made, offered func(map[string]any) }{
		"no verify":         {made: func(m map[string]any) { delete(m, "verify") }},
		"verify http":       {made: func(m map[string]any) { m["verify"] = "http://provider.example/v" }},
		"verify file":       {made: func(m map[string]any) { m["verify"] = "file:///etc/passwd" }},
		"no pr":             {made: func(m map[string]any) { delete(m, "pr") }},
		"refused":           {made: func(m map[string]any) { m["status"] = "ERROR" }},
		"mainnet":           {made: crafted(&chaincfg.MainNetParams, zpay32.Amount(10_000), described)},
		"1 msat less":       {made: crafted(&chaincfg.RegressionNetParams, zpay32.Amount(9999), described)},
		"other description": {made: crafted(&chaincfg.RegressionNetParams, zpay32.Amount(10_000), zpay32.DescriptionHash(hash))},
		"plain description": {made: crafted(&chaincfg.RegressionNetParams, zpay32.Amount(10_000), zpay32.Description("m"))},
		"callback http":     {offered: func(m map[string]any) { m["callback"] = "http://127.0.0.1/" }},
		"callback userinfo": {offered: func(m map[string]any) { m["callback"] = "https://u:p@x/" }},
		"not a payRequest":  {offered: func(m map[string]any) { m["tag"] = "withdrawRequest" }},
		"no metadata":       {offered: func(m map[string]any) { delete(m, "metadata") }},
		"min above max":     {offered: func(m map[string]any) { m["minSendable"] = int64(1) << 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			n := newProvider(t)
			n.tamper, n.show = c.made, c.offered
			if _, err := n.wallet(t, "").Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000}, 0); timmy.CodeOf(err) != timmy.Unavailable {
				t.Errorf("Issue = %v", err)
			}
		})
	}
	n := newProvider(t)
	n.show = func(m map[string]any) { m["minSendable"] = 50_000 }
	if _, err := n.wallet(t, "").Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000}, 0); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("below the provider's minimum: %v", err)
	}
}

// TestLNAddressRemembersAcrossRestarts excludes a payment that is lost because
// the tower forgot where to ask for it, and a file that grows for ever.
func TestLNAddressRemembersAcrossRestarts(t *testing.T) {
	n := newProvider(t)
	path := filepath.Join(t.TempDir(), "address.jsonl")
	a := n.wallet(t, path)
	var hashes []timmy.Hash
	for i := range 3 {
		inv, err := a.Issue(t.Context(), fmt.Sprint("ref-", i), timmy.TopUp{Amount: 10_000}, 0)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, inv.Hash)
		if i > 0 {
			n.pay(inv.Bolt11, 0)
		}
	}
	if _, err := a.Lookup(t.Context(), hashes[1]); err != nil {
		t.Fatal(err)
	}
	a.Close()
	a = n.wallet(t, path)
	list, err := a.List(t.Context(), born)
	if err != nil || len(list) != 2 {
		t.Fatalf("List = %v, %v", list, err)
	}
	for _, p := range list {
		if !p.Settled || p.Received != 10_000 || sha256.Sum256(p.Preimage[:]) != p.Hash || !strings.HasPrefix(p.Ref, "ref-") {
			t.Errorf("%+v", p)
		}
	}
	a.Close()
	n.clock.add(10 * 24 * time.Hour)
	a = n.wallet(t, path)
	if len(a.promises) != 0 {
		t.Errorf("%d invoices of long ago are remembered", len(a.promises))
	}
	inv, err := a.Issue(t.Context(), "new", timmy.TopUp{Amount: 10_000}, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if a = n.wallet(t, path); a.promises[inv.Hash] == nil {
		t.Error("the invoice made after the file was cleaned is forgotten")
	}
}

// TestLNAddressFaults is threat B6.
func TestLNAddressFaults(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newProvider(t)
			a := n.wallet(t, "")
			n.set(func() { n.fault = fault })
			for range 3 {
				if _, err := a.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000}, 0); timmy.CodeOf(err) != timmy.Unavailable {
					t.Fatalf("Issue = %v", err)
				}
			}
			if a.Stats().Breaker != "open" || n.calls.Load() > breakerFailures {
				t.Errorf("breaker %s after %d calls", a.Stats().Breaker, n.calls.Load())
			}
		})
	}
}

// TestOnlyPublicAddresses excludes a provider that points the tower at its own
// network.
func TestOnlyPublicAddresses(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1",
		"255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
	} {
		if isPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as public", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "2606:4700::1111"} {
		if !isPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as private", s)
		}
	}
	n := newProvider(t)
	a, err := OpenLNAddress(LNAddressConfig{Address: "timmy@" + strings.TrimPrefix(n.http.URL, "https://"), Network: Regtest, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000}, 0)
	if !errors.Is(err, errPrivate) || n.calls.Load() != 0 {
		t.Errorf("Issue = %v", err)
	}
}

// TestOpenLNAddressRefusesBadSettings excludes a tower that starts and cannot be
// paid.
func TestOpenLNAddressRefusesBadSettings(t *testing.T) {
	for _, address := range []string{"", "timmy", "@x.example", "timmy@", "Timmy@x.example", "t/../x@x.example", "timmy@x.example/y", "timmy@u:p@x.example", "timmy@x.example?y", "timmy@" + strings.Repeat("x", 300)} {
		if _, err := OpenLNAddress(LNAddressConfig{Address: address, Network: Regtest}); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%q: %v", address, err)
		}
	}
}
