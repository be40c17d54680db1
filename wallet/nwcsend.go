package wallet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Send pays an invoice; the connection must allow pay_invoice. NIP-47 knows no limit of the
// fee: what the wallet takes above what was kept for it is the operator's.
func (n *NWC) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	var paid struct {
		Preimage loose `json:"preimage"`
		Fee      loose `json:"fees_paid"`
	}
	params := map[string]any{"invoice": o.Bolt11}
	if unnamed(o) != "" {
		params["amount"] = int64(o.Amount)
	}
	err := n.write(ctx, "pay_invoice", params, &paid)
	if err != nil {
		return n.unpaid(ctx, err, o.Hash)
	}
	raw, err := hex.DecodeString(paid.Preimage.text())
	if err != nil || !proves(raw, o.Hash) {
		return timmy.Sent{State: timmy.SentPending}, nil
	}
	return timmy.Sent{State: timmy.SentPaid, Fee: nwcFee(paid.Fee), Preimage: [32]byte(raw)}, nil
}

// unpaid is what an error comes to. PAYMENT_FAILED may be said of a payment under way.
func (n *NWC) unpaid(ctx context.Context, err error, h timmy.Hash) (timmy.Sent, error) {
	e, ok := errors.AsType[*nip.WalletError](err)
	if !ok {
		return timmy.Sent{}, fmt.Errorf("paying: %w", err)
	}
	n.cfg.Log.Warn("the wallet refuses to pay", "hash", h, "error", e)
	return believe(ctx, err, h, nwcReason(e.Code), n.Sent)
}

// Sent says what became of a payment of ours. Some wallets look up only what they received:
// that one does not find it is believed once it is not in the list of what was sent either.
// A wallet that says so in other words than NOT_FOUND, or does not list, leaves it open.
func (n *NWC) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	var x nwcTransaction
	err := n.read(ctx, "lookup_invoice", map[string]string{"payment_hash": h.String()}, &x)
	if timmy.CodeOf(err) == timmy.NotFound {
		return n.listed(ctx, h)
	}
	if err != nil {
		return timmy.Sent{}, fmt.Errorf("looking up a payment by NWC: %w", err)
	}
	return x.sent(h), nil
}

// listed looks for a payment among those of the last days.
func (n *NWC) listed(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	from := n.cfg.Now().Add(-nwcSentWithin).Unix()
	for page := range maxNWCPages {
		rows, err := n.transactions(ctx, map[string]any{"from": from, "offset": page * nwcPage, "unpaid": true, "type": "outgoing"})
		if err != nil {
			return timmy.Sent{}, fmt.Errorf("listing payments by NWC: %w", err)
		}
		for _, x := range rows {
			if x.Hash.text() == h.String() {
				return x.sent(h), nil
			}
		}
		if len(rows) == 0 {
			return timmy.Sent{State: timmy.SentNever}, nil
		}
	}
	return timmy.Sent{State: timmy.SentPending}, nil
}

// sent is what the tower is told of an outgoing payment.
func (x nwcTransaction) sent(h timmy.Hash) timmy.Sent {
	raw, bad := hex.DecodeString(x.Preimage.text())
	at, _ := x.Settled.integer()
	settled := strings.EqualFold(x.State.text(), "settled") || x.State.text() == "" && at > 0
	switch {
	case x.Hash.text() != h.String() || x.Type.text() != "outgoing":
	case settled && bad == nil && proves(raw, h):
		return timmy.Sent{State: timmy.SentPaid, Fee: nwcFee(x.Fee), Preimage: [32]byte(raw)}
	case strings.EqualFold(x.State.text(), "failed"):
		return timmy.Sent{State: timmy.SentFailed, Reason: nwcReason("")}
	}
	return timmy.Sent{State: timmy.SentPending}
}

// nwcFee is absurd if the wallet does not say it.
func nwcFee(v loose) timmy.Msat {
	fee, ok := v.integer()
	if !ok || fee < 0 {
		return -1
	}
	return timmy.Msat(fee)
}

func nwcReason(code string) string {
	switch code {
	case "INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED":
		return "My wallet cannot send as much right now."
	case "RESTRICTED", "UNAUTHORIZED", "NOT_IMPLEMENTED":
		return "My wallet refuses to pay that."
	}
	return noWay
}
