package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

const (
	askPath = "/ask"
	msgL402 = "Invalid L402 token. Ask without the Authorization header for a new one."
)

// challengeView is the body of a 402 that can be paid. The header says the same to
// clients of L402.
type challengeView struct {
	Error    string       `json:"error"`
	Balance  int64        `json:"balance"`
	Minimum  int64        `json:"minimumRequired"`
	Macaroon string       `json:"macaroon"`
	Invoice  *invoiceView `json:"invoice"`
}

// question is the body of POST /ask.
type question struct {
	raw  []byte
	text string
	asking
}

// asking is what a challenge is made of.
type asking struct {
	sats     timmy.Msat   // a prepaid amount, not the price of a request
	refundTo string       // the lightning address of the remainder; "": none
	owner    timmy.PubKey // that the session is bound to; zero: nobody
}

func (a *API) question(c *call) (q question, bad *answer) {
	o, raw, bad := c.object(msgText)
	if bad != nil {
		return q, bad
	}
	q.raw = raw
	if q.text, bad = requestText(o); bad != nil {
		return q, bad
	}
	if q.sats, bad = a.bundle(o); bad != nil {
		return q, bad
	}
	if q.refundTo, bad = a.refundAddress(o); bad != nil {
		return q, bad
	}
	var ok bool
	if q.owner, ok = a.owner(c.Header, o); !ok {
		return q, no(http.StatusUnauthorized, msgToken)
	}
	return q, nil
}

// ask is POST /ask: a request of whoever pays for it (L402). What is paid opens a
// session; the token is the key to it, for as many requests as it lasts. The
// session's id is told to nobody: a token may have been handed on, narrowed.
func (a *API) ask(c *call) answer {
	if a.paysByMPP(c.Header) {
		return a.askByMPP(c)
	}
	q, bad := a.question(c)
	if bad != nil {
		return *bad
	}
	if c.Header["Authorization"] == nil {
		return a.challenge(c, q.asking)
	}
	s, t, g, bad := a.holder(c)
	switch {
	case bad != nil:
		return *bad
	case !g.allows(mayChat):
		return refuse(http.StatusUnauthorized, msgL402)
	}
	got := a.answerTo(c, s, q, errand{most: g.most})
	if got.status == http.StatusPaymentRequired || got.status == http.StatusGone && !s.Moved {
		return a.renew(c, s, t.caveats, q.sats)
	}
	return got
}

// answerTo runs a question on a session whose id is told to nobody.
func (a *API) answerTo(c *call, s timmy.Session, q question, e errand) answer {
	e.route, e.body, e.text = "POST "+askPath, q.raw, q.text
	got := a.perform(c, s, e)
	if id, ok := strings.CutPrefix(got.location, requestPath(s, "")); ok {
		got.location = askPath + "/" + id
	}
	return got
}

// bundle is what a challenge asks for, if the caller does not say it.
func (a *API) bundle(o object) (timmy.Msat, *answer) {
	if raw, ok := o["amount_sats"]; !ok || string(raw) == "null" {
		return a.leastBundle(), nil
	}
	return a.depositAmount(o)
}

func (a *API) leastBundle() timmy.Msat { return max(a.cfg.MinDeposit, a.cfg.MinBalance) }

// challenge opens a session and asks for its deposit.
func (a *API) challenge(c *call, w asking) answer {
	if !a.clients.allowSession(c.Request) {
		return tooMany()
	}
	ctx, cancel := a.detached(c)
	defer cancel()
	id, err := a.uuid()
	if err != nil {
		return failed(c, err, msgFailed)
	}
	s, err := a.cfg.Sessions.Open(ctx, id, w.owner, "")
	if err == nil && w.refundTo != "" {
		err = a.cfg.Refunds.Remember(ctx, s.ID, w.refundTo)
	}
	if err != nil {
		return failed(c, err, msgFailed)
	}
	inv, err := a.depositInvoice(ctx, s, w.sats)
	if err != nil {
		return failed(c, err, msgFailed)
	}
	return a.challenged(c.Header, s, inv, a.challengeCaveats(s), s.Expires.Sub(s.Created))
}

// renew asks for more money for the same session, also when its time is over: what
// is left there is the holder's. The new token allows no more than the old one.
func (a *API) renew(c *call, s timmy.Session, caveats []string, sats timmy.Msat) answer {
	ctx, cancel := a.detached(c)
	defer cancel()
	memo, err := a.memo("Session topup ")
	if err != nil {
		return failed(c, err, msgFailed)
	}
	inv, err := a.cfg.Till.Invoice(ctx, timmy.TopUp{
		Account: timmy.SessionAccount(s.ID), Purpose: timmy.ForAsk, Amount: sats, Memo: memo,
	})
	switch {
	case timmy.CodeOf(err) == timmy.Conflict && inv.Bolt11 == "":
		return away("An invoice is being made")
	case err != nil && timmy.CodeOf(err) != timmy.Conflict:
		return failed(c, err, msgFailed)
	}
	if now, err := a.cfg.Sessions.Session(ctx, s.ID); err == nil {
		s = now
	}
	return a.challenged(c.Header, s, inv, caveats, 0)
}

// challenged is the 402. The first header has the names of all versions of L402, and
// begins as the oldest of its clients expect it. It is the only one, unless the operator
// wants the scheme Payment too; a caller who names that scheme gets it alone, for some
// clients read one challenge.
func (a *API) challenged(h http.Header, s timmy.Session, inv timmy.Invoice, caveats []string, idle time.Duration) answer {
	m := a.mint(useL402, inv.Hash, s, caveats)
	out := reply(http.StatusPaymentRequired, challengeView{
		Error:   fmt.Sprintf("Payment required: %d sats", inv.Amount.Sats()),
		Balance: s.Available.Sats(), Minimum: a.cfg.MinBalance.Sats(), Macaroon: m, Invoice: viewInvoice(inv),
	})
	if !a.mppAlone(h) {
		out.challenges = []string{fmt.Sprintf(`L402 macaroon="%s", invoice="%s", version="0", token="%s"`, m, inv.Bolt11, m)}
	}
	out.challenges = append(out.challenges, a.offers(h, inv, idle)...)
	out.link = a.link(inv.Hash)
	return out
}

// holder finds the session that a call's token is for.
func (a *API) holder(c *call) (timmy.Session, token, grant, *answer) {
	if a.paysByMPP(c.Header) {
		s, g, bad := a.holderByMPP(c)
		return s, token{}, g, bad
	}
	bad := no(http.StatusUnauthorized, msgL402)
	for _, t := range a.tokens(c.Header) {
		status, late := a.settled(c, t)
		if late != nil {
			return timmy.Session{}, t, grant{}, late
		}
		id, ok := status.Account.Session()
		if !ok {
			continue
		}
		s, gone := a.session(c, id, msgFailed)
		if gone != nil {
			return s, t, grant{}, gone
		}
		if g, ok := a.granting(c, s); ok {
			return s, t, g, nil
		}
	}
	return timmy.Session{}, token{}, grant{}, bad
}

// settled is the payment that a token stands for. The payer has the preimage a
// moment before our book knows: a call that proves it waits, for to be told that it
// is unpaid would make its client pay again.
func (a *API) settled(c *call, t token) (timmy.InvoiceStatus, *answer) {
	status, err := a.payment(c.Context(), t.hash)
	switch {
	case unknown(err):
		return status, no(http.StatusUnauthorized, msgL402)
	case err != nil:
		bad := failed(c, err, msgFailed)
		return status, &bad
	case status.Settled || t.use == useBearer:
		return status, nil
	}
	late := away("The payment has not been seen yet")
	select {
	case a.settling <- struct{}{}:
		defer func() { <-a.settling }()
	default:
		return status, &late
	}
	ctx, cancel := context.WithTimeout(c.Context(), settleWait)
	defer cancel()
	if status, ok := a.awaitPayment(ctx, t.hash); ok {
		return status, nil
	}
	return status, &late
}

func (a *API) awaitPayment(ctx context.Context, h timmy.Hash) (timmy.InvoiceStatus, bool) {
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%int(settleCheck/settlePoll) == 0 {
			a.checkWallet(ctx, h)
		}
		if status, err := a.payment(ctx, h); err == nil && status.Settled {
			return status, true
		}
		select {
		case <-ctx.Done():
			return timmy.InvoiceStatus{}, false
		case <-tick.C:
		}
	}
}

func (a *API) checkWallet(ctx context.Context, h timmy.Hash) {
	ctx, cancel := context.WithTimeout(ctx, settleCheck)
	defer cancel()
	a.cfg.Till.Check(ctx, h)
}

// payment reads an invoice of ours.
func (a *API) payment(ctx context.Context, h timmy.Hash) (timmy.InvoiceStatus, error) {
	if a.cfg.Invoice == nil {
		return timmy.InvoiceStatus{}, timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	return a.cfg.Invoice(ctx, h)
}

// fetchAsked is GET /ask/:requestId: the answer again, for the holder of the token.
func (a *API) fetchAsked(c *call) answer {
	s, _, g, bad := a.holder(c)
	switch {
	case bad != nil:
		return *bad
	case !g.allows(mayChat):
		return refuse(http.StatusUnauthorized, msgL402)
	}
	return a.fetchOf(c, s)
}
