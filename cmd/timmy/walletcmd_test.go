package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWalletTestSaysWhatIsMissing excludes an operator who learns from a failed
// deposit that the wallet was never able to take one.
func TestWalletTestSaysWhatIsMissing(t *testing.T) {
	answer := http.NotFound
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer srv.Close()
	macaroon := filepath.Join(t.TempDir(), "invoice.macaroon")
	if err := os.WriteFile(macaroon, []byte(strings.Repeat("planted-", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	lnd := []string{"TIMMY_WALLET=lnd", "TIMMY_NETWORK=regtest", "TIMMY_LND_MACAROON_FILE=" + macaroon}
	cln := []string{"TIMMY_WALLET=cln", "TIMMY_CLN_RUNE=planted"}
	phoenixd := []string{"TIMMY_WALLET=phoenixd", "TIMMY_PHOENIXD_PASSWORD=planted"}
	lnbits := []string{"TIMMY_WALLET=lnbits", "TIMMY_LNBITS_KEY=planted"}
	const key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	secret := strings.Repeat("3", 64)
	nwc := []string{"TIMMY_WALLET=nwc", "TIMMY_NWC=nostr+walletconnect://" + key + "?relay=ws://127.0.0.1:1&secret=" + secret}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	state := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/state" {
				_, _ = w.Write([]byte(`{"state":"` + s + `"}`))
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"code":2,"message":"permission denied"}`))
		}
	}
	says := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write([]byte(text)) }
	}
	for name, c := range map[string]struct {
		vars   []string
		answer http.HandlerFunc
		want   string
	}{
		"lnd away":       {append(lnd, "TIMMY_LND_URL="+gone.URL), nil, "nothing listens at that address"},
		"lnd locked":     {append(lnd, "TIMMY_LND_URL="+srv.URL), state("LOCKED"), "lncli unlock"},
		"lnd permission": {append(lnd, "TIMMY_LND_URL="+srv.URL), state("SERVER_ACTIVE"), "invoices:read"},
		"lnd https":      {append(lnd, "TIMMY_LND_URL="+strings.Replace(srv.URL, "http:", "https:", 1)), nil, "speaks http there, not https"},
		"cln rune":       {append(cln, "TIMMY_CLN_URL="+srv.URL), says(403, `{"code":1501,"message":"Not authorized: Not derived from master"}`), "the key is not one of this server"},
		"cln method":     {append(cln, "TIMMY_CLN_URL="+srv.URL), says(401, `{"code":1502,"message":"Not permitted: method not in list"}`), "needs the method getinfo"},
		"phoenixd":       {append(phoenixd, "TIMMY_PHOENIXD_URL="+srv.URL), says(401, "Invalid authentication (use basic auth)"), "the key is not one of this server"},
		"nwc":            {nwc, nil, "nothing is heard of the wallet at its relay"},
		"lnbits":         {append(lnbits, "TIMMY_LNBITS_URL="+srv.URL), says(404, `{"detail":"Wallet not found."}`), "the key is not one of this server"},
	} {
		t.Run(name, func(t *testing.T) {
			if answer = c.answer; answer == nil {
				answer = http.NotFound
			}
			got := runWith(t, append(c.vars, "TIMMY_DATA_DIR="+t.TempDir()), "wallet", "test")
			if got.code != exitFailed || !strings.Contains(got.stdout, "missing") || !strings.Contains(got.stdout, c.want) {
				t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if strings.Contains(got.stdout+got.stderr, "planted") || strings.Contains(got.stdout+got.stderr, secret) {
				t.Errorf("the key is shown:\n%s%s", got.stdout, got.stderr)
			}
		})
	}
}

// TestWalletCommandsWorkOnAFreshMachine excludes commands that need a node to be
// tried.
func TestWalletCommandsWorkOnAFreshMachine(t *testing.T) {
	dir := "TIMMY_DATA_DIR=" + t.TempDir()
	if got := runWith(t, []string{dir}, "wallet", "test"); got.code != exitOK || !strings.Contains(got.stdout, "ok       make an invoice") {
		t.Errorf("test: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := runWith(t, []string{dir}, "wallet", "info", "--json"); got.code != exitOK || !strings.Contains(got.stdout, `"network": "regtest"`) {
		t.Errorf("info: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := runWith(t, []string{dir}, "wallet", "invoice", "21"); got.code != exitOK || !strings.HasPrefix(got.stdout, "lnbcrt210n1") {
		t.Errorf("invoice: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := runWith(t, []string{dir}, "wallet", "invoice", "1e3"); got.code != exitUsage {
		t.Errorf("invoice 1e3: exit %d", got.code)
	}
}

// TestABadConnectionStringIsNotRepeated excludes a tower that starts with a wallet it
// cannot reach, and a spending secret that a typing error puts into a log.
func TestABadConnectionStringIsNotRepeated(t *testing.T) {
	secret := strings.Repeat("3", 64)
	for _, text := range []string{"", "nostr+walletconnect://abc?relay=wss://a.example&secret=" + secret, "https://a.example/?secret=" + secret} {
		got := runWith(t, []string{"TIMMY_DATA_DIR=" + t.TempDir(), "TIMMY_WALLET=nwc", "TIMMY_NWC=" + text}, "wallet", "test")
		if got.code == exitOK || !strings.Contains(got.stderr, "TIMMY_NWC") || strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	}
}
