package wallet

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// Error codes of Core Lightning's invoice calls.
const (
	clnLabelExists = 900
	clnTimedOut    = 904
)

// clnCreate is the method invoice. With DescHashOnly the invoice carries the hash
// of the description, which is therefore sent in full.
type clnCreate struct {
	AmountMsat   int64  `json:"amount_msat"`
	Label        string `json:"label"`
	Description  string `json:"description"`
	Expiry       int64  `json:"expiry"`
	DescHashOnly bool   `json:"deschashonly,omitempty"`
	Private      *bool  `json:"exposeprivatechannels,omitempty"`
}

// clnCreated is its answer. A warning says why nobody may be able to pay it.
type clnCreated struct {
	Bolt11   loose `json:"bolt11"`
	Hash     loose `json:"payment_hash"`
	Capacity loose `json:"warning_capacity"`
	Offline  loose `json:"warning_offline"`
	DeadEnds loose `json:"warning_deadends"`
}

// warnings are for the operator.
func (c clnCreated) warnings() []string {
	var out []string
	for _, w := range []loose{c.Capacity, c.Offline, c.DeadEnds} {
		if s := cut(w.text(), maxLoggedReply); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// clnInvoice is an invoice in listinvoices and waitanyinvoice.
type clnInvoice struct {
	Label    loose `json:"label"`
	Hash     loose `json:"payment_hash"`
	Status   loose `json:"status"` // unpaid, paid, expired
	Bolt11   loose `json:"bolt11"`
	Expires  loose `json:"expires_at"`
	Created  loose `json:"created_index"`
	PayIndex loose `json:"pay_index"`
	Received loose `json:"amount_received_msat"`
	PaidAt   loose `json:"paid_at"`
	Preimage loose `json:"payment_preimage"`
}

// clnInvoices is the answer of listinvoices.
type clnInvoices struct {
	Invoices []clnInvoice `json:"invoices"`
}

func (i clnInvoice) hash() (timmy.Hash, bool) {
	h, err := timmy.ParseHash(i.Hash.text())
	return h, err == nil
}

// ref is our reference; false: the invoice is somebody else's.
func (i clnInvoice) ref() (string, bool) { return unlabelled(i.Label.text()) }

// payment is what the tower is told. Only "paid" counts; without the preimage
// that proves it the payment is unproven.
func (i clnInvoice) payment(h timmy.Hash, now time.Time) timmy.Payment {
	p := timmy.Payment{Hash: h}
	p.Ref, _ = i.ref()
	if i.Status.text() != "paid" {
		return p
	}
	p.Settled, p.Received, p.At = true, i.Received.amount(), now.UTC()
	raw, _ := hex.DecodeString(strings.ToLower(i.Preimage.text()))
	prove(&p, raw)
	if at, ok := unixTime(i.PaidAt); ok {
		p.At = plausible(at, now)
	}
	return p
}

// over says that nothing more can become of the invoice that was of interest
// since the cut-off.
func (i clnInvoice) over(cutoff time.Time) bool {
	date := i.Expires
	switch i.Status.text() {
	case "paid":
		date = i.PaidAt
	case "expired":
	default:
		return false
	}
	at, ok := unixTime(date)
	return ok && at.Before(cutoff)
}

// index is a count of Core Lightning; 0: none.
func index(v loose) uint64 {
	n, ok := v.number()
	if !ok || n < 0 {
		return 0
	}
	return uint64(n)
}

func unixTime(v loose) (time.Time, bool) {
	n, ok := v.number()
	return time.Unix(n, 0), ok && n > 0 && n < 1<<40
}
