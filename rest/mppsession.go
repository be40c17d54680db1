package rest

import (
	"context"
	"net/http"

	"github.com/timmy-tower/timmy"
)

// closedView is the answer of a session's end.
type closedView struct {
	State  string `json:"status"` // closed
	Refund int64  `json:"refundSats"`
	Status string `json:"refundStatus"` // succeeded, failed, skipped; or pending
}

// How a refund ended, in the words of the draft.
const (
	refundSucceeded = "succeeded"
	refundFailed    = "failed"
	refundSkipped   = "skipped"
	refundPending   = "pending" // not the draft's: the wallet has not said yet
)

// askByMPP is POST /ask with a credential of the scheme Payment: a charge is good for
// one request, a session for as many as its balance lasts.
func (a *API) askByMPP(c *call) answer {
	p, problem := a.payer(c.Header)
	if problem == "" && (p.action == actionTopUp || p.action == actionClose) {
		return a.manage(c, p)
	}
	q, bad := a.question(c)
	if bad != nil {
		return *bad
	}
	if problem != "" {
		return a.refused(c, problem, q.asking)
	}
	s, problem, bad := a.sessionOf(c, p)
	if problem == "" && bad == nil && p.action == actionOpen {
		problem, bad = a.remember(c, s, p.give)
	}
	switch {
	case bad != nil:
		return *bad
	case problem != "":
		return a.refused(c, problem, q.asking)
	}
	got := a.answerTo(c, s, q, errand{key: p.once()})
	switch got.status {
	case http.StatusPaymentRequired:
		return a.renew(c, s, a.challengeCaveats(s), q.sats).saying(balanceTooSmall)
	case http.StatusGone:
		return a.refused(c, sessionClosed, q.asking)
	case http.StatusUnprocessableEntity:
		return a.refused(c, badChallenge, q.asking)
	}
	return a.receipted(p, got)
}

// remember keeps the invoice that the remainder of a session is paid to.
func (a *API) remember(c *call, s timmy.Session, to string) (problem string, bad *answer) {
	if a.cfg.Refunds == nil {
		return badChallenge, nil
	}
	if s.RefundTo == to {
		return "", nil
	}
	ctx, cancel := a.detached(c)
	defer cancel()
	err := a.cfg.Refunds.Remember(ctx, s.ID, to)
	if timmy.CodeOf(err) == timmy.Invalid {
		return badReturn, nil
	}
	if err != nil {
		got := failed(c, err, msgFailed)
		bad = &got
	}
	return "", bad
}

// holderByMPP is [API.holder] for a credential of the scheme Payment.
func (a *API) holderByMPP(c *call) (s timmy.Session, g grant, bad *answer) {
	p, problem := a.payer(c.Header)
	if problem == "" {
		s, problem, bad = a.sessionOf(c, p)
	}
	if problem != "" {
		bad = no(http.StatusUnauthorized, msgL402)
	}
	if g = everything(); p.action == "" {
		g.may = []capability{mayChat}
	}
	return s, g, bad
}

// sessionOf finds the session that a credential is for. Its preimage is right, but some
// wallets show it before they are paid: our own book must know the payment. The
// problem, or the answer, is what keeps it from being used.
func (a *API) sessionOf(c *call, p payer) (s timmy.Session, problem string, bad *answer) {
	if s, problem, bad = a.accountOf(c, p.account); problem != "" || bad != nil {
		return s, problem, bad
	}
	// A preimage is no secret: who forwarded the payment has it, and who paid a top-up
	// for somebody else. The challenge was shown to the session's holder alone.
	if p.asked != p.account {
		status, err := a.payment(c.Context(), p.asked)
		if id, _ := status.Account.Session(); err != nil || id != s.ID {
			return s, badChallenge, nil
		}
	}
	// Whoever runs the payer's wallet may know both: a session that is bound to a key
	// needs that key's token besides.
	if k, ok := a.owner(c.Header, nil); !s.Owner.IsZero() && (!ok || k != s.Owner) {
		return s, "", no(http.StatusUnauthorized, msgToken)
	}
	a.used(c, s)
	return s, "", nil
}

// accountOf is the session that a payment went into, once the book knows of it.
func (a *API) accountOf(c *call, h timmy.Hash) (s timmy.Session, problem string, bad *answer) {
	status, err := a.payment(c.Context(), h)
	if unknown(err) {
		return s, noSuchSession, nil
	}
	if err == nil && !status.Settled {
		seen, late := a.settled(c, token{use: useL402, hash: h})
		switch {
		case late == nil:
			status = seen
		case a.cfg.Now().After(status.Expires):
			return s, lateChallenge, nil
		default:
			return s, "", late
		}
	}
	if err != nil {
		got := failed(c, err, msgFailed)
		return s, "", &got
	}
	id, ok := status.Account.Session()
	if !ok {
		return s, noSuchSession, nil
	}
	s, bad = a.session(c, id, msgFailed)
	return s, "", bad
}

// manage does what a credential asks for beside a request: topUp and close.
func (a *API) manage(c *call, p payer) answer {
	var got answer
	var problem string
	if p.action == actionTopUp {
		got, problem = a.joined(c, p)
	} else {
		got, problem = a.close(c, p)
	}
	if problem != "" {
		return a.refused(c, problem, asking{sats: a.leastBundle()})
	}
	return a.receipted(p, got)
}

// joined moves what a top-up paid into the session that it is for. Of a challenge
// that the session itself was given the money is there already.
func (a *API) joined(c *call, p payer) (answer, string) {
	from, problem, bad := a.accountOf(c, p.paid)
	switch {
	case problem == noSuchSession:
		return answer{}, badChallenge
	case problem != "":
		return answer{}, problem
	case bad != nil:
		return *bad, ""
	}
	s, problem, bad := a.accountOf(c, p.account)
	switch {
	case problem != "":
		return answer{}, problem
	case bad != nil:
		return *bad, ""
	case a.expired(s):
		return answer{}, sessionClosed
	}
	if from.ID != s.ID {
		ctx, cancel := a.detached(c)
		defer cancel()
		err := a.cfg.Sessions.Join(ctx, s.ID, from.ID)
		if timmy.CodeOf(err) == timmy.Conflict {
			return answer{}, badChallenge
		}
		if err != nil {
			return failed(c, err, msgTopUp), ""
		}
	}
	return reply(http.StatusOK, map[string]string{"status": "ok"}), ""
}

// close ends a session and gives back what is left of it.
func (a *API) close(c *call, p payer) (answer, string) {
	s, problem, bad := a.sessionOf(c, p)
	switch {
	case problem != "":
		return answer{}, problem
	case bad != nil:
		return *bad, ""
	case s.RefundTo == "" || a.cfg.Refunds == nil:
		return answer{}, noSuchSession
	}
	got := a.once(c, task{
		route: "POST " + askPath + " close", credential: a.secret(s), body: []byte(p.challenge.ID), key: p.once(),
		do: func(ctx context.Context, subject string, again bool) answer {
			if a.expired(s) && !again {
				return answer{status: http.StatusGone}
			}
			return a.end(ctx, c, s, subject)
		},
		known: func(ctx context.Context, subject string) (answer, bool) {
			r, err := a.cfg.Refunds.Of(ctx, subject)
			return closed(r), err == nil && r.State.Final()
		},
	})
	if got.status == http.StatusGone {
		return answer{}, sessionClosed
	}
	return got, ""
}

// end reserves the refund and closes the session. A crash in between leaves it open with
// nothing to spend; the next try finds the refund.
func (a *API) end(ctx context.Context, c *call, s timmy.Session, id string) answer {
	r, err := a.cfg.Refunds.Order(ctx, timmy.RefundOrder{ID: id, Account: timmy.SessionAccount(s.ID), To: s.RefundTo})
	v := closedView{State: "closed"}
	switch timmy.CodeOf(err) {
	case "":
	case timmy.Unpaid:
		v.Status = refundSkipped
	case timmy.Invalid, timmy.Limited: // what remains is tried again as that of any session that has ended
		v.Refund, v.Status = s.Available.Sats(), refundFailed
	default:
		return failed(c, err, msgRefund)
	}
	if err := a.cfg.Sessions.End(ctx, s.ID); err != nil {
		return failed(c, err, msgRefund)
	}
	if v.Status != "" {
		return reply(http.StatusOK, v)
	}
	return closed(a.cfg.Refunds.Await(ctx, r))
}

func closed(r timmy.Refund) answer {
	v := closedView{State: "closed", Refund: r.Amount.Sats(), Status: refundPending}
	switch r.State {
	case timmy.RefundPaid:
		v.Status = refundSucceeded
	case timmy.RefundFailed:
		v.Status = refundFailed
	default:
		out := reply(http.StatusAccepted, v)
		out.retry, out.open = retryBusy, true
		return out
	}
	return reply(http.StatusOK, v)
}

// refused says what is wrong with a credential, with a challenge to start anew from.
func (a *API) refused(c *call, problem string, w asking) answer {
	return a.challenge(c, w).saying(problem)
}

// saying is a 402 whose body names a problem; any other answer stays as it is.
func (a answer) saying(problem string) answer {
	if a.status == http.StatusPaymentRequired {
		b := problemBody(a.status, problem)
		a.body, a.kind = b.body, b.kind
	}
	return a
}
