package rest

import (
	"context"
	"net/http"

	"github.com/timmy-tower/timmy"
)

const (
	msgRefund      = "Refund failed"
	msgNoRefund    = "Refund not found"
	msgDestination = "Body must include 'destination': a Lightning invoice or a lightning address"
)

// refundView is how a refund is told.
type refundView struct {
	RefundID string `json:"refundId"`
	State    string `json:"state"` // pending, paid, failed
	Amount   int64  `json:"amountSats"`
	Fee      *int64 `json:"feeMsat,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// refundPlace is where the refunds of a caller's session are read.
type refundPlace func(id string) string

func inSession(s timmy.Session) refundPlace {
	return func(id string) string { return "/sessions/" + s.ID + "/refunds/" + id }
}

func inAsk(id string) string { return askPath + "/refund/" + id }

// refund is POST /sessions/:id/refund: what is unspent goes back to its payer. It
// works after the session's end too.
func (a *API) refund(c *call) answer {
	o, raw, bad := c.object(msgDestination)
	if bad != nil {
		return *bad
	}
	order, bad := a.refundOrder(o)
	if bad != nil {
		return *bad
	}
	s, bad := a.session(c, c.PathValue("id"), msgRefund)
	if bad != nil {
		return *bad
	}
	if !a.authorized(c, s) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	return a.giveBack(c, s, order, raw, inSession(s))
}

// refundAsked is POST /ask/refund, for the holder of a token.
func (a *API) refundAsked(c *call) answer {
	o, raw, bad := c.object(msgDestination)
	if bad != nil {
		return *bad
	}
	order, bad := a.refundOrder(o)
	if bad != nil {
		return *bad
	}
	s, bad := a.wholeHolder(c)
	if bad != nil {
		return *bad
	}
	return a.giveBack(c, s, order, raw, inAsk)
}

// wholeHolder finds the session of a token that may touch its account.
func (a *API) wholeHolder(c *call) (timmy.Session, *answer) {
	s, _, g, bad := a.holder(c)
	if bad == nil && !g.allows(mayAccount) {
		bad = no(http.StatusUnauthorized, msgL402)
	}
	return s, bad
}

func (a *API) refundOrder(o object) (timmy.RefundOrder, *answer) {
	var order timmy.RefundOrder
	to, ok := o.str("destination")
	if !ok || to == "" || len(to) > maxDestination {
		return order, no(http.StatusBadRequest, msgDestination)
	}
	order.To = to
	if raw, ok := o["amount_sats"]; ok && string(raw) != "null" {
		n, ok := amount(raw)
		if !ok || n < 1 || n > timmy.MaxMsat.Sats() {
			return order, no(http.StatusBadRequest, "amount_sats must be a positive integer")
		}
		order.Amount = timmy.FromSats(n)
	}
	return order, nil
}

func (a *API) giveBack(c *call, s timmy.Session, order timmy.RefundOrder, raw []byte, at refundPlace) answer {
	order.Account = timmy.SessionAccount(s.ID)
	return a.once(c, task{
		route: "POST " + at(""), credential: a.secret(s), body: raw,
		do: func(ctx context.Context, subject string, _ bool) answer {
			order.ID = subject
			r, err := a.cfg.Refunds.Order(ctx, order)
			if err != nil {
				return failed(c, err, msgRefund)
			}
			return refunded(a.cfg.Refunds.Await(ctx, r), at)
		},
		known: func(ctx context.Context, subject string) (answer, bool) {
			r, err := a.cfg.Refunds.Of(ctx, subject)
			return refunded(r, at), err == nil && r.State.Final()
		},
	})
}

func refunded(r timmy.Refund, at refundPlace) answer {
	v := refundView{RefundID: r.ID, State: "pending", Amount: r.Amount.Sats(), Reason: r.Reason}
	if !r.State.Final() {
		out := reply(http.StatusAccepted, v)
		out.retry, out.open, out.location = retryBusy, true, at(r.ID)
		return out
	}
	v.State = string(r.State)
	if r.State == timmy.RefundPaid {
		fee := int64(r.Fee)
		v.Fee = &fee
	}
	return reply(http.StatusOK, v)
}

// fetchRefund is GET /sessions/:id/refunds/:refundId.
func (a *API) fetchRefund(c *call) answer {
	s, bad := a.session(c, c.PathValue("id"), msgRefund)
	if bad != nil {
		return *bad
	}
	if !a.authorized(c, s) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	return a.refundOf(c, s, inSession(s))
}

// fetchRefundAsked is GET /ask/refund/:refundId.
func (a *API) fetchRefundAsked(c *call) answer {
	s, bad := a.wholeHolder(c)
	if bad != nil {
		return *bad
	}
	return a.refundOf(c, s, inAsk)
}

func (a *API) refundOf(c *call, s timmy.Session, at refundPlace) answer {
	id := c.PathValue("refund")
	if !isUUID(id) {
		return refuse(http.StatusNotFound, msgNoRefund)
	}
	r, err := a.cfg.Refunds.Of(c.Context(), id)
	switch {
	case unknown(err), err == nil && r.Account != timmy.SessionAccount(s.ID):
		return refuse(http.StatusNotFound, msgNoRefund)
	case err != nil:
		return failed(c, err, msgRefund)
	}
	return refunded(r, at)
}

// refundAddress reads where a new session's remainder goes at its end; "": nowhere.
func (a *API) refundAddress(o object) (string, *answer) {
	raw, ok := o["refund_address"]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	if a.cfg.Refunds == nil {
		return "", no(http.StatusBadRequest, "This tower gives no refunds")
	}
	s, _ := o.str("refund_address")
	address, err := timmy.ParseLightningAddress(s)
	if err != nil {
		return "", no(http.StatusBadRequest, "refund_address: "+timmy.MessageOf(err))
	}
	return address, nil
}
