package wallet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/timmy-tower/timmy"
)

// What phoenixd's one peer takes for a payment: 4 sats and 0.4 %. It is no setting.
const (
	phoenixdFeeBase = 4 * timmy.Sat
	phoenixdFeePart = 250 // of which one
)

// phoenixdPaid is the answer of payinvoice, whether it was paid or not.
type phoenixdPaid struct {
	Type     loose `json:"type"` // payment_sent, payment_failed
	Hash     loose `json:"paymentHash"`
	Preimage loose `json:"paymentPreimage"`
	Fee      loose `json:"routingFeeSat"`
	Reason   loose `json:"reason"`
}

// phoenixdSent is an outgoing payment.
type phoenixdSent struct {
	Hash      loose `json:"paymentHash"`
	Preimage  loose `json:"preimage"`
	Paid      loose `json:"isPaid"`
	Fees      loose `json:"fees"`        // msat
	Completed loose `json:"completedAt"` // set when it is over, either way
}

// Send pays an invoice; it needs the full password. phoenixd takes no limit of the fee, but
// the fee is known: a payment whose limit is below it is not begun.
func (p *Phoenixd) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	if o.FeeMax < phoenixdFeeBase+o.Amount/phoenixdFeePart {
		return timmy.Sent{State: timmy.SentFailed, Reason: "My wallet's fee is higher than what was kept for it."}, nil
	}
	form := url.Values{"invoice": {o.Bolt11}}
	if unnamed(o) != "" {
		form.Set("amountSat", strconv.FormatInt(o.Amount.Sats(), 10))
	}
	a := ask{method: http.MethodPost, path: "/payinvoice", kind: "application/x-www-form-urlencoded", body: []byte(form.Encode())}
	var paid phoenixdPaid
	if err := p.call.write(ctx, a, &paid); err != nil {
		return settleDoubt(ctx, p.log, err, o.Hash, p.Sent)
	}
	if paid.Hash.text() != o.Hash.String() {
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	if paid.Type.text() == "payment_failed" { // asked again: of several tries one may be under way
		return believe(ctx, errors.New(paid.Reason.text()), o.Hash, noWay, p.Sent)
	}
	raw, err := hex.DecodeString(paid.Preimage.text())
	if err != nil || !proves(raw, o.Hash) {
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	s := timmy.Sent{State: timmy.SentPaid, Fee: -1, Preimage: [32]byte(raw)}
	if sats, ok := paid.Fee.integer(); ok && sats >= 0 && sats <= timmy.MaxMsat.Sats() {
		s.Fee = timmy.FromSats(sats)
	}
	return s, nil
}

// Sent says what became of a payment of ours.
func (p *Phoenixd) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	var row phoenixdSent
	err := p.call.get(ctx, "/payments/outgoingbyhash/"+h.String(), &row)
	switch {
	case timmy.CodeOf(err) == timmy.NotFound:
		return timmy.Sent{State: timmy.SentNever}, nil
	case err != nil:
		return timmy.Sent{}, fmt.Errorf("looking up a payment at phoenixd: %w", err)
	}
	raw, bad := hex.DecodeString(row.Preimage.text())
	over, _ := row.Completed.integer()
	switch {
	case row.Hash.text() != h.String():
	case row.Paid.isTrue() && bad == nil && proves(raw, h):
		s := timmy.Sent{State: timmy.SentPaid, Fee: -1, Preimage: [32]byte(raw)}
		if fee, ok := row.Fees.integer(); ok && fee >= 0 {
			s.Fee = timmy.Msat(fee)
		}
		return s, nil
	case !row.Paid.isTrue() && over > 0:
		return timmy.Sent{State: timmy.SentFailed, Reason: noWay}, nil
	}
	return timmy.Sent{State: timmy.SentPending}, nil
}
