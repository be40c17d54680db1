package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/timmy-tower/timmy"
)

const msgTopUp = "Topup failed"

// toppedView is the documented 200 of POST /sessions/:id/topup.
type toppedView struct {
	SessionID string       `json:"sessionId"`
	TopUp     *invoiceView `json:"topup"`
}

// pendingView is the documented 409.
type pendingView struct {
	Error   string       `json:"error"`
	Pending *invoiceView `json:"pendingTopup,omitempty"`
}

// topUp is POST /sessions/:id/topup.
func (a *API) topUp(c *call) answer {
	_, raw, sats, bad := a.deposit(c)
	if bad != nil {
		return *bad
	}
	s, bad := a.session(c, c.PathValue("id"), msgTopUp)
	if bad != nil {
		return *bad
	}
	if !a.authorized(c, s) {
		return refuse(http.StatusUnauthorized, msgBearerShort)
	}
	return a.once(c, task{
		route: "POST /sessions/" + s.ID + "/topup", credential: a.secret(s), body: raw,
		do: func(ctx context.Context, _ string, _ bool) answer { return a.issue(ctx, c, s, sats) },
	})
}

func (a *API) issue(ctx context.Context, c *call, s timmy.Session, sats timmy.Msat) answer {
	state := s.State
	if a.expired(s) {
		state = timmy.SessionExpired
	}
	switch {
	case state != timmy.SessionActive && state != timmy.SessionPaused:
		return refuse(http.StatusConflict, fmt.Sprintf("Cannot top up a session in state '%s'", state))
	case s.TopUp != nil:
		return a.pending(s.TopUp)
	}
	memo, err := a.memo("Session topup ")
	if err != nil {
		return failed(c, err, msgTopUp)
	}
	inv, err := a.cfg.Till.Invoice(ctx, timmy.TopUp{
		Account: timmy.SessionAccount(s.ID), Purpose: timmy.ForTopUp, Amount: sats, Memo: memo,
	})
	switch timmy.CodeOf(err) {
	case "":
		out := reply(http.StatusOK, toppedView{SessionID: s.ID, TopUp: viewInvoice(inv)})
		out.link = a.link(inv.Hash)
		return out
	case timmy.Conflict:
		if inv.Bolt11 != "" {
			return a.pending(&inv)
		}
		return a.pending(a.winner(ctx, s.ID))
	}
	return failed(c, err, msgTopUp)
}

// pending is the documented 409 of a second top-up.
func (a *API) pending(inv *timmy.Invoice) answer {
	v := pendingView{Error: msgPending}
	link := ""
	if inv != nil {
		v.Pending, link = viewInvoice(*inv), a.link(inv.Hash)
	}
	out := reply(http.StatusConflict, v)
	out.link = link
	if inv == nil {
		out.retry = retryBusy
	}
	return out
}

// winner waits a moment for the invoice of the top-up that came first: the
// wallet is making it. Nil: it took too long, or failed.
func (a *API) winner(ctx context.Context, id string) *timmy.Invoice {
	ctx, cancel := context.WithTimeout(ctx, topUpWait)
	defer cancel()
	tick := time.NewTicker(topUpPoll)
	defer tick.Stop()
	for {
		s, err := a.cfg.Sessions.Session(ctx, id)
		if err != nil {
			return nil
		}
		if s.TopUp != nil {
			return s.TopUp
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
