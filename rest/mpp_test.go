package rest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// mppDoor serves the scheme Payment, with refunds and with preimages that this test knows.
func mppDoor(t *testing.T) (*door, *fakeRefunds) {
	f := &fakeRefunds{made: map[string]*timmy.Refund{}, state: timmy.RefundPaid}
	d := open(t, func(c *Config, w *world) {
		w.preimages = map[timmy.Hash][32]byte{}
		payable(t, false)(c, w)
		f.world, c.Refunds, c.PaymentNetwork = w, f, "regtest"
	})
	return d, f
}

// offered reads the challenges of a 402, by intent.
func offered(t testing.TB, g got) map[string]payChallenge {
	t.Helper()
	out := map[string]payChallenge{}
	form := regexp.MustCompile(`^Payment id="([\w-]+)", realm="([\w.]+)", method="(\w+)", intent="(\w+)", request="([\w-]+)", expires="([^"]+)"$`)
	for _, h := range g.header.Values("Www-Authenticate")[1:] {
		m := form.FindStringSubmatch(h)
		if m == nil {
			t.Fatalf("header %s", h)
		}
		out[m[4]] = payChallenge{ID: m[1], Realm: m[2], Method: m[3], Intent: m[4], Request: m[5], Expires: m[6]}
	}
	return out
}

// request is what a challenge asks for, as a client reads it.
func (p payChallenge) request(t testing.TB) (m map[string]any) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(p.Request)
	if err != nil || json.Unmarshal(b, &m) != nil {
		t.Fatalf("request %s: %v", p.Request, err)
	}
	return m
}

// hash is the payment that a challenge asks for.
func (p payChallenge) hash(t testing.TB) string {
	t.Helper()
	m := p.request(t)
	if details, ok := m["methodDetails"].(map[string]any); ok {
		m = details
	}
	h, _ := m["paymentHash"].(string)
	return h
}

func (d *door) preimage(hash string) string {
	d.t.Helper()
	p := d.preimages[mustHash(d.t, hash)]
	return hex.EncodeToString(p[:])
}

// payment is the header of a credential.
func payment(t testing.TB, challenge any, payload map[string]string) with {
	t.Helper()
	b, err := json.Marshal(map[string]any{"challenge": challenge, "payload": payload, "source": "did:key:z6Mk"})
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Payment " + base64.RawURLEncoding.EncodeToString(b)
}

// receiptOf reads Payment-Receipt.
func receiptOf(t testing.TB, g got) (m map[string]any) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(g.header.Get("Payment-Receipt"))
	if err != nil || json.Unmarshal(b, &m) != nil {
		t.Fatalf("receipt %q: %v", g.header.Get("Payment-Receipt"), err)
	}
	return m
}

const returnInvoice = "lnbcrt1return"

// opened pays a challenge and asks by the action open.
func (d *door) opened(g got) (challenge payChallenge, session string, first got) {
	d.t.Helper()
	challenge = offered(d.t, g)[intentSession]
	session = challenge.hash(d.t)
	d.pay(d.t, session)
	first = d.ask(200, payment(d.t, challenge, map[string]string{
		"action": actionOpen, "preimage": d.preimage(session), "returnInvoice": returnInvoice,
	}))
	return challenge, session, first
}

// TestPaymentIsOfferedWhereItIsWanted: off by default; on, the same invoice is asked for by
// all schemes, L402 first; a session only where its end gives money back. The requests are
// canonical JSON, and say what the drafts want.
func TestPaymentIsOfferedWhereItIsWanted(t *testing.T) {
	if h := paidly(t).ask(402).header.Values("Www-Authenticate"); len(h) != 1 {
		t.Errorf("without the setting: %q", h)
	}
	noRefunds := open(t, func(c *Config, w *world) { payable(t, false)(c, w); c.PaymentNetwork = "regtest" })
	if h := noRefunds.ask(402).header.Values("Www-Authenticate"); len(h) != 2 || !strings.Contains(h[1], `intent="charge"`) {
		t.Errorf("without refunds: %q", h)
	}
	d, _ := mppDoor(t)
	g := d.ask(402)
	if h := g.header.Values("Www-Authenticate"); len(h) != 3 || !strings.HasPrefix(h[0], "L402 ") || g.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %q, %q", h, g.header.Get("Cache-Control"))
	}
	hash, bolt11 := g.str("invoice", "paymentHash"), g.str("invoice", "paymentRequest")
	want := map[string]map[string]any{
		intentCharge: {
			"amount": "100", "currency": "sat",
			"methodDetails": map[string]any{"invoice": bolt11, "network": "regtest", "paymentHash": hash},
		},
		intentSession: {
			"amount": "50", "currency": "sat", "unitType": "request", "depositAmount": "100", "depositInvoice": bolt11,
			"paymentHash": hash, "idleTimeout": "86400",
		},
	}
	for intent, p := range offered(t, g) {
		canonical, err := json.Marshal(want[intent]) // sorts, as RFC 8785 does
		if err != nil || p.Request != base64.RawURLEncoding.EncodeToString(canonical) {
			t.Errorf("%s asks for %v", intent, p.request(t))
		}
		at, err := time.Parse(time.RFC3339, p.Expires)
		if err != nil || at.After(d.clock().Add(time.Hour)) || p.Realm != "tower.example" || p.Method != "lightning" {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

// TestACallerNamesWhatItCanPay: some clients read one challenge, the first.
func TestACallerNamesWhatItCanPay(t *testing.T) {
	d, _ := mppDoor(t)
	for accept, want := range map[string]string{
		"lightning/charge":                          "charge",
		"lightning/session":                         "session",
		"lightning/*":                               "charge session",
		"tempo/charge, lightning/charge":            "charge",
		"lightning/charge;q=0.5, lightning/session": "session charge",
		"lightning/charge;q=0, lightning/session":   "session",
		"lightning/session;q=0.1,lightning/charge":  "charge session",
		"lightning/charge;q=x":                      "charge",
		"tempo/charge":                              "L402 charge session",
		"lightning/other":                           "charge session",
		"*/*":                                       "L402 charge session",
		strings.Repeat(",;/", 100):                  "L402 charge session",
	} {
		var got []string
		for _, h := range d.ask(402, "Accept-Payment: "+accept).header.Values("Www-Authenticate") {
			if m := regexp.MustCompile(`^(L402)|intent="(\w+)"`).FindStringSubmatch(h); m != nil {
				got = append(got, m[1]+m[2])
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: offered %v", accept, got)
		}
	}
}

// TestAChargeIsGoodForOneRequest: the same call gets the same answer, another one a
// new challenge; and what is left belongs to who paid.
func TestAChargeIsGoodForOneRequest(t *testing.T) {
	d, _ := mppDoor(t)
	g := d.ask(402)
	p := offered(t, g)[intentCharge]
	hash := p.hash(t)
	d.pay(t, hash)
	auth := payment(t, p, map[string]string{"preimage": d.preimage(hash)})
	first := d.ask(200, auth)
	again := d.ask(200, auth)
	if first.body != again.body || again.header.Get("Idempotency-Replayed") != "true" || d.runs != 1 {
		t.Errorf("%s, then %s; %d ran", first.body, again.body, d.runs)
	}
	r := receiptOf(t, again)
	if r["status"] != "success" || r["method"] != "lightning" || r["reference"] != hash || r["challengeId"] != p.ID || len(r) != 5 {
		t.Errorf("receipt %v", r)
	}
	other := d.call("POST", "/ask", `{"request":"something else"}`, auth)
	d.problem(other, badChallenge)
	if fresh := offered(t, other)[intentCharge]; fresh.hash(t) == hash {
		t.Error("the challenge is the old one")
	}
	id := first.str("requestId")
	if f := d.want(d.call("GET", "/ask/"+id, "", auth), 200, ""); f.body != first.body {
		t.Errorf("fetched %s", f.body)
	}
	d.want(d.call("POST", "/ask/refund", `{"destination":"me@x.example"}`, auth), 401, msgL402)
	l402 := d.proof(g, g.str("macaroon"))
	if g := d.ask(200, l402); g.num("balanceRemaining") != 60 {
		t.Errorf("what was left: %s", g.body)
	}
}

// problem checks a refusal: 402, problem details, and challenges to start anew from.
func (d *door) problem(g got, kind string) {
	d.t.Helper()
	if g.status != 402 || g.header.Get("Content-Type") != problemType || g.str("type") != problemBase+kind || g.num("status") != 402 ||
		g.str("title") == "" || g.str("detail") == "" || g.header.Get("Payment-Receipt") != "" {
		d.t.Errorf("want %s, got %d %s", kind, g.status, g.body)
		return
	}
	if len(offered(d.t, g)) != 2 {
		d.t.Errorf("%s: challenges %v", kind, g.header.Values("Www-Authenticate"))
	}
}

// TestASessionIsOpenedUsedToppedUpAndClosed as draft-lightning-session has it.
func TestASessionIsOpenedUsedToppedUpAndClosed(t *testing.T) {
	d, f := mppDoor(t)
	p, session, first := d.opened(d.ask(402))
	if first.num("balanceRemaining") != 80 || receiptOf(t, first)["reference"] != session {
		t.Errorf("open: %s", first.body)
	}
	proof := map[string]string{"action": actionBearer, "sessionId": session, "preimage": d.preimage(session)}
	bearer := payment(t, p, proof)
	for left := 60; left >= 40; left -= 20 {
		if g := d.ask(200, bearer); g.num("balanceRemaining") != left || receiptOf(t, g)["reference"] != session {
			t.Errorf("got %s", g.body)
		}
	}
	if g := d.want(d.call("GET", "/ask/"+first.str("requestId"), "", bearer), 200, ""); g.body != first.body {
		t.Errorf("fetched %s", g.body)
	}
	short := d.ask(402, bearer)
	d.problem(short, balanceTooSmall)

	// The challenge of the refusal pays into the session; that of a stranger's call
	// makes one of its own, which is joined.
	for n, g := range []got{short, d.ask(402)} {
		topUp := offered(t, g)[intentSession]
		d.pay(t, topUp.hash(t))
		auth := payment(t, topUp, map[string]string{"action": actionTopUp, "sessionId": session, "topUpPreimage": d.preimage(topUp.hash(t))})
		for range 2 {
			if g := d.want(d.call("POST", "/ask", "", auth), 200, ""); g.body != `{"status":"ok"}` || receiptOf(t, g)["reference"] != session {
				t.Errorf("top-up: %s", g.body)
			}
		}
		if g := d.ask(200, bearer); g.num("balanceRemaining") != 120+80*n {
			t.Errorf("after top-up %d: %s", n, g.body)
		}
	}

	proof["action"] = actionClose
	end := payment(t, p, proof)
	g := d.want(d.call("POST", "/ask", "", end), 200, "")
	if g.body != `{"status":"closed","refundSats":190,"refundStatus":"succeeded"}` {
		t.Errorf("close: %s", g.body)
	}
	if r := receiptOf(t, g); r["refundSats"] != float64(190) || r["refundStatus"] != "succeeded" || len(r) != 7 {
		t.Errorf("receipt %v", r)
	}
	if again := d.call("POST", "/ask", "", end); again.body != g.body || len(f.made) != 1 {
		t.Errorf("closed again: %s, %d refunds", again.body, len(f.made))
	}
	for _, r := range f.made {
		if r.To != returnInvoice {
			t.Errorf("paid to %s", r.To)
		}
	}
	d.problem(d.ask(402, bearer), sessionClosed)
	renewed := offered(t, short)[intentSession] // a challenge of the same session is as good
	d.problem(d.call("POST", "/ask", "", payment(t, renewed, proof)), sessionClosed)
}

// TestAPreimageAloneOpensNothing: whoever forwarded the payment has it, or paid a
// session's top-up for somebody else. The challenge must be one that asked for money for
// the same session: strangers are shown none.
func TestAPreimageAloneOpensNothing(t *testing.T) {
	d, f := mppDoor(t)
	_, session, _ := d.opened(d.ask(402))
	id, auth := d.funded("500")
	g := d.want(d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":100}`, auth), 200, "")
	friend := g.str("topup", "paymentHash")
	d.pay(t, friend)
	ran, stranger := d.runs, offered(t, d.ask(402))[intentSession]
	for _, h := range []string{session, friend} {
		for _, action := range []string{actionBearer, actionClose} {
			proof := map[string]string{"action": action, "sessionId": h, "preimage": d.preimage(h)}
			d.problem(d.ask(402, payment(t, stranger, proof)), badChallenge)
			d.want(d.call("GET", "/ask/"+id, "", payment(t, stranger, proof)), 401, msgL402)
		}
	}
	if d.runs != ran || len(f.made) != 0 {
		t.Errorf("%d ran, %d were refunded", d.runs-ran, len(f.made))
	}
}

// TestHowACloseEnds without a refund: nothing to give, the day's maximum, no way to the
// wallet, a wallet that has not said yet, and one that is away.
func TestHowACloseEnds(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*door, *fakeRefunds)
		status  int
		want    string
	}{
		"nothing left": {func(d *door, _ *fakeRefunds) {
			for _, s := range d.sessions {
				s.posted = 5 * timmy.Sat
			}
		}, 200, `{"status":"closed","refundSats":0,"refundStatus":"skipped"}`},
		"the day's maximum": {func(d *door, _ *fakeRefunds) {
			d.fail = only1("refund", timmy.Errorf(timmy.Limited, "tomorrow"))
		}, 200, `{"status":"closed","refundSats":80,"refundStatus":"failed"}`},
		"no way":      {func(_ *door, f *fakeRefunds) { f.state = timmy.RefundFailed }, 200, `{"status":"closed","refundSats":70,"refundStatus":"failed"}`},
		"not yet":     {func(_ *door, f *fakeRefunds) { f.state = timmy.RefundSending }, 202, `{"status":"closed","refundSats":70,"refundStatus":"pending"}`},
		"wallet away": {func(d *door, _ *fakeRefunds) { d.fail = only1("refund", timmy.Errorf(timmy.Unavailable, "away")) }, 503, `{"error":"away"}`},
	} {
		d, f := mppDoor(t)
		p, session, _ := d.opened(d.ask(402))
		c.prepare(d, f)
		end := payment(t, p, map[string]string{"action": actionClose, "sessionId": session, "preimage": d.preimage(session)})
		if g := d.call("POST", "/ask", "", end); g.status != c.status || g.body != c.want {
			t.Errorf("%s: %d %s", name, g.status, g.body)
		}
		d.fail, f.state = nil, timmy.RefundPaid
		for id, r := range f.made {
			if r.State == timmy.RefundSending {
				s, _ := r.Account.Session()
				f.end(d.sessions[s], f.made[id], timmy.RefundPaid)
			}
		}
		if g := d.want(d.call("POST", "/ask", "", end), 200, ""); !strings.Contains(g.body, `"status":"closed"`) {
			t.Errorf("%s, again: %s", name, g.body)
		}
	}
}

// only1 fails one method of the world.
func only1(method string, err error) func(string) error {
	return func(m string) error {
		if m == method {
			return err
		}
		return nil
	}
}

// TestBadPaymentsAreRefused, each with its problem and a way to start anew; nothing runs
// and nothing moves.
func TestBadPaymentsAreRefused(t *testing.T) {
	d, _ := mppDoor(t)
	p, session, _ := d.opened(d.ask(402))
	charge := offered(t, d.ask(402))[intentCharge]
	d.pay(t, charge.hash(t))
	good := map[string]string{"action": actionBearer, "sessionId": session, "preimage": d.preimage(session)}
	but := func(changes ...string) map[string]string {
		m := maps.Clone(good)
		for i := 0; i < len(changes); i += 2 {
			if m[changes[i]] = changes[i+1]; changes[i+1] == "" {
				delete(m, changes[i])
			}
		}
		return m
	}
	challenge := func(change func(*payChallenge)) payChallenge { c := p; change(&c); return c }
	tower, _ := mppDoor(t)
	tower.api.cfg.ServerKey = []byte(strings.Repeat("x", 32))
	foreign := p
	foreign.ID = tower.api.challengeID(p)
	ran, unpaid := d.runs, offered(t, d.ask(402))[intentSession]
	d.pass(2 * time.Hour)
	for range maxSettling {
		d.api.settling <- struct{}{}
	}
	for name, c := range map[string]struct {
		header with
		want   string
	}{
		"no token":               {"Authorization: Payment", badCredential},
		"not base64":             {"Authorization: Payment {}", badCredential},
		"not JSON":               {"Authorization: Payment e30x", badCredential},
		"no object":              {"Authorization: Payment W10", badCredential},
		"empty object":           {"Authorization: Payment e30", badChallenge},
		"too long":               {"Authorization: Payment " + strings.Repeat("A", maxPayment+1), badCredential},
		"no action":              {payment(t, p, but("action", "")), badCredential},
		"unknown action":         {payment(t, p, but("action", "steal")), badCredential},
		"no preimage":            {payment(t, p, but("preimage", "")), badCredential},
		"short preimage":         {payment(t, p, but("preimage", good["preimage"][:62])), badCredential},
		"no session":             {payment(t, p, but("sessionId", "")), badCredential},
		"open without return":    {payment(t, p, but("action", actionOpen)), badCredential},
		"return that is no such": {payment(t, p, but("action", actionOpen, "returnInvoice", "lnbc1x")), badReturn},
		"wrong preimage":         {payment(t, p, but("preimage", strings.Repeat("0", 64))), badPreimage},
		"another's preimage":     {payment(t, p, but("preimage", d.preimage(charge.hash(t)))), badPreimage},
		"of another tower":       {payment(t, foreign, good), badChallenge},
		"tampered request":       {payment(t, challenge(func(c *payChallenge) { c.Request = charge.Request }), good), badChallenge},
		"tampered intent":        {payment(t, challenge(func(c *payChallenge) { c.Intent = intentCharge }), good), badChallenge},
		"tampered expiry":        {payment(t, challenge(func(c *payChallenge) { c.Expires = "2099-01-01T00:00:00Z" }), good), badChallenge},
		"tampered realm":         {payment(t, challenge(func(c *payChallenge) { c.Realm = "evil.example" }), good), badChallenge},
		"tampered method":        {payment(t, challenge(func(c *payChallenge) { c.Method = "tempo" }), good), badChallenge},
		"with opaque":            {payment(t, challenge(func(c *payChallenge) { c.Opaque = "e30" }), good), badChallenge},
		"an unpaid challenge": {payment(t, unpaid, map[string]string{
			"action": actionOpen, "preimage": d.preimage(unpaid.hash(t)), "returnInvoice": returnInvoice,
		}), lateChallenge},
		"an unknown session": {payment(t, p, but("sessionId", strings.Repeat("66", 32), "preimage", strings.Repeat("00", 32))), badPreimage},
		"a top-up that is unpaid": {payment(t, unpaid, map[string]string{
			"action": actionTopUp, "sessionId": session, "topUpPreimage": d.preimage(unpaid.hash(t)),
		}), lateChallenge},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			d.problem(d.ask(402, c.header), c.want)
		})
	}
	d.t = t
	if d.runs != ran {
		t.Errorf("%d ran", d.runs-ran)
	}
	two := payment(t, p, good)
	d.want(d.call("POST", "/ask", `{"request":"hi"}`, two, two), 401, msgL402)
	d.want(d.call("GET", "/ask/"+session, "", payment(t, foreign, good)), 401, msgL402)
	d.ask(200, payment(t, p, good))
	if off := paidly(t).ask(401, payment(t, p, good)); off.header.Get("Www-Authenticate") == "" {
		t.Error("no challenge where the scheme is off")
	}
}

// TestAClosedDoorKeepsPaymentsIn: a session that was never opened has no invoice to give
// its money back to; a payment that the wallet told but the book does not know is waited for.
func TestAClosedDoorKeepsPaymentsIn(t *testing.T) {
	d, _ := mppDoor(t)
	p := offered(t, d.ask(402))[intentSession]
	h := p.hash(t)
	end := payment(t, p, map[string]string{"action": actionClose, "sessionId": h, "preimage": d.preimage(h)})
	d.mu.Lock()
	d.landing[mustHash(t, h)] = true
	d.mu.Unlock()
	d.problem(d.call("POST", "/ask", "", end), noSuchSession)
	if d.checks == 0 {
		t.Error("the wallet was not asked")
	}
	d.ask(200, payment(t, p, map[string]string{"action": actionBearer, "sessionId": h, "preimage": d.preimage(h)}))
}

// TestABoundSessionNeedsItsKey: who runs the payer's wallet has the preimage, too. A
// session that is bound to a Nostr key needs the key's token besides.
func TestABoundSessionNeedsItsKey(t *testing.T) {
	d, _ := mppDoor(t)
	token := "X-Nostr-Token: " + d.api.token(alice, d.clock().Add(time.Hour))
	other := "X-Nostr-Token: " + d.api.token(bob, d.clock().Add(time.Hour))
	g := d.ask(402, token)
	p := offered(t, g)[intentSession]
	h := p.hash(t)
	d.pay(t, h)
	open := payment(t, p, map[string]string{"action": actionOpen, "preimage": d.preimage(h), "returnInvoice": returnInvoice})
	d.ask(401, open)
	d.ask(401, open, other)
	if g := d.ask(200, open, token); g.num("balanceRemaining") != 80 {
		t.Errorf("got %s", g.body)
	}
	s, err := d.Session(context.Background(), only(t, d, mustHash(t, h)))
	if err != nil || s.Owner != alice {
		t.Errorf("bound to %s, %v", s.Owner, err)
	}
	d.want(d.call("POST", "/ask", `{"request":"hi"}`, "X-Nostr-Token: x"), http.StatusUnauthorized, msgToken)
}
