package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/timmy-tower/timmy"
)

// lnbitsPay is POST /api/v1/payments for a payment; it needs the admin key.
type lnbitsPay struct {
	Out    bool   `json:"out"`
	Bolt11 string `json:"bolt11"`
}

// Send pays an invoice; it needs the wallet's admin key. LNbits takes no limit of
// the fee but its own reserve (lnbits_reserve_fee_percent, 1 % unless set). What is
// not plainly paid or failed is pending.
func (l *LNbits) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	var made lnbitsPayment
	err := l.call.post(ctx, "/api/v1/payments", lnbitsPay{Out: true, Bolt11: o.Bolt11}, &made)
	if err != nil {
		return settleDoubt(ctx, l.log, err, o.Hash, l.Sent)
	}
	if made.PaymentHash.text() != o.Hash.String() || !made.outgoing() {
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	return made.sent(), nil
}

// Sent says what became of a payment of ours.
func (l *LNbits) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	var state lnbitsState
	err := l.call.get(ctx, "/api/v1/payments/"+h.String(), &state)
	switch {
	case timmy.CodeOf(err) == timmy.NotFound:
		return timmy.Sent{State: timmy.SentNever}, nil
	case err != nil:
		return timmy.Sent{}, fmt.Errorf("looking up at lnbits: %w", err)
	case state.Details == nil || state.Details.PaymentHash.text() != h.String() || !state.Details.outgoing():
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	s := state.Details.sent()
	if s.State == timmy.SentPaid && !state.Paid.isTrue() {
		s = timmy.Sent{State: timmy.SentPending}
	}
	return s, nil
}

// sent reads an outgoing payment. LNbits writes its fee with either sign, by
// version.
func (p lnbitsPayment) sent() timmy.Sent {
	switch {
	case p.success():
		fee, ok := p.Fee.integer()
		if !ok {
			fee = 0
		}
		return timmy.Sent{State: timmy.SentPaid, Fee: timmy.Msat(max(fee, -fee))}
	case p.Status.text() == "failed":
		return timmy.Sent{State: timmy.SentFailed, Reason: noWay}
	}
	return timmy.Sent{State: timmy.SentPending}
}

// noWay is told of a payment that failed without a reason that helps anybody.
const noWay = "The payment did not find its way."

// settleDoubt is what a call to pay that was not answered with a payment comes to.
// A plain refusal is believed once the wallet, asked again, knows nothing of the
// payment; whatever else happened is found out later.
func settleDoubt(ctx context.Context, log *slog.Logger, err error, h timmy.Hash, sent func(context.Context, timmy.Hash) (timmy.Sent, error)) (timmy.Sent, error) {
	s, ok := errors.AsType[*status](err)
	if !ok {
		return timmy.Sent{}, fmt.Errorf("paying: %w", err)
	}
	log.Warn("the wallet refuses to pay", "hash", h, "error", s)
	known, e := sent(ctx, h)
	switch {
	case e != nil:
		return timmy.Sent{}, fmt.Errorf("paying: %w", errors.Join(err, e))
	case known.State == timmy.SentNever && plainRefusal(s):
		return timmy.Sent{State: timmy.SentFailed, Reason: "My wallet refuses to pay that."}, nil
	case known.State == timmy.SentNever:
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	return known, nil
}

// plainRefusal: the call was understood and not done. A gateway in between says
// other things.
func plainRefusal(s *status) bool {
	switch s.code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return json.Valid([]byte(s.detail))
	}
	return false
}

// believe is what a plain no comes to: it is believed once the wallet, asked again, knows
// nothing of the payment, or that it failed.
func believe(ctx context.Context, no error, h timmy.Hash, reason string, sent func(context.Context, timmy.Hash) (timmy.Sent, error)) (timmy.Sent, error) {
	known, err := sent(ctx, h)
	switch {
	case err != nil:
		return timmy.Sent{}, fmt.Errorf("paying: %w", errors.Join(no, err))
	case known.State == timmy.SentNever || known.State == timmy.SentFailed:
		return timmy.Sent{State: timmy.SentFailed, Reason: reason}, nil
	}
	return known, nil
}
