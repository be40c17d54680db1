package lnurl

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// noon is the time of all tests.
var noon = time.Unix(1_790_000_000, 0)

// till is a wallet and a book in memory, so that their faults can be injected.
type till struct {
	mu     sync.Mutex
	fail   error
	tops   []timmy.TopUp
	byZap  map[string]timmy.Invoice
	paid   map[string]bool
	status map[timmy.Hash]timmy.InvoiceStatus
}

func (f *till) Invoice(_ context.Context, t timmy.TopUp) (timmy.Invoice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return timmy.Invoice{}, f.fail
	}
	if f.paid[t.ZapID] {
		return timmy.Invoice{}, fmt.Errorf("expecting money: %w", timmy.Errorf(timmy.Conflict, "already paid"))
	}
	if inv, ok := f.byZap[t.ZapID]; ok && t.ZapID != "" {
		return inv, timmy.Errorf(timmy.Conflict, "open already")
	}
	f.tops = append(f.tops, t)
	n := len(f.tops)
	inv := timmy.Invoice{Hash: sha256.Sum256([]byte{byte(n), byte(n >> 8)}), Bolt11: fmt.Sprintf("lnbcrt%d", n), Amount: t.Amount}
	f.byZap[t.ZapID] = inv
	f.status[inv.Hash] = timmy.InvoiceStatus{Invoice: inv, Account: t.Account}
	return inv, nil
}

type book struct{ *till }

// claimed is the one code of these tests, of the key 3.
const claimed = timmy.ClaimCode("CLAIM-7K3Q-M2XW")

func (b book) Claimed(_ context.Context, c timmy.ClaimCode) (timmy.Account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.fail != nil:
		return "", b.fail
	case c != claimed:
		return "", timmy.Errorf(timmy.NotFound, "nobody has it")
	}
	return timmy.UserAccount(timmy.PubKey{31: 3}), nil
}

func (b book) Invoice(_ context.Context, h timmy.Hash) (timmy.InvoiceStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return timmy.InvoiceStatus{}, b.fail
	}
	s, ok := b.status[h]
	if !ok {
		return s, timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	return s, nil
}

type fixture struct {
	*Server
	till        *till
	user, tower nip.Key
	now         time.Time
}

func setUp(tb testing.TB, change func(*Config)) *fixture {
	tb.Helper()
	key := func(n byte) nip.Key {
		k, err := nip.NewKey([32]byte{31: n})
		if err != nil {
			tb.Fatal(err)
		}
		return k
	}
	f := &fixture{user: key(1), tower: key(2), now: noon, till: &till{
		byZap: map[string]timmy.Invoice{}, paid: map[string]bool{}, status: map[timmy.Hash]timmy.InvoiceStatus{},
	}}
	cfg := Config{
		PublicURL: "https://tower.example", Name: "timmy", Key: f.tower.Public(), RelayURL: "wss://tower.example", Title: `Top up "Timmy" <&>`,
		Private: func(z nip.ZapRequest) (timmy.PubKey, string, error) { return nip.OpenPrivateZap(f.tower, z) },
		Max:     10_000_000, Till: f.till, Book: book{f.till}, Now: func() time.Time { return f.now },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if f.Server, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	return f
}

// get calls the server as a wallet does. Every answer must be JSON that pages of
// any origin may read.
func (f *fixture) get(tb testing.TB, target string) (int, map[string]any) {
	tb.Helper()
	return f.do(tb, httptest.NewRequest(http.MethodGet, target, nil))
}

func (f *fixture) do(tb testing.TB, r *http.Request) (int, map[string]any) {
	tb.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Location") != "" {
		tb.Errorf("%s: headers %v", r.URL.Path, w.Header())
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		tb.Fatalf("%s: %d %s", r.URL.Path, w.Code, w.Body)
	}
	return w.Code, out
}

func (f *fixture) callback(tb testing.TB, query string) (int, map[string]any) {
	tb.Helper()
	return f.get(tb, "/lnurlp/timmy/callback?"+query)
}

// refuses wants LUD-06's error: HTTP 200, or wallets do not show the reason.
func (f *fixture) refuses(t *testing.T, name, query, reason string) {
	t.Helper()
	before := len(f.till.tops)
	code, out := f.callback(t, query)
	got, _ := out["reason"].(string)
	if code != http.StatusOK || out["status"] != "ERROR" || !strings.Contains(got, reason) {
		t.Errorf("%s: %d %v, want %q", name, code, out, reason)
	}
	if len(f.till.tops) != before {
		t.Errorf("%s: an invoice was made", name)
	}
}

func (f *fixture) zap(tb testing.TB, change func(*nostr.Event)) string {
	tb.Helper()
	ev, err := nip.ZapRequestEvent(f.user, f.tower.Public(), nip.ZapRequest{Amount: 21_000, Relays: []string{"wss://a.example"}}, f.now)
	if err != nil {
		tb.Fatal(err)
	}
	if change != nil {
		change(ev)
		if err := f.user.Sign(ev); err != nil {
			tb.Fatal(err)
		}
	}
	return ev.String()
}

func zapQuery(raw string) string { return "amount=21000&nostr=" + url.QueryEscape(raw) }

// Excludes: what makes wallets and clients give up before they pay (clients 1.2),
// and a callback that somebody's Host header chose (C13).
func TestPayRequest(t *testing.T) {
	f := setUp(t, nil)
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/.well-known/lnurlp/timmy", nil)
	r.Header.Set("X-Forwarded-Host", "evil.example")
	code, out := f.do(t, r)
	if code != 200 || out["tag"] != "payRequest" || out["callback"] != "https://tower.example/lnurlp/timmy/callback" ||
		out["minSendable"] != 1000.0 || out["maxSendable"] != 1e7 || out["commentAllowed"] != 280.0 || out["allowsNostr"] != true ||
		out["nostrPubkey"] != f.tower.Public().String() {
		t.Errorf("%v", out)
	}
	if want := `[["text/plain","Top up \"Timmy\" <&>"],["text/identifier","timmy@tower.example"]]`; out["metadata"] != want {
		t.Errorf("metadata %v", out["metadata"])
	}
	if u, err := nip.DecodeLNURL(f.LNURL()); err != nil || u != f.PayURL() {
		t.Error(u, err)
	}
}

// Excludes: row 140, and a redirect that leads somewhere else.
func TestUnknownUsers(t *testing.T) {
	f := setUp(t, nil)
	for _, path := range []string{
		"TIMMY", "..%2f", "", "nobody", strings.Repeat("a", 300), "timmy/", "%74immy", "timmy%00", "../lnurlp/timmy", "_",
	} {
		if code, out := f.get(t, "/.well-known/lnurlp/"+path); code != 404 || out["reason"] != "unknown user" || out["status"] != "ERROR" {
			t.Errorf("%s: %d %v", path, code, out)
		}
	}
	for _, path := range []string{"/lnurlp/", "/lnurlp/timmy", "/lnurlp/nobody/callback", "/lnurlp/timmy/callback/x", "/", "/.well-known/", "/.well-known/nostr.json/"} {
		if code, _ := f.get(t, path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// Excludes: rows 141 to 143.
func TestBadCallsMakeNoInvoice(t *testing.T) {
	f := setUp(t, nil)
	for _, a := range []string{
		"", "amount=", "amount=0", "amount=-1", "amount=999", "amount=10000001", "amount=1.5", "amount=1e6", "amount=9223372036854775808",
		"amount=%2021000", "amount=21000&amount=21000", "amount=+21000", "amount=021000", "amount=21000%00", "AMOUNT=21000", "amount=0x5208",
	} {
		f.refuses(t, a, a, "between 1000 and 10000000")
	}
	f.refuses(t, "long comment", "amount=21000&comment="+strings.Repeat("x", 281), "comment")
	f.refuses(t, "control", "amount=21000&comment=a%00b", "comment")
	f.refuses(t, "not UTF-8", "amount=21000&comment=%ff", "comment")
	f.refuses(t, "escape", "amount=21000&comment=%zz", "malformed")
	f.refuses(t, "two comments", "amount=21000&comment=a&comment=b", "twice")
	f.refuses(t, "many", "amount=21000"+strings.Repeat("&x=1", 99), "too many")
	for _, d := range []string{"x", "[]", "null", `"a"`, `{"a"`, `{"pubkey":"x"}`, `{"pubkey":7}`, `{"x":"` + strings.Repeat("y", 10_000) + `"}`, "\xff", `{"pubkey":"02` + f.user.Public().String() + `"}`} {
		f.refuses(t, d, "amount=21000&payerdata="+url.QueryEscape(d), "payerdata")
	}
	if code, _ := f.get(t, "/lnurlp/timmy/callback?amount=21000&x="+strings.Repeat("y", maxURI)); code != http.StatusRequestURITooLong {
		t.Errorf("long URL: %d", code)
	}
}

// Excludes: an invoice that does not commit to what the wallet was shown (C9),
// and money that goes to the wrong account.
func TestPlainPayments(t *testing.T) {
	f := setUp(t, nil)
	_, first := f.get(t, "/.well-known/lnurlp/timmy")
	metadata := first["metadata"].(string)
	u := timmy.UserAccount(f.user.Public())
	for _, c := range []struct {
		query, payer string
		account      timmy.Account
	}{
		{"amount=21000", "", timmy.HouseRevenue},
		{"amount=21000&comment=", "", timmy.HouseRevenue},
		{"amount=21000&nostr=&payerdata=", "", timmy.HouseRevenue},
		{"amount=1001&comment=" + strings.Repeat("%C3%BC", 280) + "&lnurl=lnurl1x", "", timmy.HouseRevenue},
		{"amount=21000&", `{"pubkey":"` + f.user.Public().String() + `","x":"ü 1 "}`, u},
		{"amount=21000&", ` {"pubkey" : "` + nip.Npub(f.user.Public()) + `"}`, u},
		{"amount=21000&", `{"name":"x","pubkey":null}`, timmy.HouseRevenue},
		{"amount=21000&", `{"pubkey":""}`, timmy.HouseRevenue},
	} {
		q := c.query
		if c.payer != "" {
			q += "payerdata=" + url.QueryEscape(c.payer)
		}
		code, out := f.callback(t, q)
		if code != 200 || out["pr"] == nil || out["verify"] == nil || len(out["routes"].([]any)) != 0 {
			t.Fatalf("%s: %d %v", q, code, out)
		}
		top := f.till.tops[len(f.till.tops)-1]
		if top.DescriptionHash != sha256.Sum256([]byte(metadata+c.payer)) || string(top.Description) != metadata+c.payer {
			t.Errorf("%s: the invoice commits to %q", q, top.Description)
		}
		if top.Account != c.account || top.Purpose != timmy.ForPay || top.ZapID != "" || top.Zap != nil {
			t.Errorf("%s: %+v", q, top)
		}
		if m := out["successAction"].(map[string]any)["message"].(string); len(m) > 144 {
			t.Errorf("success message of %d", len(m))
		}
	}
}

// Excludes: every kind of a backend's fault being told in another way than the
// wallet can show (146), and details of ours going out.
func TestBackendFaults(t *testing.T) {
	f := setUp(t, nil)
	for _, err := range []error{errors.New("dial tcp 10.0.0.7: secret"), timmy.Errorf(timmy.Unavailable, "away"), context.DeadlineExceeded} {
		f.till.fail = fmt.Errorf("issuing: %w", err)
		for _, path := range []string{"/lnurlp/timmy/callback?amount=21000", "/lnurlp/verify/" + strings.Repeat("a", 64)} {
			w := httptest.NewRecorder()
			f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"temporarily unavailable"`) {
				t.Errorf("%v: %d %s", err, w.Code, w.Body)
			}
		}
	}
	f.till.fail = timmy.Errorf(timmy.Invalid, "whole sats only")
	f.refuses(t, "invalid", "amount=21001", "whole sats only")
	f.till.fail = timmy.Errorf(timmy.Limited, "slow down")
	if code, _ := f.callback(t, "amount=21000"); code != 429 {
		t.Errorf("limited: %d", code)
	}
}

// Excludes: verify that lies, or tells of what the caller cannot know (C12, 147).
func TestVerify(t *testing.T) {
	f := setUp(t, nil)
	_, out := f.callback(t, "amount=21000")
	target := strings.TrimPrefix(out["verify"].(string), "https://tower.example")
	if _, got := f.get(t, target); got["status"] != "OK" || got["settled"] != false || got["preimage"] != nil || got["pr"] != out["pr"] {
		t.Errorf("unpaid: %v", got)
	}
	for h, s := range f.till.status {
		s.Settled = true
		f.till.status[h] = s
		if _, got := f.get(t, target); got["settled"] != true || got["preimage"] != nil {
			t.Errorf("paid, preimage unknown: %v", got)
		}
		s.Preimage = [32]byte{1}
		f.till.status[h] = s
	}
	if _, got := f.get(t, target); got["settled"] != true || got["preimage"] != "01"+strings.Repeat("0", 62) {
		t.Errorf("paid: %v", got)
	}
	for _, id := range []string{"", "x", strings.Repeat("0", 64), strings.Repeat("g", 64), target[len("/lnurlp/verify/"):][:63], "a/b", "%2e"} {
		if code, got := f.get(t, "/lnurlp/verify/"+id); code != 200 || got["reason"] != "Not found" || got["status"] != "ERROR" {
			t.Errorf("%q: %d %v", id, code, got)
		}
	}
}

// Excludes: a name that redirects, or an upper-case key.
func TestNostrJSON(t *testing.T) {
	f := setUp(t, nil)
	k := f.tower.Public().String()
	for query, names := range map[string]int{"": 2, "?name=timmy": 1, "?name=_": 1, "?name=bob": 0, "?name=TIMMY": 0, "?name=%ff": 0} {
		code, out := f.get(t, "/.well-known/nostr.json"+query)
		got := out["names"].(map[string]any)
		if code != 200 || len(got) != names {
			t.Errorf("%s: %d %v", query, code, out)
		}
		if names > 0 && fmt.Sprint(out["relays"]) != "map["+k+":[wss://tower.example]]" {
			t.Errorf("relays %v", out["relays"])
		}
		for n, v := range got {
			if v != k {
				t.Errorf("%s is %v", n, v)
			}
		}
	}
}

// Excludes: browsers that may not ask, and methods that do something.
func TestMethods(t *testing.T) {
	f := setUp(t, nil)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, "/lnurlp/timmy/callback", nil))
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "GET") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, m := range []string{"POST", "PUT", "DELETE"} {
		if code, _ := f.do(t, httptest.NewRequest(m, "/lnurlp/timmy/callback?amount=21000", nil)); code != 405 || len(f.till.tops) != 0 {
			t.Errorf("%s: %d", m, code)
		}
	}
}

// Excludes: a start with an address that wallets cannot reach.
func TestConfigIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no URL": func(c *Config) { c.PublicURL = "" }, "ws": func(c *Config) { c.PublicURL = "wss://x" }, "path": func(c *Config) { c.PublicURL = "https://x/y" },
		"user": func(c *Config) { c.PublicURL = "https://u:p@x" }, "query": func(c *Config) { c.PublicURL = "https://x/?a" },
		"name": func(c *Config) { c.Name = "Timmy" }, "no name": func(c *Config) { c.Name = "" }, "verify": func(c *Config) { c.Name = "verify" }, "dots": func(c *Config) { c.Name = ".." },
		"key": func(c *Config) { c.Key = timmy.PubKey{} }, "till": func(c *Config) { c.Till = nil }, "min": func(c *Config) { c.Min = c.Max + 1 }, "max": func(c *Config) { c.Max = timmy.MaxMsat + 1 },
	} {
		cfg := setUp(t, nil).cfg
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}
