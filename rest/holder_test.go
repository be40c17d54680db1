package rest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestATokensHolderIsAnsweredLikeABearer: work that takes long is 202 with a place to
// look, a key in flight is 409, another body 422, and a session that is gone 404; the
// place never names the session.
func TestATokensHolderIsAnsweredLikeABearer(t *testing.T) {
	h := openWhole(t, func(c *Config) { c.RequestTimeout = 30 * time.Millisecond })
	gate := make(chan struct{})
	h.world.mu.Lock()
	h.work = func(timmy.Request) { <-gate }
	h.world.mu.Unlock()
	const key, other = "Idempotency-Key: k", `{"request":"something else"}`
	g := h.want(h.call("POST", "/ask", wholeBody, h.token, key), 202, "")
	at := g.header.Get("Location")
	if at != "/ask/"+g.str("requestId") || g.header.Get("Retry-After") == "" {
		t.Errorf("look at %q", at)
	}
	h.want(h.call("GET", at, "", h.token), 202, "")
	h.want(h.call("POST", "/ask", wholeBody, h.token, key), 409, "A call with this Idempotency-Key is in flight")
	h.want(h.call("POST", "/ask", other, h.token, key), 422, "Idempotency-Key was used with another body")
	close(gate)
	<-h.replies[timmy.RequestID(g.str("requestId"))].done
	told := h.want(h.call("GET", at, "", h.token), 200, "")
	if again := h.want(h.call("POST", "/ask", wholeBody, h.token, key), 200, ""); again.body != told.body {
		t.Errorf("told %s, then %s", told.body, again.body)
	}
	for _, nothing := range []string{"x", "00000000-0000-4000-8000-000000000000", h.request} {
		h.want(h.call("GET", "/ask/"+nothing, "", h.token), 404, msgNoRequest)
	}
	h.world.mu.Lock()
	for id := range h.sessions {
		if id != h.session {
			delete(h.sessions, id)
		}
	}
	h.world.mu.Unlock()
	for _, call := range []got{
		h.call("POST", "/ask", wholeBody, h.token), h.call("GET", at, "", h.token), h.call("POST", "/ask/refund", wholeBody, h.token),
	} {
		h.want(call, 404, msgNoSession)
	}
}

// TestATokensRefundIsAnsweredLikeABearers, as long as it is under way, and after.
func TestATokensRefundIsAnsweredLikeABearers(t *testing.T) {
	h := openWhole(t, nil)
	h.refunds.state = timmy.RefundSending
	const key, other = "Idempotency-Key: k", `{"destination":"you@x.example"}`
	for post, auth := range map[string]with{"/ask/refund": h.token, "/sessions/" + h.session + "/refund": h.bearer} {
		g := h.want(h.call("POST", post, wholeBody, auth, key), 202, "")
		at := g.header.Get("Location")
		if !strings.HasSuffix(at, g.str("refundId")) || strings.HasPrefix(post, "/ask") && at != "/ask/refund/"+g.str("refundId") {
			t.Errorf("look at %q", at)
		}
		h.want(h.call("GET", at, "", auth), 202, "")
		h.want(h.call("POST", post, wholeBody, auth, key), 409, "A call with this Idempotency-Key is in flight")
		h.want(h.call("POST", post, other, auth, key), 422, "Idempotency-Key was used with another body")
		h.want(h.call("POST", post, `{"destination":"me@x.example","amount_sats":90000}`, auth), 402, "That is more than there is")
		h.want(h.call("GET", at+"0", "", auth), 404, msgNoRefund)
		h.want(h.call("GET", at, ""), 401, "")
	}
}

// TestNothingToShow: a receipt of a request that was not charged is 409, and what the
// papers say is passed on as they made it.
func TestNothingToShow(t *testing.T) {
	papers := &rack{proof: []byte(`{"date":"2026-01-02"}`)}
	h := openWhole(t, func(c *Config) { c.Papers = papers })
	if g := h.want(h.call("GET", "/sessions/"+h.session+"/proof", "", h.bearer), 200, ""); g.body != string(papers.proof) {
		t.Errorf("got %s", g.body)
	}
	h.want(h.call("GET", "/sessions/"+h.session+"/requests/"+h.request+"/receipt", "", h.bearer), 409, "Nothing was charged")
}

type rack struct{ proof []byte }

func (*rack) Receipt(context.Context, timmy.RequestID) ([]byte, error) {
	return nil, timmy.Errorf(timmy.Conflict, "Nothing was charged")
}

func (r *rack) Proof(context.Context, timmy.Account) ([]byte, error) { return r.proof, nil }

// TestTheButtonTellsWhyItFailed: an invoice that is over, or that is no longer to be
// paid, is not a fault of ours.
func TestTheButtonTellsWhyItFailed(t *testing.T) {
	var why error
	h := openWhole(t, func(c *Config) { c.Pay = func(context.Context, string) error { return why } })
	settle := "/pay/" + h.payIn + "/settle"
	why = timmy.Errorf(timmy.Invalid, "The invoice has expired")
	h.want(h.call("POST", settle, ""), 400, "The invoice has expired")
	why = timmy.Errorf(timmy.Conflict, "The invoice was canceled")
	h.want(h.call("POST", settle, ""), 409, "The invoice was canceled")
	free := open(t, nil)
	free.want(free.call("POST", "/relay", "key="+alice.String()), 404, "Not found")
}
