package rest

import (
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestUnknownSessionsAreNotFound: whatever is no id of ours is the documented
// 404, never a 500 of a database that expected a UUID (D33).
func TestUnknownSessionsAreNotFound(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	for _, bad := range []string{
		"unknown", "%00", "'%20OR%201=1", strings.Repeat("a", 5000), "00000000-0000-4000-8000-000000000000",
		strings.ToUpper(id), id + "0", "%F0%9F%98%80", "..%2F" + id,
	} {
		d.want(d.call("GET", "/sessions/"+bad, ""), 404, "")
		if strings.Contains(bad, "%2F") {
			continue // a path of another form
		}
		d.want(d.call("GET", "/sessions/"+bad, ""), 404, msgNoSession)
		d.want(d.call("GET", "/api/sessions/"+bad, ""), 404, msgNoSession)
		d.want(d.call("POST", "/sessions/"+bad+"/request", `{"request":"hi"}`, auth), 404, msgNoSession)
		d.want(d.call("POST", "/sessions/"+bad+"/topup", `{"amount_sats":500}`, auth), 404, msgNoSession)
		d.want(d.call("DELETE", "/sessions/"+bad+"/history", "", auth), 404, msgNoSession)
		d.want(d.call("GET", "/sessions/"+bad+"/requests/x", "", auth), 404, msgNoSession)
		d.want(d.call("GET", "/sessions/"+bad+"/events", "", auth), 404, msgNoSession)
	}
}

// TestViewHasTheDocumentedFields in every state, and no others.
func TestViewHasTheDocumentedFields(t *testing.T) {
	d := open(t, nil)
	tok := d.api.token(alice, d.clock().Add(100*time.Hour))
	always := []string{"sessionId", "state", "balanceSats", "expiresAt", "minimumBalanceSats", "trust_tier"}
	view := func(id string, extra ...string) got {
		t.Helper()
		g := d.want(d.call("GET", "/sessions/"+id, ""), 200, "")
		if f := fields(g.json); !maps.Equal(f, set(append(extra, always...)...)) {
			t.Errorf("fields %v, want also %v", f, extra)
		}
		return g
	}
	c := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, "X-Nostr-Token: "+tok), 201, "")
	id := c.str("sessionId")
	g := view(id, "nostrPubkey", "invoice")
	if g.str("state") != "awaiting_payment" || g.str("invoice", "paymentHash") != c.str("invoice", "paymentHash") || g.num("balanceSats") != 0 {
		t.Errorf("got %s", g.body)
	}
	if g.str("expiresAt") != "2026-01-03T03:04:05.006Z" {
		t.Errorf("expiresAt %q", g.str("expiresAt"))
	}
	d.pay(t, c.str("invoice", "paymentHash"))
	g = view(id, "nostrPubkey", "macaroon")
	if g.str("state") != "active" || g.num("balanceSats") != 500 || g.num("minimumBalanceSats") != 50 ||
		!regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`).MatchString(g.str("macaroon")) || g.str("trust_tier") != "new" {
		t.Errorf("got %s", g.body)
	}
	auth := "Authorization: Bearer " + g.str("macaroon")
	d.want(d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":100}`, auth), 200, "")
	view(id, "nostrPubkey", "macaroon", "pendingTopup")
	d.sessions[id].posted = 40*timmy.Sat + 999
	d.sessions[id].State = timmy.SessionPaused
	if g = view(id, "nostrPubkey", "macaroon", "pendingTopup"); g.num("balanceSats") != 40 {
		t.Errorf("balances are not rounded down: %s", g.body)
	}
	d.pass(2 * time.Hour)
	view(id, "nostrPubkey", "macaroon") // D8: the open top-up does not block for good
	d.pass(life)
	if g = view(id, "nostrPubkey"); g.str("state") != "expired" {
		t.Errorf("got %s", g.body)
	}
	d.sessions[id].Expires = time.Time{}
	if g = view(id, "nostrPubkey"); g.json["expiresAt"] != nil {
		t.Errorf("expiresAt %v", g.json["expiresAt"])
	}
}

// TestReadingASessionAsksNobody: the seed asked the wallet on every GET (D28),
// so that anyone could hammer it, and its outage was a 500.
func TestReadingASessionAsksNobody(t *testing.T) {
	d := open(t, nil)
	id, _ := d.funded("500")
	d.wallet = func(timmy.TopUp) error { t.Error("the wallet was asked"); return nil }
	d.want(d.call("GET", "/sessions/"+id, ""), 200, "")
	d.fail = func(string) error { return timmy.Errorf(timmy.Internal, "disk /var/lib is gone") }
	d.want(d.call("GET", "/sessions/"+id, ""), 500, "Failed to fetch session")
}

// TestBearerIsShownAsTheSettingSays: D25. Without the bearer or the owner's
// token the id alone may not be enough.
func TestBearerIsShownAsTheSettingSays(t *testing.T) {
	for _, c := range []struct {
		show          ShowMacaroon
		before, after bool
	}{{ShowAlways, true, true}, {ShowUntilUsed, true, false}, {ShowNever, false, false}} {
		d := open(t, func(cfg *Config, _ *world) { cfg.ShowMacaroon = c.show })
		owner := "X-Nostr-Token: " + d.api.token(alice, d.clock().Add(time.Hour))
		stranger := "X-Nostr-Token: " + d.api.token(bob, d.clock().Add(time.Hour))
		id, auth := d.funded("500", owner)
		shows := func(headers ...with) bool {
			return d.want(d.call("GET", "/sessions/"+id, "", headers...), 200, "").str("macaroon") != ""
		}
		if got := shows(stranger, "Authorization: Bearer "+strings.Repeat("0", 64)); got != c.before {
			t.Errorf("%s: shown before use: %v", c.show, got)
		}
		if !shows(owner) || !shows(auth) {
			t.Errorf("%s: hidden from the one it belongs to", c.show)
		}
		if got := shows(stranger); got != c.after {
			t.Errorf("%s: shown after use: %v", c.show, got)
		}
		if !shows(owner) {
			t.Errorf("%s: hidden from the owner after use", c.show)
		}
	}
}

// TestBearersAreCheckedInEveryForm: the scheme in any case (D31), the value
// exactly, one header, and nobody else's bearer.
func TestBearersAreCheckedInEveryForm(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	_, other := d.funded("500")
	token := strings.TrimPrefix(auth, "Authorization: Bearer ")
	del := func(headers ...with) got { return d.call("DELETE", "/sessions/"+id+"/history", "", headers...) }
	for _, bad := range [][]with{
		{},
		{other},
		{auth, auth},
		{auth, other},
		{"Authorization: Basic " + token},
		{"Authorization: Bearer"},
		{"Authorization: Bearer "},
		{"Authorization: bearer x"},
		{"Authorization: " + token},
		{auth + "0"},
		{"Authorization: Bearer " + strings.ToUpper(token)},
		{"Authorization: Bearer " + strings.Repeat("a", 10000)},
		{"Authorization: Bearer\t" + token},
		{"Authorization: Bearer " + token[:63]},
	} {
		d.want(del(bad...), 401, msgBearer)
	}
	d.want(d.call("DELETE", "/sessions/"+id+"/history?bearer="+token, ""), 401, msgBearer)
	for _, good := range []with{auth, "Authorization: bearer " + token, "Authorization: BEARER   " + token + " "} {
		if g := d.want(del(good), 200, ""); g.body != `{"cleared":true}` {
			t.Errorf("got %s", g.body)
		}
	}
	d.sessions[id].Bearer = 2 // a new generation: the old bearer is void
	d.want(del(auth), 401, msgBearer)
	d.sessions[id].Bearer = 0
	d.want(del(auth), 401, msgBearer)
}

// TestHistoryIsForgotten: also twice, also paused; an expired session is gone.
func TestHistoryIsForgotten(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("100")
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "")
	if d.turns["session:"+id] != 2 {
		t.Fatalf("turns %v", d.turns)
	}
	d.sessions[id].State = timmy.SessionPaused
	for range 2 {
		d.want(d.call("DELETE", "/sessions/"+id+"/history", "", auth), 200, "")
	}
	if len(d.turns) != 0 {
		t.Errorf("turns %v", d.turns)
	}
	d.fail = func(m string) error {
		if m == "forget" {
			return timmy.Errorf(timmy.Internal, "secret")
		}
		return nil
	}
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", auth), 500, "Failed to clear history")
	d.fail = nil
	d.pass(life + time.Second)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", ""), 401, msgBearer)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", auth), 410, msgExpired)
}
