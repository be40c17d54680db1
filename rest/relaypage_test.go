package rest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// TestTheRelaysPageSellsOneAdmission: price, form, invoice; and nothing to pay for
// who is in. Excluded: a page on a tower that sells nothing, and a key that is none.
func TestTheRelaysPageSellsOneAdmission(t *testing.T) {
	hash := timmy.Hash{7}
	inside := timmy.PubKey{2}
	var away error
	d := open(t, func(c *Config, w *world) {
		payable(t, false)(c, w)
		c.Page = Page{Name: "Timmy", RelayURL: "wss://tower.example", Npub: "npub1abc"}
		c.Admission = &Admission{
			Price: 500 * timmy.Sat, Key: timmy.ParsePubKey,
			Invoice: func(_ context.Context, k timmy.PubKey) (timmy.Invoice, bool, error) {
				return timmy.Invoice{Hash: hash}, k == inside, away
			},
		}
	})
	page := d.call("GET", "/relay", "")
	for _, want := range []string{"500 sats, once", "wss://tower.example", "/join", "npub1abc", `action="/relay"`} {
		if page.status != 200 || !strings.Contains(page.body, want) {
			t.Errorf("%d: no %s in %s", page.status, want, page.body)
		}
	}
	outside := timmy.PubKey{1}
	if g := d.call("POST", "/relay", "key="+outside.String()); g.status != 303 || g.header.Get("Location") != "/pay/"+hash.String() {
		t.Errorf("%d %v %s", g.status, g.header, g.body)
	}
	if g := d.call("POST", "/relay", "key="+inside.String()); g.status != 200 || !strings.Contains(g.body, "may write already") {
		t.Errorf("%d %s", g.status, g.body)
	}
	for _, bad := range []string{"", "key=npub1x", "key=%3Cscript%3E", "nokey=1"} {
		if g := d.call("POST", "/relay", bad); g.status != 200 || !strings.Contains(g.body, "This is no key") || strings.Contains(g.body, "<script>") {
			t.Errorf("%q: %d %s", bad, g.status, g.body)
		}
	}
	if g := d.call("POST", "/relay", "key="+strings.Repeat("a", maxForm)); g.status != 400 {
		t.Errorf("a long form: %d", g.status)
	}
	away = timmy.Errorf(timmy.Unavailable, "the wallet is away")
	if g := d.call("POST", "/relay", "key="+outside.String()); g.status != 503 {
		t.Errorf("%d %s", g.status, g.body)
	}
	away = errors.New("/var/lib/secret")
	if g := d.call("POST", "/relay", "key="+outside.String()); g.status != 500 || strings.Contains(g.body, "secret") {
		t.Errorf("%d %s", g.status, g.body)
	}
	free := open(t, payable(t, false))
	free.want(free.call("GET", "/relay", ""), 404, "Not found")
}
