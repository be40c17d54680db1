package wallet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/timmy-tower/timmy"
)

// Error codes of xpay that say: it was not paid, and nothing is under way.
const (
	clnPermanent = 203
	clnNoRoute   = 205
	clnExpired   = 207
)

// clnPay is the method xpay.
type clnPay struct {
	Invoice string `json:"invstring"`
	MaxFee  int64  `json:"maxfee"` // msat
	Seconds int    `json:"retry_for"`
	Amount  string `json:"amount_msat,omitempty"` // of an invoice that names none
}

// clnPaid is its answer.
type clnPaid struct {
	Preimage loose `json:"payment_preimage"`
	Amount   loose `json:"amount_msat"`
	Sent     loose `json:"amount_sent_msat"` // with the fees
}

// clnOutgoing is a payment in listpays.
type clnOutgoing struct {
	Hash     loose `json:"payment_hash"`
	Status   loose `json:"status"` // pending, failed, complete
	Preimage loose `json:"preimage"`
	Amount   loose `json:"amount_msat"`
	Sent     loose `json:"amount_sent_msat"`
}

// Send pays an invoice within the fee limit; the rune must allow xpay and listpays. A
// node that takes longer than a call may is asked later what became of it.
func (c *CLN) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	a, err := method("xpay", clnPay{Invoice: o.Bolt11, MaxFee: int64(o.FeeMax), Seconds: payFor, Amount: unnamed(o)})
	if err != nil {
		return timmy.Sent{}, err
	}
	var paid clnPaid
	if err := c.call.write(ctx, a, &paid); err != nil {
		return c.unpaid(ctx, err, o.Hash)
	}
	raw, err := hex.DecodeString(paid.Preimage.text())
	if err != nil || !proves(raw, o.Hash) {
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	return timmy.Sent{State: timmy.SentPaid, Fee: clnFee(paid.Sent, paid.Amount), Preimage: [32]byte(raw)}, nil
}

// unpaid is what an error of xpay comes to.
func (c *CLN) unpaid(ctx context.Context, err error, h timmy.Hash) (timmy.Sent, error) {
	s, ok := errors.AsType[*status](err)
	if !ok || (s.rpc != clnPermanent && s.rpc != clnNoRoute && s.rpc != clnExpired) {
		return settleDoubt(ctx, c.log, err, h, c.Sent)
	}
	return believe(ctx, err, h, clnReason(s.rpc), c.Sent)
}

// Sent says what became of a payment of ours: of several tries under one hash, whether any
// was paid or is under way.
func (c *CLN) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	var list struct {
		Pays []clnOutgoing `json:"pays"`
	}
	if err := c.read(ctx, "listpays", map[string]string{"payment_hash": h.String()}, &list); err != nil {
		return timmy.Sent{}, fmt.Errorf("looking up a payment at core lightning: %w", err)
	}
	if list.Pays == nil {
		return timmy.Sent{}, fmt.Errorf("looking up a payment at core lightning: %w", away(errors.New("the answer has no list of payments")))
	}
	out := timmy.Sent{State: timmy.SentNever}
	for _, p := range list.Pays {
		switch s := p.sent(h); {
		case s.State == timmy.SentPaid:
			return s, nil
		case out.State != timmy.SentPending:
			out = s
		}
	}
	return out, nil
}

func (p clnOutgoing) sent(h timmy.Hash) timmy.Sent {
	raw, err := hex.DecodeString(p.Preimage.text())
	switch proven := err == nil && proves(raw, h); {
	case p.Hash.text() != h.String():
	case p.Status.text() == "complete" && proven:
		return timmy.Sent{State: timmy.SentPaid, Fee: clnFee(p.Sent, p.Amount), Preimage: [32]byte(raw)}
	case p.Status.text() == "failed":
		return timmy.Sent{State: timmy.SentFailed, Reason: clnReason(0)}
	}
	return timmy.Sent{State: timmy.SentPending}
}

// clnFee is what was sent above the amount; absurd if the node does not say.
func clnFee(sent, amount loose) timmy.Msat {
	s, ok := sent.number()
	a, known := amount.number()
	if !ok || !known || s < a {
		return -1
	}
	return timmy.Msat(s - a)
}

func clnReason(code int) string {
	switch code {
	case clnPermanent:
		return "That wallet refuses the payment."
	case clnNoRoute:
		return "No route to that wallet was found."
	case clnExpired:
		return "The invoice has expired."
	}
	return noWay
}
