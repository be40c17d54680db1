package rest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/macaroon.v2"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/timmy-tower/timmy"
)

// paidly serves L402, with preimages that this test knows.
func paidly(t *testing.T) *door {
	return open(t, func(c *Config, w *world) {
		w.preimages = map[timmy.Hash][32]byte{}
		payable(t, false)(c, w)
	})
}

// ask calls POST /ask and reads its challenge.
func (d *door) ask(status int, headers ...with) got {
	d.t.Helper()
	return d.want(d.call("POST", "/ask", `{"request":"hi"}`, headers...), status, "")
}

// l402 pays a challenge and makes the header for it.
func (d *door) l402(g got) with {
	d.t.Helper()
	d.pay(d.t, g.str("invoice", "paymentHash"))
	return d.proof(g, g.str("macaroon"))
}

// proof is the header with a challenge's preimage, paid or not.
func (d *door) proof(g got, macaroon string) with {
	d.t.Helper()
	h, err := timmy.ParseHash(g.str("invoice", "paymentHash"))
	if err != nil {
		d.t.Fatal(err)
	}
	p := d.preimages[h]
	return "Authorization: L402 " + macaroon + ":" + hex.EncodeToString(p[:])
}

// attenuate adds caveats, as any holder can.
func attenuate(t testing.TB, token string, caveats ...string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	var m macaroon.Macaroon
	if err := m.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	for _, c := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = m.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// TestAChallengeIsReadByEveryClient: one header, which begins as Aperture's regular
// expression wants it and has the names of the specification too; the body says the
// same, in the form of our other errors.
func TestAChallengeIsReadByEveryClient(t *testing.T) {
	d := paidly(t)
	for _, path := range []string{"/ask", "/api/ask"} {
		g := d.want(d.call("POST", path, `{"request":"hi","amount_sats":250}`), 402, "Payment required: 250 sats")
		if f := fields(g.json); !maps.Equal(f, set("error", "balance", "minimumRequired", "macaroon", "invoice")) {
			t.Errorf("fields %v", f)
		}
		all := g.header.Values("Www-Authenticate")
		if len(all) != 1 {
			t.Fatalf("%d headers", len(all))
		}
		m := regexp.MustCompile(`(LSAT|L402) macaroon="(.*?)", invoice="(.*?)"`).FindStringSubmatch(all[0])
		if m == nil || m[1] != "L402" || m[2] != g.str("macaroon") || m[3] != g.str("invoice", "paymentRequest") {
			t.Errorf("header %q, body %s", all[0], g.body)
		}
		if want := `, version="0", token="` + m[2] + `"`; !strings.HasSuffix(all[0], want) {
			t.Errorf("header %q does not end in %s", all[0], want)
		}
		if expose := g.header.Get("Access-Control-Expose-Headers"); !strings.Contains(expose, "WWW-Authenticate") {
			t.Errorf("browsers may read %q", expose)
		}
		for id := range d.sessions {
			if strings.Contains(g.body+all[0], id) {
				t.Error("the challenge, which is shown around, names the session")
			}
		}
	}
	d.want(d.call("POST", "/ask", `{"amount_sats":250}`), 400, msgText)
	d.want(d.call("POST", "/ask", `{"request":"hi","amount_sats":1}`), 400, "amount_sats must be an integer between 100 and 10000")
	if g := d.ask(402); g.num("invoice", "amountSats") != 100 {
		t.Errorf("got %s", g.body)
	}
}

// TestAPaidChallengeIsAnAccount: not one call. The token asks until the money is
// used up; the next challenge pays into the same account, and both tokens work.
func TestAPaidChallengeIsAnAccount(t *testing.T) {
	d := paidly(t)
	first := d.ask(402)
	auth := d.l402(first)
	for left := 80; left >= 40; left -= 20 {
		if g := d.ask(200, auth); g.num("balanceRemaining") != left {
			t.Errorf("got %s", g.body)
		}
	}
	again := d.ask(402, auth)
	if again.num("balance") != 40 || again.str("macaroon") == first.str("macaroon") || len(d.sessions) != 1 {
		t.Errorf("got %s with %d sessions", again.body, len(d.sessions))
	}
	if g := d.ask(402, auth); g.str("invoice", "paymentHash") != again.str("invoice", "paymentHash") {
		t.Error("every call without money makes an invoice")
	}
	both := []with{auth, d.l402(again), strings.Replace(auth, "L402", "LSAT", 1), strings.Replace(auth, "L402", "l402", 1)}
	for n, a := range both[:3] {
		g := d.ask(200, a)
		if g.num("balanceRemaining") != 120-20*n {
			t.Errorf("got %s", g.body)
		}
		id := g.str("requestId")
		if f := d.want(d.call("GET", "/ask/"+id, "", a), 200, ""); f.body != g.body {
			t.Errorf("fetched %s, was told %s", f.body, g.body)
		}
		d.want(d.call("GET", "/ask/"+id, ""), 401, msgL402)
	}
	d.ask(200, both[3])
}

// TestAnExpiredBalanceIsRevived: what is left in a session whose time is over is
// its holder's; the challenge that follows pays into that session, not a new one.
func TestAnExpiredBalanceIsRevived(t *testing.T) {
	d := paidly(t)
	auth := d.l402(d.ask(402))
	d.pass(life + time.Second)
	g := d.ask(402, auth)
	if g.num("balance") != 100 {
		t.Errorf("got %s", g.body)
	}
	if g := d.ask(200, d.l402(g)); g.num("balanceRemaining") != 180 || len(d.sessions) != 1 {
		t.Errorf("got %s", g.body)
	}
	for _, s := range d.sessions {
		s.State, s.Moved = timmy.SessionExpired, true
	}
	d.want(d.call("POST", "/ask", `{"request":"hi"}`, auth), 410, msgExpired) // paying it would credit somebody else's token
}

// TestAPreimageIsNotAPayment: some wallets tell it before they are paid. The book
// decides, here and on the session's routes.
func TestAPreimageIsNotAPayment(t *testing.T) {
	d := paidly(t)
	g := d.ask(402)
	auth := d.proof(g, g.str("macaroon"))
	for range maxSettling {
		d.api.settling <- struct{}{}
	}
	if g := d.want(d.call("POST", "/ask", `{"request":"hi"}`, auth), 503, "The payment has not been seen yet"); g.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	id, bearer := d.funded("500")
	s, _ := d.Session(context.Background(), id)
	unpaid := d.api.mint(useL402, timmy.Hash(mustHash(t, g.str("invoice", "paymentHash"))), s, d.api.challengeCaveats(s))
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, d.proof(g, unpaid)), 401, msgBearer)
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, bearer), 200, "")
	if d.runs != 1 {
		t.Errorf("%d ran", d.runs)
	}
}

func mustHash(t testing.TB, s string) timmy.Hash {
	t.Helper()
	h, err := timmy.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestAPayerWhoIsEarlyWaits: the payer's wallet has the preimage before our book
// knows. To answer 402 would make its client pay twice.
func TestAPayerWhoIsEarlyWaits(t *testing.T) {
	d := paidly(t)
	g := d.ask(402)
	d.mu.Lock()
	d.landing[mustHash(t, g.str("invoice", "paymentHash"))] = true
	d.mu.Unlock()
	if g := d.ask(200, d.proof(g, g.str("macaroon"))); g.num("balanceRemaining") != 80 || d.checks == 0 {
		t.Errorf("got %s after %d checks", g.body, d.checks)
	}
}

// TestForeignTokensAreRefused: tampered, of another tower, for another payment,
// widened, expired, or written so that nobody knows what is meant.
func TestForeignTokensAreRefused(t *testing.T) {
	d := paidly(t)
	g := d.ask(402)
	good := d.l402(g)
	d.ask(200, good)
	token, preimage := g.str("macaroon"), good[strings.LastIndexByte(good, ':')+1:]
	other := d.ask(402)
	theirs := d.l402(other)
	tower := open(t, func(c *Config, w *world) { c.ServerKey = []byte(strings.Repeat("x", 32)) }).api
	s, _ := d.Session(context.Background(), only(t, d, mustHash(t, g.str("invoice", "paymentHash"))))
	foreign := tower.mint(useL402, mustHash(t, g.str("invoice", "paymentHash")), s, tower.challengeCaveats(s))
	raw, _ := base64.StdEncoding.DecodeString(token)
	for i := range raw {
		if i >= 3 && i < 8 {
			continue // the location, a hint that no signature covers
		}
		spoiled := append([]byte(nil), raw...)
		spoiled[i] ^= 1
		d.ask(401, d.proof(g, base64.StdEncoding.EncodeToString(spoiled)))
	}
	past := strconv.FormatInt(d.clock().Unix(), 10)
	for name, header := range map[string]with{
		"of another tower":    d.proof(g, foreign),
		"another's preimage":  strings.Replace(theirs, other.str("macaroon"), token, 1),
		"a wrong preimage":    "Authorization: L402 " + token + ":" + strings.Repeat("0", 64),
		"no preimage":         "Authorization: L402 " + token,
		"short preimage":      "Authorization: L402 " + token + ":" + preimage[:62],
		"as a bearer":         "Authorization: Bearer " + token,
		"truncated":           d.proof(g, token[:len(token)-8]),
		"no macaroon":         "Authorization: L402 :" + preimage,
		"too many":            d.proof(g, strings.Repeat(token+",", maxMacaroons)+token),
		"too long":            d.proof(g, attenuate(t, token, strings.Repeat("x", 4000))),
		"too many caveats":    d.proof(g, attenuate(t, token, strings.Split(strings.Repeat("a=b,", maxCaveats)+"a=b", ",")...)),
		"expired":             d.proof(g, attenuate(t, token, "timmy_valid_until="+past)),
		"expiry widened":      d.proof(g, attenuate(t, token, "timmy_valid_until=99999999999")),
		"expiry unreadable":   d.proof(g, attenuate(t, token, "timmy_valid_until=soon")),
		"maximum widened":     d.proof(g, attenuate(t, token, "timmy_max_sats=10001")),
		"maximum negative":    d.proof(g, attenuate(t, token, "timmy_max_sats=-1")),
		"another service":     d.proof(g, attenuate(t, token, "services=weather:0")),
		"capability widened":  d.proof(g, attenuate(t, token, "timmy_capabilities=chat", "timmy_capabilities=chat,account")),
		"unknown capability":  d.proof(g, attenuate(t, token, "timmy_capabilities=admin")),
		"without what we ask": d.proof(g, attenuate(t, token, "timmy_capabilities=account")),
		"another scheme":      "Authorization: Basic dGltbXk6dGltbXk=",
	} {
		if got := d.call("POST", "/ask", `{"request":"hi"}`, header); got.status != 401 || got.header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	d.ask(401, good, good)
	for name, header := range map[string]with{
		"url alphabet":    d.proof(g, strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(token), "=")),
		"a list":          d.proof(g, other.str("macaroon")+","+token),
		"unknown caveats": d.proof(g, attenuate(t, token, "color=green", "note")),
		"narrowed":        d.proof(g, attenuate(t, token, "timmy_max_sats=50", "timmy_max_sats=20", "timmy_capabilities=chat")),
	} {
		d.sessions[s.ID].posted = 100 * timmy.Sat
		if got := d.call("POST", "/ask", `{"request":"hi"}`, header); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// only is the session that an invoice belongs to.
func only(t testing.TB, d *door, h timmy.Hash) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.invoices[h]
	if f == nil {
		t.Fatalf("no invoice %s", h)
	}
	return f.session
}

// TestANarrowedTokenStaysNarrow: handed on, it may cost so much and no more, may not
// touch the account, and what it is offered to pay for is as narrow.
func TestANarrowedTokenStaysNarrow(t *testing.T) {
	d := paidly(t)
	g := d.ask(402)
	whole := d.l402(g)
	id := only(t, d, mustHash(t, g.str("invoice", "paymentHash")))
	narrow := d.proof(g, attenuate(t, g.str("macaroon"), "timmy_capabilities=chat", "timmy_max_sats=30"))
	var most timmy.Msat
	d.work = func(r timmy.Request) { most = r.PriceMax }
	d.ask(200, narrow)
	if most != 30*timmy.Sat {
		t.Errorf("may cost %d msat", most)
	}
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, narrow), 200, "")
	d.want(d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":100}`, narrow), 401, msgBearerShort)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", narrow), 401, msgBearer)
	d.sessions[id].posted = 0
	more := d.ask(402, narrow)
	paid := d.l402(more)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", paid), 401, msgBearer)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", whole), 200, "")
}

// TestASessionsMacaroonIsOne: it is a macaroon, works as a bearer, at /ask, and with
// the preimage of the deposit; a bearer made before bearers were macaroons stays good.
func TestASessionsMacaroonIsOne(t *testing.T) {
	d := paidly(t)
	id, auth := d.funded("500")
	g := d.want(d.call("GET", "/sessions/"+id, ""), 200, "")
	shown := g.str("macaroon")
	if auth != "Authorization: Bearer "+shown || shown != d.call("GET", "/sessions/"+id, "").str("macaroon") {
		t.Errorf("shown %q, presented %q", shown, auth)
	}
	s, _ := d.Session(context.Background(), id)
	d.ask(200, auth)
	body := got{json: map[string]any{"invoice": map[string]any{"paymentHash": s.Paid.String()}}}
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, d.proof(body, shown)), 200, "")
	old := "Authorization: Bearer " + d.api.secret(s)
	if len(d.api.secret(s)) != 64 {
		t.Error("an old bearer is 64 hex digits")
	}
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, old), 200, "")
	d.ask(401, old) // it names no session
	short := attenuate(t, shown, "timmy_valid_until="+strconv.FormatInt(d.clock().Add(time.Minute).Unix(), 10))
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", "Authorization: Bearer "+short), 200, "")
	d.pass(2 * time.Minute)
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", "Authorization: Bearer "+short), 401, msgBearer)
	_, other := d.funded("500")
	d.want(d.call("DELETE", "/sessions/"+id+"/history", "", other), 401, msgBearer)
}

// TestChallengesAreLimited: each makes a session and an invoice for somebody who may
// never pay. Who holds a token is not counted.
func TestChallengesAreLimited(t *testing.T) {
	d := open(t, func(c *Config, w *world) {
		w.preimages = map[timmy.Hash][32]byte{}
		payable(t, false)(c, w)
		c.Limits = Limits{SessionsPerMinute: 1, SessionsBurst: 2, PerMinute: 1, Burst: 4}
	})
	auth := d.l402(d.ask(402))
	d.ask(402)
	d.ask(429)
	for range 3 {
		d.ask(200, auth)
	}
}

// FuzzAuthorization: whatever the header holds, what is taken as a token has a chain
// of ours, and with L402 its payment is proven by the preimage.
func FuzzAuthorization(f *testing.F) {
	a := &API{cfg: Config{ServerKey: []byte(strings.Repeat("k", 32)), Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, MaxDeposit: timmy.Sat}}
	var err error
	if a.tokensOf, err = lru.New[string, token](maxTokens); err != nil {
		f.Fatal(err)
	}
	s := timmy.Session{ID: "00000000-0000-4000-8000-000000000000", Bearer: 1, Paid: timmy.Hash{1}}
	good := a.bearer(s)
	f.Add("Bearer " + good)
	f.Add("L402 " + a.mint(useL402, timmy.Hash{1}, s, a.challengeCaveats(s)) + ":" + strings.Repeat("0", 64))
	f.Add("LSAT " + good + "," + good + ":" + strings.Repeat("0", 64))
	f.Add("L402 ::")
	f.Add("Bearer " + a.secret(s))
	f.Fuzz(func(t *testing.T, header string) {
		h := http.Header{"Authorization": {header}}
		for _, tok := range a.tokens(h) {
			want := a.caveats(s)
			if len(tok.id) != 32 || len(tok.caveats) < len(want) || tok.caveats[0] != want[0] {
				t.Fatalf("%q gives %+v", header, tok)
			}
			if _, hash, ok := l402Of(h); ok && hash != tok.hash {
				t.Fatalf("%q is not proven", header)
			}
			a.granted(tok.caveats)
		}
		a.checked(h, s)
	})
}
