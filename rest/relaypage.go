package rest

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/timmy-tower/timmy"
)

// Admission is how a key buys the right to write on the relay.
type Admission struct {
	Price timmy.Msat
	// Key reads what people write as their key.
	Key func(text string) (timmy.PubKey, error)
	// Invoice makes the invoice, or finds the open one; admitted: nothing is due.
	Invoice func(ctx context.Context, k timmy.PubKey) (inv timmy.Invoice, admitted bool, err error)
}

type relayData struct {
	Page
	Sats     int64
	Admitted bool
	Problem  string
}

func (a *API) relayData() relayData {
	return relayData{Page: a.cfg.Page, Sats: a.cfg.Admission.Price.CeilSat().Sats()}
}

// relayPage is GET /relay: what writing on the relay costs.
func (a *API) relayPage(w http.ResponseWriter, r *http.Request) {
	a.render(a.call(w, r), "relay.html", a.relayData())
}

// joinRelay is POST /relay: a form with a key, which leads to the page of an
// invoice. Anybody may pay for any key: it is a present.
func (a *API) joinRelay(w http.ResponseWriter, r *http.Request) {
	c, d := a.call(w, r), a.relayData()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	form, badForm := url.ParseQuery(string(body))
	if err != nil || badForm != nil {
		refuse(http.StatusBadRequest, "The form could not be read").write(w)
		return
	}
	k, err := a.cfg.Admission.Key(form.Get("key"))
	if err != nil || k.IsZero() {
		d.Problem = "This is no key: paste your npub."
		a.render(c, "relay.html", d)
		return
	}
	ctx, cancel := a.detached(c)
	defer cancel()
	inv, admitted, err := a.cfg.Admission.Invoice(ctx, k)
	switch {
	case err != nil:
		failed(c, err, "Failed to make an invoice").write(w)
	case admitted:
		d.Admitted = true
		a.render(c, "relay.html", d)
	default:
		http.Redirect(w, r, "/pay/"+inv.Hash.String(), http.StatusSeeOther)
	}
}
