package lnurl

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Excludes: a description hash over other bytes than the wallet signed (C3), and
// a zap that credits somebody else.
func TestZapsCommitToTheirBytes(t *testing.T) {
	f := setUp(t, nil)
	comment := func(s string) string {
		return f.zap(t, func(e *nostr.Event) { e.Content = s })
	}
	spaced := strings.Replace(f.zap(t, func(e *nostr.Event) { e.Content = "s" }), `"kind":9734,`, ` "kind" : 9734, "extra":{"a":1}, `, 1)
	encodeURI := func(s string) string { // what JavaScript's encodeURI leaves alone, NIP-57's own example
		return strings.NewReplacer("%3B", ";", "%2C", ",", "%2F", "/", "%3F", "?", "%3A", ":", "%40", "@", "%3D", "=", "%2B", "+", "%24", "$", "+", "%20").Replace(url.QueryEscape(s))
	}
	for _, c := range []struct {
		raw    string
		encode func(string) string
	}{
		{comment(""), url.QueryEscape},
		{comment("1+1; a=b, ü\n\"\\ <"), url.QueryEscape},
		{comment("1+1;2"), encodeURI},
		{comment("path"), url.PathEscape},
		{spaced, url.QueryEscape},
	} {
		raw, query := c.raw, c.encode(c.raw)
		code, out := f.callback(t, "amount=21000&comment=&lnurl=lnurl1whatever&nostr="+query)
		if code != 200 || out["pr"] == nil {
			t.Errorf("%s: %d %v", raw, code, out)
			continue
		}
		top := f.till.tops[len(f.till.tops)-1]
		if top.DescriptionHash != sha256.Sum256([]byte(raw)) || string(top.Zap) != raw || string(top.Description) != raw {
			t.Errorf("%s\ncommits to\n%s", raw, top.Zap)
		}
		if top.Account != timmy.UserAccount(f.user.Public()) || top.Purpose != timmy.ForZap || len(top.ZapID) != 64 || top.Amount != 21_000 {
			t.Errorf("%+v", top)
		}
		if m := out["successAction"].(map[string]any)["message"].(string); m != "Credited to "+nip.Npub(f.user.Public()) {
			t.Errorf("message %q", m)
		}
	}
	for _, anon := range []nostr.Tag{{"anon"}, {"anon", ""}} {
		f.callback(t, zapQuery(f.zap(t, func(e *nostr.Event) { e.Tags = append(e.Tags, anon) })))
		if top := f.till.tops[len(f.till.tops)-1]; top.Account != timmy.HouseRevenue || top.Purpose != timmy.ForZap {
			t.Errorf("anonymous: %+v", top)
		}
	}
}

// Excludes: rows 127 to 139, through the real door.
func TestBadZapsMakeNoInvoice(t *testing.T) {
	f := setUp(t, nil)
	other := strings.Repeat("a", 64)
	add := func(tag ...string) func(*nostr.Event) {
		return func(e *nostr.Event) { e.Tags = append(e.Tags, tag) }
	}
	e64 := strings.Repeat("e", 64)
	for name, change := range map[string]func(*nostr.Event){
		"kind 9735": func(e *nostr.Event) { e.Kind = 9735 }, "kind 1": func(e *nostr.Event) { e.Kind = 1 },
		"no tags": func(e *nostr.Event) { e.Tags = nostr.Tags{} }, "two p": add("p", other),
		"foreign p": func(e *nostr.Event) { e.Tags[1][1] = other }, "upper p": func(e *nostr.Event) { e.Tags[1][1] = strings.ToUpper(e.Tags[1][1]) },
		"two e": func(e *nostr.Event) { add("e", e64)(e); add("e", e64)(e) }, "malformed e": add("e", "x"), "malformed a": add("a", "x:y"),
		"foreign P": add("P", other), "amount": func(e *nostr.Event) { e.Tags[2][1] = "21001" }, "amount text": func(e *nostr.Event) { e.Tags[2][1] = "021000" },
		"lnurl of another": add("lnurl", nip.EncodeLNURL("https://other.example/.well-known/lnurlp/timmy")), "lnurl rubbish": add("lnurl", "x"),
		"expired": add("expiration", fmt.Sprint(noon.Unix()-1)),
	} {
		f.refuses(t, name, zapQuery(f.zap(t, change)), "")
	}
	for _, d := range []time.Duration{-365 * 24 * time.Hour, 2 * time.Hour, -2 * time.Hour} {
		f.refuses(t, d.String(), zapQuery(f.zap(t, func(e *nostr.Event) { e.CreatedAt = nostr.Timestamp(noon.Add(d).Unix()) })), "stale zap request")
	}
	good := f.zap(t, nil)
	f.refuses(t, "bad id", zapQuery(strings.Replace(good, `"content":""`, `"content":"x"`, 1)), "id")
	f.refuses(t, "not JSON", zapQuery("x"), "invalid zap request")
	f.refuses(t, "other amount", "amount=22000&nostr="+url.QueryEscape(good), "amount")
	f.refuses(t, "two requests", zapQuery(good)+"&nostr=x", "twice")
}

// Excludes: refusing what clients send, and a foreign relay list stopping a zap.
func TestGoodZaps(t *testing.T) {
	f := setUp(t, nil)
	add := func(tag ...string) func(*nostr.Event) {
		return func(e *nostr.Event) { e.Tags = append(e.Tags, tag) }
	}
	for name, change := range map[string]func(*nostr.Event){
		"lnurl": add("lnurl", f.LNURL()), "upper lnurl": add("lnurl", strings.ToUpper(f.LNURL())), "address": add("lnurl", "timmy@tower.example"),
		"P": add("P", f.tower.Public().String()), "e": add("e", strings.Repeat("e", 64)), "a": add("a", "30023:"+f.user.Public().String()+":x"),
		"no relays": func(e *nostr.Event) { e.Tags = e.Tags[1:] }, "private relays": func(e *nostr.Event) { e.Tags[0] = nostr.Tag{"relays", "ws://10.0.0.1", "wss://localhost"} },
		"300 relays": func(e *nostr.Event) {
			for i := range 300 {
				e.Tags[0] = append(e.Tags[0], fmt.Sprintf("wss://r%d.example", i))
			}
		},
	} {
		if code, out := f.callback(t, zapQuery(f.zap(t, change))); code != 200 || out["pr"] == nil {
			t.Errorf("%s: %d %v", name, code, out)
		}
	}
}

// Excludes: one signed request that stands for many payments (C5, 137).
func TestOneZapRequestIsOneInvoice(t *testing.T) {
	f := setUp(t, nil)
	raw := f.zap(t, func(e *nostr.Event) { e.Tags = e.Tags[:2] }) // without amount
	var pr any
	for range 50 {
		code, out := f.callback(t, zapQuery(raw))
		if code != 200 || out["pr"] == nil || pr != nil && out["pr"] != pr {
			t.Fatalf("%d %v", code, out)
		}
		pr = out["pr"]
	}
	if len(f.till.tops) != 1 {
		t.Errorf("%d invoices", len(f.till.tops))
	}
	f.refuses(t, "other amount", "amount=22000&nostr="+url.QueryEscape(raw), "another amount")
	f.till.paid[f.till.tops[0].ZapID] = true
	f.refuses(t, "paid", zapQuery(raw), "already paid")
}

func FuzzCallback(f *testing.F) {
	fx := setUp(f, func(c *Config) {
		c.Calls, c.Invoices, c.Total = Rate{1 << 30, 1 << 30}, Rate{1 << 30, 1 << 30}, Rate{1 << 30, 1 << 30}
	})
	f.Add(zapQuery(fx.zap(f, nil)))
	f.Add("amount=21000&payerdata=%7B%22pubkey%22%3A7%7D&comment=%ff;&&=")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/lnurlp/timmy/callback", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		fx.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
