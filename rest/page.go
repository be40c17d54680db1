package rest

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rsc.io/qr"

	"github.com/timmy-tower/timmy"
)

//go:embed page/*
var pageFiles embed.FS

func parsePages() (*template.Template, error) {
	return template.ParseFS(pageFiles, "page/*.html")
}

// scheme makes a link that html/template would refuse. Only what is plain
// letters and digits, as bech32 is, becomes one.
func scheme(name, s string) template.URL {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return ""
		}
	}
	return template.URL(name + ":" + s)
}

type landingData struct {
	Page
	URL                  string
	Profile              template.URL
	Min, Max, MinBalance int64
}

// landing is GET /.
func (a *API) landing(w http.ResponseWriter, r *http.Request) {
	a.render(a.call(w, r), "landing.html", landingData{
		Page: a.cfg.Page, URL: a.cfg.PublicURL, Profile: scheme("nostr", a.cfg.Page.Nprofile),
		Min: a.cfg.MinDeposit.Sats(), Max: a.cfg.MaxDeposit.Sats(), MinBalance: a.cfg.MinBalance.Sats(),
	})
}

// render writes a page, whole or not at all.
func (a *API) render(c *call, name string, data any) {
	var b bytes.Buffer
	if err := a.pages.ExecuteTemplate(&b, name, data); err != nil {
		failed(c, err, "Internal error").write(c.w)
		return
	}
	blob(c.w, "text/html; charset=utf-8", b.Bytes())
}

func blob(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the reader may be gone
}

func (a *API) style(w http.ResponseWriter, r *http.Request) {
	b, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		failed(a.call(w, r), err, "Internal error").write(w)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=3600")
	blob(w, "text/css; charset=utf-8", b)
}

// towerQR is GET /qr.png: the tower's profile, for a phone.
func (a *API) towerQR(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Page.Nprofile == "" {
		refuse(http.StatusNotFound, "Not found").write(w)
		return
	}
	a.qr(a.call(w, r), "nostr:"+a.cfg.Page.Nprofile)
}

func (a *API) qr(c *call, text string) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		failed(c, err, "Internal error").write(c.w)
		return
	}
	code.Scale = 6
	blob(c.w, "image/png", code.PNG())
}

type payData struct {
	Page
	Bolt11  string
	Link    template.URL
	Hash    string
	Sats    int64
	Paid    bool
	Expired bool
	Expires string
	Refresh int
	Button  bool
}

// invoice reads the invoice a pay page is about; only those of the book exist.
func (a *API) invoice(c *call) (timmy.InvoiceStatus, *answer) {
	hash, err := timmy.ParseHash(c.PathValue("hash"))
	if err != nil {
		return timmy.InvoiceStatus{}, no(http.StatusNotFound, "Invoice not found")
	}
	ctx, cancel := context.WithTimeout(c.Context(), pageWait)
	defer cancel()
	inv, err := a.cfg.Invoice(ctx, hash)
	if unknown(err) || err == nil && inv.Bolt11 == "" {
		return inv, no(http.StatusNotFound, "Invoice not found")
	}
	if err != nil {
		bad := failed(c, err, "Failed to fetch invoice")
		return inv, &bad
	}
	return inv, nil
}

// payPage is GET /pay/{hash}. It reloads itself while it waits: no script.
func (a *API) payPage(w http.ResponseWriter, r *http.Request) {
	c := a.call(w, r)
	inv, bad := a.invoice(c)
	if bad != nil {
		bad.write(w)
		return
	}
	d := payData{
		Page: a.cfg.Page, Bolt11: inv.Bolt11, Link: scheme("lightning", inv.Bolt11), Hash: inv.Hash.String(),
		Sats: inv.Amount.CeilSat().Sats(), Paid: inv.Settled,
		Expired: !inv.Settled && !inv.Expires.IsZero() && a.cfg.Now().After(inv.Expires),
		Expires: inv.Expires.UTC().Format(time.RFC1123),
	}
	if !d.Paid && !d.Expired {
		d.Refresh, d.Button = payRefresh, a.cfg.Pay != nil
	}
	a.render(c, "pay.html", d)
}

// payQR is GET /pay/{hash}/qr.png, in capitals: that makes a smaller code.
func (a *API) payQR(w http.ResponseWriter, r *http.Request) {
	c := a.call(w, r)
	inv, bad := a.invoice(c)
	if bad != nil {
		bad.write(w)
		return
	}
	a.qr(c, strings.ToUpper("lightning:"+inv.Bolt11))
}

// settle is POST /pay/{hash}/settle, with the fake wallet only: no real sats.
func (a *API) settle(w http.ResponseWriter, r *http.Request) {
	c := a.call(w, r)
	inv, bad := a.invoice(c)
	if bad != nil {
		bad.write(w)
		return
	}
	if !inv.Settled {
		if err := a.cfg.Pay(c.Context(), inv.Bolt11); err != nil {
			failed(c, err, "Payment failed").write(w)
			return
		}
	}
	http.Redirect(w, r, "/pay/"+inv.Hash.String(), http.StatusSeeOther)
}
