package rest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// fakeRefunds reserve in the world's sessions. state is how each ends; pending:
// it does not, until a test says so.
type fakeRefunds struct {
	*world
	made  map[string]*timmy.Refund
	state timmy.RefundState
}

func (f *fakeRefunds) Order(_ context.Context, o timmy.RefundOrder) (timmy.Refund, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.made[o.ID]; r != nil {
		return *r, nil
	}
	if err := f.fault("refund"); err != nil {
		return timmy.Refund{}, err
	}
	id, _ := o.Account.Session()
	s := f.sessions[id]
	if o.Amount == 0 {
		o.Amount = s.posted - s.held - 10*timmy.Sat
	}
	if o.Amount <= 0 || s.posted-s.held < o.Amount+10*timmy.Sat {
		return timmy.Refund{}, timmy.Errorf(timmy.Unpaid, "That is more than there is")
	}
	s.held += o.Amount + 10*timmy.Sat
	r := &timmy.Refund{ID: o.ID, Account: o.Account, To: o.To, Amount: o.Amount, Fee: 10 * timmy.Sat, State: timmy.RefundSending}
	f.made[o.ID] = r
	f.end(s, r, f.state)
	return *r, nil
}

// end ends a refund that is under way.
func (f *fakeRefunds) end(s *fakeSession, r *timmy.Refund, state timmy.RefundState) {
	if !state.Final() {
		return
	}
	r.State = state
	s.held -= r.Amount + r.Fee
	if r.Fee = 1500; state == timmy.RefundPaid {
		s.posted -= r.Amount + r.Fee
	} else {
		r.Reason = "No route to that wallet was found."
	}
}

func (f *fakeRefunds) Await(_ context.Context, r timmy.Refund) timmy.Refund { return r }

func (f *fakeRefunds) Of(_ context.Context, id string) (timmy.Refund, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fault("refunds"); err != nil {
		return timmy.Refund{}, err
	}
	if r := f.made[id]; r != nil {
		return *r, nil
	}
	return timmy.Refund{}, timmy.Errorf(timmy.NotFound, "there is no such refund")
}

func refunding(t *testing.T) (*door, *fakeRefunds) {
	f := &fakeRefunds{made: map[string]*timmy.Refund{}, state: timmy.RefundPaid}
	d := open(t, func(c *Config, w *world) {
		w.preimages = map[timmy.Hash][32]byte{}
		payable(t, false)(c, w)
		f.world, c.Refunds = w, f
	})
	return d, f
}

// TestWhatIsUnspentGoesBack to who has the bearer and nobody else, also after the
// session's end; the answer has the fields of the document.
func TestWhatIsUnspentGoesBack(t *testing.T) {
	d, f := refunding(t)
	id, auth := d.funded("500")
	_, stranger := d.funded("500")
	p := "/sessions/" + id + "/refund"
	for _, bad := range []string{"", "{}", "[]", `{"destination":""}`, `{"destination":7}`} {
		d.want(d.call("POST", p, bad, auth), 400, msgDestination)
	}
	d.want(d.call("POST", p, `{"destination":"me@x.example","amount_sats":0}`, auth), 400, "amount_sats must be a positive integer")
	const body = `{"destination":"me@x.example","amount_sats":100}`
	d.want(d.call("POST", "/sessions/unknown/refund", body, auth), 404, msgNoSession)
	d.want(d.call("POST", p, body), 401, msgBearer)
	d.want(d.call("POST", p, body, stranger), 401, msgBearer)
	d.want(d.call("POST", p, `{"destination":"me@x.example","amount_sats":491}`, auth), 402, "That is more than there is")
	g := d.want(d.call("POST", p, body, auth), 200, "")
	if fs := fields(g.json); !maps.Equal(fs, set("refundId", "state", "amountSats", "feeMsat")) || g.str("state") != "paid" || g.num("amountSats") != 100 || g.num("feeMsat") != 1500 {
		t.Errorf("got %s", g.body)
	}
	at := "/sessions/" + id + "/refunds/" + g.str("refundId")
	if again := d.want(d.call("GET", at, "", auth), 200, ""); again.body != g.body {
		t.Errorf("read %s, was told %s", again.body, g.body)
	}
	other, itsAuth := d.funded("500")
	d.want(d.call("GET", "/sessions/"+other+"/refunds/"+g.str("refundId"), "", itsAuth), 404, msgNoRefund)
	d.want(d.call("GET", "/sessions/"+id+"/refunds/x", "", auth), 404, msgNoRefund)
	d.pass(life + time.Second)
	f.state = timmy.RefundFailed
	g = d.want(d.call("POST", p, `{"destination":"me@x.example"}`, auth), 200, "")
	if g.str("state") != "failed" || g.str("reason") == "" || d.sessions[id].posted != 398_500 || d.sessions[id].held != 0 {
		t.Errorf("got %s", g.body)
	}
	f.fail = func(string) error { return timmy.Errorf(timmy.Limited, "tomorrow") }
	d.want(d.call("POST", p, body, auth), 429, "tomorrow")
}

// TestARefundUnderWayIsNotRepeated: a client that asks again with its key gets the
// end of the first one, not a second.
func TestARefundUnderWayIsNotRepeated(t *testing.T) {
	d, f := refunding(t)
	id, auth := d.funded("500")
	f.state = timmy.RefundSending
	const key, body = "Idempotency-Key: k", `{"destination":"me@x.example","amount_sats":100}`
	p := "/sessions/" + id + "/refund"
	g := d.want(d.call("POST", p, body, auth, key), 202, "")
	at := g.header.Get("Location")
	if g.str("state") != "pending" || at != "/sessions/"+id+"/refunds/"+g.str("refundId") || g.header.Get("Retry-After") == "" {
		t.Errorf("got %s at %s", g.body, at)
	}
	d.want(d.call("GET", at, "", auth), 202, "")
	d.want(d.call("POST", p, body, auth, key), 409, "")
	d.crash()
	d.want(d.call("POST", p, body, auth, key), 202, "")
	f.mu.Lock()
	f.end(d.sessions[id], f.made[g.str("refundId")], timmy.RefundPaid)
	f.mu.Unlock()
	for range 2 {
		if g := d.want(d.call("POST", p, body, auth, key), 200, ""); g.str("state") != "paid" {
			t.Errorf("got %s", g.body)
		}
	}
	d.want(d.call("GET", at, "", auth), 200, "")
	if len(f.made) != 1 || d.sessions[id].posted != 398_500 {
		t.Errorf("%d refunds, %v left", len(f.made), d.sessions[id].posted)
	}
}

// TestATokenRefundsWhatItHolds, unless it was narrowed before it was handed on.
func TestATokenRefundsWhatItHolds(t *testing.T) {
	d, _ := refunding(t)
	g := d.ask(402)
	auth := d.l402(g)
	narrow := d.proof(g, attenuate(t, g.str("macaroon"), "timmy_capabilities=chat"))
	const body = `{"destination":"me@x.example"}`
	d.want(d.call("POST", "/ask/refund", body), 401, msgL402)
	d.want(d.call("POST", "/ask/refund", body, narrow), 401, msgL402)
	got := d.want(d.call("POST", "/ask/refund", body, auth), 200, "")
	if got.num("amountSats") != 90 {
		t.Errorf("got %s", got.body)
	}
	at := "/ask/refund/" + got.str("refundId")
	d.want(d.call("GET", at, "", auth), 200, "")
	d.want(d.call("GET", at, "", narrow), 401, msgL402)
}

// TestWhereTheRemainderGoes is remembered, and refused where nothing is given back.
func TestWhereTheRemainderGoes(t *testing.T) {
	d, _ := refunding(t)
	g := d.want(d.call("POST", "/sessions", `{"amount_sats":500,"refund_address":" Me@Wallet.example"}`), 201, "")
	if to := d.refundTo[g.str("sessionId")]; to != "me@wallet.example" {
		t.Errorf("goes to %q", to)
	}
	d.want(d.call("POST", "/ask", `{"request":"hi","refund_address":"me@wallet.example"}`), 402, "")
	if len(d.refundTo) != 2 {
		t.Errorf("remembered %v", d.refundTo)
	}
	for _, bad := range []string{`"nobody"`, "7", `"a@b"`, `"a b@c.example"`} {
		d.want(d.call("POST", "/sessions", `{"amount_sats":500,"refund_address":`+bad+`}`), 400, "refund_address: a lightning address looks like name@host.example")
	}
	off := paidly(t)
	off.want(off.call("POST", "/sessions", `{"amount_sats":500,"refund_address":"me@x.example"}`), 400, "This tower gives no refunds")
	off.want(off.call("POST", "/ask", `{"request":"hi","refund_address":"me@x.example"}`), 400, "This tower gives no refunds")
	id, auth := off.funded("500")
	off.want(off.call("POST", "/sessions/"+id+"/refund", `{"destination":"me@x.example"}`, auth), 404, "Not found")
}
