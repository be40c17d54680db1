package rest

import (
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

const amountText = "amount_sats must be an integer between 100 and 10000"

// TestCreateReadsTheAmountStrictly: parseInt took "500abc" and 500.9, and money
// must not be guessed. Whatever is no integer has the documented text.
func TestCreateReadsTheAmountStrictly(t *testing.T) {
	d := open(t, nil)
	for _, bad := range []string{
		"", "{}", "[]", "null", `"abc"`, "5", `{"amount_sats":`, `{"amount_sats":500} x`, "\xff",
		`{"amount_sats":"500abc"}`, `{"amount_sats":500.9}`, `{"amount_sats":"1e3"}`, `{"amount_sats":[500]}`,
		`{"amount_sats":null}`, `{"amount_sats":true}`, `{"amount_sats":{}}`, `{"amount_sats":""}`, `{"amount_sats":"+500"}`,
		`{"amount_sats":"-500"}`, `{"amount_sats":-500}`, `{"amount_sats":99}`, `{"amount_sats":10001}`, `{"amount_sats":0}`,
		`{"amount_sats":1e999999999}`, `{"amount_sats":1e-999999999}`, `{"amount_sats":1e99999999999999999999}`,
		`{"amount_sats":500.0000000000000000000001}`, `{"amount_sats":99999999999999999999}`, `{"amount_sats":"0x1f4"}`,
		`{"AMOUNT_SATS":500}`, `{"amount_sats":"5\u0030\u0030"}`,
	} {
		d.want(d.call("POST", "/sessions", bad), 400, amountText)
	}
	for _, good := range []string{
		`{"amount_sats":500}`, `{"amount_sats":"500"}`, `{"amount_sats":500.0}`, `{"amount_sats":5e2}`,
		`{"amount_sats":5E+2}`, `{"amount_sats":5000e-1}`, `{"amount_sats":0.5e3}`, `{"amount_sats":"0500"}`,
	} {
		g := d.want(d.call("POST", "/sessions", good), 201, "")
		if n := g.num("invoice", "amountSats"); n != 500 {
			t.Errorf("%s: invoice over %d sats", good, n)
		}
	}
	for _, edge := range []string{"100", "10000"} {
		d.want(d.call("POST", "/sessions", `{"amount_sats":`+edge+`}`), 201, "")
	}
}

// TestCreateAnswersAsDocumented: exactly the documented fields, and a memo that
// does not give the session's id, which is a secret, to whoever pays (D25).
func TestCreateAnswersAsDocumented(t *testing.T) {
	d := open(t, nil)
	g := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`), 201, "")
	if f := fields(g.json); !maps.Equal(f, set("sessionId", "state", "trust_tier", "invoice")) {
		t.Errorf("fields %v", f)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(g.str("sessionId")) {
		t.Errorf("id %q is no UUIDv4", g.str("sessionId"))
	}
	if g.str("state") != "awaiting_payment" || g.str("trust_tier") != "anonymous" {
		t.Errorf("got %s", g.body)
	}
	memo := d.memos[0]
	if !regexp.MustCompile(`^Session deposit [0-9a-f]{8}$`).MatchString(memo) || strings.Contains(memo, g.str("sessionId")[:8]) {
		t.Errorf("memo %q", memo)
	}
	api := d.want(d.call("POST", "/api/sessions", `{"amount_sats":500}`), 201, "")
	if api.str("sessionId") == g.str("sessionId") {
		t.Error("two sessions have one id")
	}
}

// TestCreateBindsTheKeyOfTheToken: an empty header hid a valid body token (D30),
// and two different tokens must not be a matter of luck.
func TestCreateBindsTheKeyOfTheToken(t *testing.T) {
	d := open(t, nil)
	tok := d.api.token(alice, d.clock().Add(time.Hour))
	other := d.api.token(bob, d.clock().Add(time.Hour))
	old := d.api.token(alice, d.clock())
	d.tier[alice] = timmy.TierTrusted
	const amount = `{"amount_sats":500}`
	inBody := func(s string) string { return `{"amount_sats":500,"nostr_token":"` + s + `"}` }
	bound := []struct{ body, header string }{
		{amount, "X-Nostr-Token: " + tok},
		{amount, "X-Nostr-Token:   " + tok + " "},
		{inBody(tok), "X: y"},
		{inBody(tok), "X-Nostr-Token: "},
		{inBody(" "), "X-Nostr-Token: " + tok},
		{inBody(tok), "X-Nostr-Token: " + tok},
	}
	for _, b := range bound {
		g := d.want(d.call("POST", "/sessions", b.body, b.header), 201, "")
		if g.str("nostrPubkey") != alice.String() || g.str("trust_tier") != "trusted" {
			t.Errorf("got %s", g.body)
		}
	}
	for _, b := range []struct{ body, header string }{
		{amount, "X-Nostr-Token: garbage"},
		{amount, "X-Nostr-Token: " + old},
		{amount, "X-Nostr-Token: " + tok[:len(tok)-1] + "!"},
		{amount, "X-Nostr-Token: " + strings.Repeat("A", 98)},
		{inBody(other), "X-Nostr-Token: " + tok},
		{inBody("garbage"), "X: y"},
	} {
		d.want(d.call("POST", "/sessions", b.body, b.header), 401, "Invalid or expired nostr_token")
	}
	d.want(d.call("POST", "/sessions", amount, "X-Nostr-Token: "+tok, "X-Nostr-Token: "+other), 401, "")
	for _, anonymous := range []string{inBody(""), `{"amount_sats":500,"nostr_token":5}`} {
		if g := d.want(d.call("POST", "/sessions", anonymous), 201, ""); g.str("trust_tier") != "anonymous" {
			t.Errorf("got %s", g.body)
		}
	}
	d.want(d.call("POST", "/sessions", `{"amount_sats":1}`, "X-Nostr-Token: garbage"), 400, amountText)
}

// TestBodiesAreBounded: every route that takes a body refuses bombs the same way.
func TestBodiesAreBounded(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	deep := func(n int) string {
		return `{"amount_sats":500,"request":"hi","x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
	}
	sized := func(n int) string {
		const head = `{"amount_sats":500,"request":"hi","x":"`
		return head + strings.Repeat("y", n-len(head)-2) + `"}`
	}
	for _, p := range []string{"/sessions", "/sessions/" + id + "/request", "/sessions/" + id + "/topup"} {
		d.want(d.call("POST", p, sized(65537), auth), 413, "request body too large")
		d.want(d.call("POST", p, `{"amount_sats":500,"request":"a","request":"b"}`, auth), 400, "body has a field twice")
		d.want(d.call("POST", p, `{"amount_sats":500,"request":"a","x":[{"y":1,"\u0079":2}]}`, auth), 400, "body has a field twice")
		d.want(d.call("POST", p, deep(33), auth), 400, "body is nested too deeply")
		d.want(d.call("POST", p, sized(100), auth, "Content-Encoding: gzip"), 415, "Content-Encoding is not supported")
		d.want(d.call("POST", p, `{"amount_sats":500,"request":"a"`, auth), 400, "")
	}
	for _, good := range []string{sized(65536), deep(32)} {
		d.want(d.call("POST", "/sessions", good), 201, "")
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/nostr+json+rpc"} {
		d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, "Content-Type: "+kind), 201, "")
	}
}

// TestCreateHidesCauses: the seed sent database and wallet errors to the caller
// (D27). A wallet that is away is 503 with Retry-After.
func TestCreateHidesCauses(t *testing.T) {
	d := open(t, nil)
	const body = `{"amount_sats":500}`
	secret := timmy.Errorf(timmy.Internal, "dial tcp 10.0.0.7:10009")
	d.wallet = func(timmy.TopUp) error { return secret }
	d.want(d.call("POST", "/sessions", body), 500, "Failed to create session")
	d.wallet = func(timmy.TopUp) error { return timmy.Errorf(timmy.Unavailable, "The wallet is away") }
	if g := d.want(d.call("POST", "/sessions", body), 503, "The wallet is away"); g.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.wallet = nil
	for _, m := range []string{"open", "tier"} {
		d.fail = func(method string) error {
			if method == m {
				return secret
			}
			return nil
		}
		d.want(d.call("POST", "/sessions", body, "X-Nostr-Token: "+d.api.token(alice, d.clock().Add(time.Hour))), 500, "Failed to create session")
	}
	d.fail = func(string) error { return timmy.Errorf(timmy.Unavailable, "storage") }
	d.want(d.call("POST", "/sessions", body), 503, "storage")
	d.fail = nil
	d.want(d.call("POST", "/sessions", body), 201, "")
}

// TestRemainderMovesToANewSession: the seed kept what was left of an expired
// anonymous session (D16). A wallet that fails in between loses nothing.
func TestRemainderMovesToANewSession(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	body := `{"amount_sats":100,"from_session":"` + id + `"}`
	d.want(d.call("POST", "/sessions", body, auth), 409, "Session is in state 'active'")
	d.pass(life + time.Second)
	d.want(d.call("POST", "/sessions", body), 401, msgBearer)
	d.want(d.call("POST", "/sessions", `{"amount_sats":100,"from_session":5}`, auth), 404, msgNoSession)
	d.wallet = func(timmy.TopUp) error { return timmy.Errorf(timmy.Unavailable, "away") }
	d.want(d.call("POST", "/sessions", body, auth), 503, "")
	d.wallet = nil
	g := d.want(d.call("POST", "/sessions", body, auth), 201, "")
	d.pay(t, g.str("invoice", "paymentHash"))
	if v := d.call("GET", "/sessions/"+g.str("sessionId"), ""); v.num("balanceSats") != 600 {
		t.Errorf("the new session has %s", v.body)
	}
	if v := d.call("GET", "/sessions/"+id, ""); v.num("balanceSats") != 0 || v.str("state") != "expired" {
		t.Errorf("the old session has %s", v.body)
	}
	if n := d.want(d.call("POST", "/sessions", body, auth), 201, ""); n.str("sessionId") == g.str("sessionId") {
		t.Error("a second session is the first")
	}
}

// TestCreateIsLimited: it is the one route that costs the wallet something.
func TestCreateIsLimited(t *testing.T) {
	d := open(t, func(c *Config, _ *world) { c.Limits = Limits{SessionsPerMinute: 60, SessionsBurst: 3} })
	for range 3 {
		d.want(d.call("POST", "/sessions", `{"amount_sats":500}`), 201, "")
	}
	g := d.want(d.call("POST", "/sessions", ``), 429, "Too many requests")
	if g.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.pass(time.Second)
	d.want(d.call("POST", "/sessions", `{"amount_sats":500}`), 201, "")
}

// TestRandomnessIsSharedSafely: readers of randomness need not be safe.
func TestRandomnessIsSharedSafely(t *testing.T) {
	n := byte(0)
	d := open(t, func(c *Config, _ *world) { c.Rand = counter{&n} })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { d.call("POST", "/sessions", `{"amount_sats":500}`) })
	}
	wg.Wait()
}

type counter struct{ n *byte }

func (c counter) Read(b []byte) (int, error) {
	for i := range b {
		*c.n++
		b[i] = *c.n * 31
	}
	return len(b), nil
}
