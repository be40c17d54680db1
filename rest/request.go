package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/timmy-tower/timmy"
)

// msgFailed is the fixed text of a 500: details are in the log.
const msgFailed = "Request failed"

// repliedView is the documented 200 of POST /sessions/:id/request.
type repliedView struct {
	RequestID string   `json:"requestId"`
	State     string   `json:"state"`
	Result    string   `json:"result,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Error     string   `json:"errorMessage,omitempty"`
	Debited   int64    `json:"debitedSats"`
	Balance   int64    `json:"balanceRemaining"`
	Free      bool     `json:"free_tier,omitempty"`
	Absorbed  int64    `json:"absorbed_sats,omitempty"`
	Cost      costView `json:"cost"`
}

type costView struct {
	Eval     int64   `json:"evalSats"`
	Work     int64   `json:"workSats"`
	Total    int64   `json:"totalSats"`
	Charged  int64   `json:"chargedSats"`
	Absorbed int64   `json:"absorbedSats"`
	Price    float64 `json:"btcPriceUsd"`
}

// balanceView is the documented 402.
type balanceView struct {
	Error   string `json:"error"`
	Balance int64  `json:"balance"`
	Minimum int64  `json:"minimumRequired"`
}

// runningView is the 202 of a request that has no outcome yet.
type runningView struct {
	RequestID string `json:"requestId"`
	State     string `json:"state"`
}

// request is POST /sessions/:id/request. The order of its checks is documented:
// body, session, bearer, expiry, balance, state.
func (a *API) request(c *call) answer {
	o, raw, bad := c.object(msgText)
	if bad != nil {
		return *bad
	}
	text, bad := requestText(o)
	if bad != nil {
		return *bad
	}
	s, g, bad := a.asker(c)
	if bad != nil {
		return *bad
	}
	if !g.allows(mayChat) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	return a.perform(c, s, errand{route: "POST /sessions/" + s.ID + "/request", body: raw, text: text, most: g.most})
}

// asker is the session that a request is for, and what its caller may do there. Who showed
// the session's own bearer is known by it alone: the session then has an id and a
// generation and no state, for the book looks at it when the request starts.
func (a *API) asker(c *call) (timmy.Session, grant, *answer) {
	id, shown := c.PathValue("id"), factsOf(c.Request).shown
	if shown.session == id && shown.token.use == useBearer {
		return timmy.Session{ID: id, Bearer: shown.bearer}, shown.grant, nil
	}
	s, bad := a.session(c, id, msgFailed)
	if bad != nil {
		return s, grant{}, bad
	}
	g, ok := a.granting(c, s)
	if !ok {
		return s, g, no(http.StatusUnauthorized, msgBearer)
	}
	return s, g, nil
}

// errand is a request on a session, its caller known.
type errand struct {
	route string
	body  []byte
	text  string
	most  timmy.Msat // that it may cost; 0: no limit
	key   string     // under which it runs once; "": the caller's Idempotency-Key
}

// perform runs an errand, once per Idempotency-Key.
func (a *API) perform(c *call, s timmy.Session, e errand) answer {
	a.patient(c)
	return a.once(c, task{
		route: e.route, credential: a.secret(s), body: e.body, key: e.key, timed: true,
		do: func(ctx context.Context, subject string, again bool) answer {
			if again {
				if got, ok := a.resume(ctx, c, s, timmy.RequestID(subject)); ok {
					return got
				}
			}
			return a.run(ctx, c, s, timmy.Request{ID: timmy.RequestID(subject), Text: e.text, PriceMax: e.most})
		},
		known: func(ctx context.Context, subject string) (answer, bool) {
			r, done, err := a.cfg.Sessions.Reply(ctx, timmy.RequestID(subject))
			if err != nil || !done {
				return answer{}, false
			}
			return a.replied(ctx, c, s, r), true
		},
	})
}

// resume waits for a request that an earlier try, cut off by a crash, has
// already put into the book; false: it never came that far.
func (a *API) resume(ctx context.Context, c *call, s timmy.Session, id timmy.RequestID) (answer, bool) {
	_, _, err := a.cfg.Sessions.Reply(ctx, id)
	if unknown(err) {
		return answer{}, false
	}
	var r timmy.Reply
	if err == nil {
		r, err = a.cfg.Desk.Wait(ctx, id)
	}
	if err != nil {
		return a.undone(ctx, c, s, id, err), true
	}
	return a.replied(ctx, c, s, r), true
}

// run checks the session's state and hands the request to the desk.
func (a *API) run(ctx context.Context, c *call, s timmy.Session, r timmy.Request) answer {
	switch {
	case s.State == "": // the book looks at it
		r.Bearer = s.Bearer
	case a.expired(s):
		return refuse(http.StatusGone, msgExpired)
	case s.State == timmy.SessionPaused:
		return a.short(s)
	case s.State != timmy.SessionActive:
		return refuse(http.StatusConflict, inState(s))
	case s.Available < a.cfg.MinBalance:
		return a.short(s)
	}
	r.Front, r.From, r.Payer = timmy.FrontREST, s.Owner, timmy.SessionAccount(s.ID)
	r.Thread, r.At = thread(s.ID), a.cfg.Now()
	got, err := a.cfg.Desk.Do(ctx, r)
	if err != nil {
		return a.undone(ctx, c, s, r.ID, err)
	}
	return a.replied(ctx, c, s, got)
}

// short is the documented 402; balance is what may be drawn now.
func (a *API) short(s timmy.Session) answer {
	return reply(http.StatusPaymentRequired, balanceView{
		Error: msgBalance, Balance: s.Available.Sats(), Minimum: a.cfg.MinBalance.Sats(),
	})
}

// shortNow is the 402 after the desk refused: the balance has moved since.
func (a *API) shortNow(ctx context.Context, c *call, s timmy.Session) answer {
	if now, err := a.cfg.Sessions.Session(ctx, s.ID); err == nil {
		s = now
	} else {
		c.log.Warn("http: reading the balance for a 402", "err", err)
	}
	return a.short(s)
}

// undone maps what the desk says when there is no reply.
func (a *API) undone(ctx context.Context, c *call, s timmy.Session, id timmy.RequestID, err error) answer {
	// The asker waited as long as we let it; the work goes on. Not an error
	// status: a client that repeats the call would pay twice.
	if errors.Is(err, context.DeadlineExceeded) {
		if a.booked(c, id) {
			return running(s, id, timmy.StateRunning)
		}
		return away("The tower is too busy")
	}
	switch timmy.CodeOf(err) {
	case timmy.Unpaid:
		return a.shortNow(ctx, c, s)
	case timmy.Expired:
		return refuse(http.StatusGone, msgExpired)
	case timmy.Unauthorized:
		return refuse(http.StatusUnauthorized, msgBearer)
	case timmy.NotFound:
		return refuse(http.StatusNotFound, msgNoSession)
	case timmy.Conflict:
		if now, e := a.cfg.Sessions.Session(ctx, s.ID); e == nil {
			s = now
		}
		return refuse(http.StatusConflict, inState(s))
	case timmy.Internal:
		out := failed(c, err, msgFailed)
		// Whether it is in the book is not known: the key must not run it again.
		out.open = a.booked(c, id)
		return out
	}
	return failed(c, err, msgFailed)
}

// booked reports whether the request may be in the book: only a plain "no such
// request" says that it is not.
func (a *API) booked(c *call, id timmy.RequestID) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), pageWait)
	defer cancel()
	_, _, err := a.cfg.Sessions.Reply(ctx, id)
	return !unknown(err)
}

func running(s timmy.Session, id timmy.RequestID, state timmy.State) answer {
	out := reply(http.StatusAccepted, runningView{RequestID: string(id), State: string(state)})
	out.retry, out.open = retryBusy, true
	out.location = requestPath(s, id)
	return out
}

func requestPath(s timmy.Session, id timmy.RequestID) string {
	return "/sessions/" + s.ID + "/requests/" + string(id)
}

// replied is the answer that a reply makes.
func (a *API) replied(ctx context.Context, c *call, s timmy.Session, r timmy.Reply) answer {
	switch {
	case r.Outcome.State == timmy.StateUnpaid:
		return a.shortNow(ctx, c, s)
	case !r.Outcome.State.Final():
		return running(s, r.Request, r.Outcome.State)
	}
	return reply(http.StatusOK, viewReply(r))
}

func viewReply(r timmy.Reply) repliedView {
	v := repliedView{
		RequestID: string(r.Request), State: string(r.Outcome.State), Result: r.Outcome.Text,
		Debited: r.Outcome.Cost.Charged.Sats(), Balance: r.Balance.Sats(),
		Free: r.Outcome.Cost.Absorbed > 0, Absorbed: r.Outcome.Cost.Absorbed.Sats(),
		Cost: costView{
			Eval: r.Outcome.Cost.Eval.Sats(), Work: r.Outcome.Cost.Work.Sats(), Total: r.Outcome.Cost.Total.Sats(),
			Charged: r.Outcome.Cost.Charged.Sats(), Absorbed: r.Outcome.Cost.Absorbed.Sats(), Price: r.Outcome.Rate.Float(),
		},
	}
	switch r.Outcome.State {
	case timmy.StateRejected:
		v.Reason = r.Outcome.Reason
	case timmy.StateFailed:
		v.Error = r.Outcome.Reason
	}
	return v
}

// fetch is GET /sessions/:id/requests/:requestId: the answer again, for a client
// that hung up. It works after the session's end, as long as the row is kept.
func (a *API) fetch(c *call) answer {
	s, bad := a.session(c, c.PathValue("id"), "Failed to fetch request")
	if bad != nil {
		return *bad
	}
	if g, ok := a.granting(c, s); !ok || !g.allows(mayChat) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	return a.fetchOf(c, s)
}

// fetchOf answers with what became of a request of s.
func (a *API) fetchOf(c *call, s timmy.Session) answer {
	id := c.PathValue("request")
	if !isUUID(id) {
		return refuse(http.StatusNotFound, msgNoRequest)
	}
	r, done, err := a.cfg.Sessions.Reply(c.Context(), timmy.RequestID(id))
	switch {
	case unknown(err), err == nil && r.Payer != timmy.SessionAccount(s.ID):
		return refuse(http.StatusNotFound, msgNoRequest)
	case err != nil:
		return failed(c, err, "Failed to fetch request")
	case !done:
		out := reply(http.StatusAccepted, runningView{RequestID: id, State: string(r.Outcome.State)})
		out.retry = retryBusy
		return out
	}
	return reply(http.StatusOK, viewReply(r))
}
