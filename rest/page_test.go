package rest

import (
	"bytes"
	"context"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestLandingSaysWhoAndHow: the key, the address, the relay, the price and a
// quickstart that works when it is pasted; no script is needed.
func TestLandingSaysWhoAndHow(t *testing.T) {
	d := open(t, func(c *Config, _ *world) {
		c.Page = Page{
			Name: "Timmy <b>", Npub: "npub1abc", Nprofile: "nprofile1abc", Address: "timmy@tower.example",
			RelayURL: "wss://tower.example", Demo: true, PriceLine: "A typical answer costs 8 sats & more.",
		}
	})
	g := d.call("GET", "/", "")
	for _, want := range []string{
		"Timmy &lt;b&gt;", "npub1abc", `href="nostr:nprofile1abc"`, "timmy@tower.example", "wss://tower.example",
		"8 sats &amp; more", "DEMO", "https://tower.example/sessions", `"amount_sats": 100`, `src="/qr.png"`,
	} {
		if !strings.Contains(g.body, want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if g.status != 200 || !strings.HasPrefix(g.header.Get("Content-Type"), "text/html") || strings.Contains(g.body, "<script") {
		t.Errorf("got %d %v", g.status, g.header)
	}
	isPNG(t, d.call("GET", "/qr.png", ""))
	if css := d.call("GET", "/style.css", ""); css.status != 200 || !strings.HasPrefix(css.header.Get("Content-Type"), "text/css") {
		t.Errorf("got %d %v", css.status, css.header)
	}
	plain := open(t, func(c *Config, _ *world) { c.Page = Page{Name: "Timmy"} })
	if g := plain.call("GET", "/", ""); strings.Contains(g.body, "DEMO") || strings.Contains(g.body, "qr.png") {
		t.Errorf("got %s", g.body)
	}
	plain.want(plain.call("GET", "/qr.png", ""), 404, "Not found")
}

func isPNG(t *testing.T, g got) {
	t.Helper()
	if _, err := png.Decode(bytes.NewReader([]byte(g.body))); err != nil || g.header.Get("Content-Type") != "image/png" {
		t.Errorf("no PNG: %v, %d %v", err, g.status, g.header)
	}
}

// payable lets the pay page read the world's invoices, and pay them if it may.
func payable(t testing.TB, button bool) func(*Config, *world) {
	return func(c *Config, w *world) {
		c.Invoice = func(_ context.Context, h timmy.Hash) (timmy.InvoiceStatus, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if f := w.invoices[h]; f != nil {
				return f.InvoiceStatus, nil
			}
			return timmy.InvoiceStatus{}, timmy.Errorf(timmy.NotFound, "no such invoice")
		}
		if button {
			c.Pay = func(_ context.Context, bolt11 string) error {
				w.pay(t, strings.TrimPrefix(bolt11, "lnbcrt1"))
				return nil
			}
		}
	}
}

// TestPayPageShowsKnownInvoicesOnly: nobody's invoice is dressed as ours.
func TestPayPageShowsKnownInvoicesOnly(t *testing.T) {
	d := open(t, payable(t, false))
	g := d.call("POST", "/sessions", `{"amount_sats":500}`)
	hash := g.str("invoice", "paymentHash")
	if want := "<https://tower.example/pay/" + hash + `>; rel="payment"`; g.header.Get("Link") != want {
		t.Errorf("Link %q", g.header.Get("Link"))
	}
	page := d.call("GET", "/pay/"+hash, "")
	for _, want := range []string{"500 sats", `href="lightning:lnbcrt1` + hash, `http-equiv="refresh"`, "/pay/" + hash + "/qr.png"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("no %s in %s", want, page.body)
		}
	}
	if strings.Contains(page.body, "<button") || strings.Contains(page.body, g.str("sessionId")) {
		t.Error("a button that cannot work, or a secret")
	}
	isPNG(t, d.call("GET", "/pay/"+hash+"/qr.png", ""))
	for _, bad := range []string{strings.Repeat("0", 64), "x", "%00", strings.Repeat("z", 64), "lnbc1"} {
		d.want(d.call("GET", "/pay/"+bad, ""), 404, "Invoice not found")
		d.want(d.call("GET", "/pay/"+bad+"/qr.png", ""), 404, "Invoice not found")
	}
	d.want(d.call("POST", "/pay/"+hash+"/settle", ""), 404, "Not found")
	d.pass(2 * time.Hour)
	if page = d.call("GET", "/pay/"+hash, ""); !strings.Contains(page.body, "Expired") || strings.Contains(page.body, "refresh") {
		t.Errorf("got %s", page.body)
	}
	d.pay(t, hash)
	if page = d.call("GET", "/pay/"+hash, ""); !strings.Contains(page.body, "Paid") {
		t.Errorf("got %s", page.body)
	}
}

// TestTheButtonPaysOnce: with the fake wallet only.
func TestTheButtonPaysOnce(t *testing.T) {
	d := open(t, payable(t, true))
	g := d.call("POST", "/sessions", `{"amount_sats":500}`)
	p := "/pay/" + g.str("invoice", "paymentHash")
	if !strings.Contains(d.call("GET", p, "").body, "Pay (no real sats)") {
		t.Error("no button")
	}
	for range 2 {
		if r := d.call("POST", p+"/settle", ""); r.status != 303 || r.header.Get("Location") != p {
			t.Errorf("got %d %v", r.status, r.header)
		}
	}
	if v := d.call("GET", "/sessions/"+g.str("sessionId"), ""); v.str("state") != "active" || v.num("balanceSats") != 500 {
		t.Errorf("got %s", v.body)
	}
	d.want(d.call("GET", p+"/settle", ""), 405, "")
	d.want(d.call("POST", "/pay/"+strings.Repeat("0", 64)+"/settle", ""), 404, "Invoice not found")
}
