package e2e

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

var anyBolt11 = regexp.MustCompile(`lnbcrt[0-9a-z]+`)

// note publishes a kind 1 and returns the relay's refusal, or nothing.
func (a *asker) note(text string) string {
	a.t.Helper()
	ev := &nostr.Event{Kind: 1, CreatedAt: nostr.Now(), Content: text, Tags: nostr.Tags{}}
	if err := a.key.Sign(ev); err != nil {
		a.t.Fatal(err)
	}
	if err := a.publish(ev); err != nil {
		return err.Error()
	}
	return ""
}

// TestAPaymentOpensTheRelay: a stranger is told the price and where to pay it, buys
// the admission on the page, and writes with the next event; a customer buys it from
// the balance. Excluded: a price that NIP-11 does not show, a payment that waits
// for a cache, an admission that a restart forgets or that is charged twice.
func TestAPaymentOpensTheRelay(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_RELAY_WRITERS=allowed", "TIMMY_RELAY_ADMISSION_SATS=500")
	stranger, customer := newDoorAsker(t, tw), newDoorAsker(t, tw)
	refused := stranger.note("hello")
	for _, want := range []string{"restricted: writing on this relay costs 500 sats, once", tw.http() + "/relay", "/join"} {
		if !strings.Contains(refused, want) {
			t.Errorf("%q, want %s", refused, want)
		}
	}
	if doc := tw.nip11(); !strings.Contains(doc, `"fees":{"admission":[{"amount":500000,"unit":"msats"}]}`) ||
		!strings.Contains(doc, `"payments_url":"`+tw.http()+`/relay"`) || !strings.Contains(doc, `"restricted_writes":true`) {
		t.Errorf("%s", doc)
	}
	tw.pay(anyBolt11.FindString(tw.joinForm(nip.Npub(stranger.key.Public()))))
	waitFor(t, "the payment", func() bool { return strings.Contains(tw.joinForm(stranger.key.Public().String()), "may write already") })
	if refused := stranger.note("paid"); refused != "" {
		t.Error(refused)
	}
	if !customer.zap(1000) {
		return
	}
	if refused := customer.note("not yet"); !strings.Contains(refused, "restricted: ") {
		t.Error(refused)
	}
	if got := customer.reply("/join"); !strings.Contains(got, "500 sats were taken from your balance") {
		t.Error(got)
	}
	if refused := customer.note("paid"); refused != "" {
		t.Error(refused)
	}
	tw.restart()
	for _, who := range []*asker{stranger, customer} {
		if refused := who.note("after a restart"); refused != "" {
			t.Error(refused)
		}
	}
	if got := customer.reply("/balance"); !strings.Contains(got, "500 sats") {
		t.Error(got)
	}
	tw.verifyBooks()
	want(t, tw, 1_000_000, `SELECT coalesce(sum(amount), 0) FROM postings WHERE key LIKE 'admission:%'`)
}

// nip11 is the relay's information document.
func (tw *tower) nip11() string {
	tw.t.Helper()
	req, err := http.NewRequestWithContext(tw.t.Context(), http.MethodGet, tw.http(), nil)
	if err != nil {
		tw.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/nostr+json")
	return tw.do(req)
}

// joinForm sends the form of the relay's page and returns the page it leads to.
func (tw *tower) joinForm(key string) string {
	tw.t.Helper()
	req, err := http.NewRequestWithContext(tw.t.Context(), http.MethodPost, tw.http()+"/relay", strings.NewReader(url.Values{"key": {key}}.Encode()))
	if err != nil {
		tw.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return tw.do(req)
}

func (tw *tower) do(req *http.Request) string {
	tw.t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		tw.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		tw.t.Fatalf("%s: %d %s (%v)", req.URL, res.StatusCode, b, err)
	}
	return string(b)
}
