package wallet

import (
	"encoding/base64"
	"time"

	"github.com/timmy-tower/timmy"
)

// lndCreate is POST /v1/invoices. Protobuf's JSON: 64-bit integers are text,
// bytes are base64.
type lndCreate struct {
	ValueMsat       string `json:"value_msat"`
	Memo            string `json:"memo"`
	Expiry          string `json:"expiry"`
	Private         bool   `json:"private,omitempty"`
	DescriptionHash []byte `json:"description_hash,omitempty"`
}

// lndCreated is its answer.
type lndCreated struct {
	Hash    loose `json:"r_hash"`
	Request loose `json:"payment_request"`
}

// lndInvoice is an invoice as every read and the stream show it.
type lndInvoice struct {
	Memo        loose `json:"memo"`
	Hash        loose `json:"r_hash"`
	Preimage    loose `json:"r_preimage"`
	State       loose `json:"state"` // OPEN, ACCEPTED (held), SETTLED, CANCELED
	PaidMsat    loose `json:"amt_paid_msat"`
	SettleIndex loose `json:"settle_index"`
	SettleDate  loose `json:"settle_date"`
	Created     loose `json:"creation_date"`
}

// base64Hash reads 32 bytes of base64.
func base64Hash(v loose) (timmy.Hash, bool) {
	raw, err := base64.StdEncoding.DecodeString(v.text())
	if err != nil || len(raw) != 32 {
		return timmy.Hash{}, false
	}
	return timmy.Hash(raw), true
}

// payment is what the tower is told of an invoice. Only SETTLED counts; without
// the preimage that proves it the payment is unproven.
func (i lndInvoice) payment(h timmy.Hash, now time.Time) timmy.Payment {
	p := timmy.Payment{Hash: h}
	p.Ref, _ = refOf(i.Memo.text())
	if i.State.text() != "SETTLED" {
		return p
	}
	p.Settled, p.Received, p.At = true, i.PaidMsat.amount(), now.UTC()
	raw, _ := base64.StdEncoding.DecodeString(i.Preimage.text())
	prove(&p, raw)
	if n, ok := i.SettleDate.number(); ok {
		p.At = plausible(time.Unix(n, 0), now)
	}
	return p
}

// index is the place in the order of settlements; 0: none.
func (i lndInvoice) index() uint64 {
	n, ok := i.SettleIndex.number()
	if !ok || n < 0 {
		return 0
	}
	return uint64(n)
}

// made is when the invoice was created.
func (i lndInvoice) made() (time.Time, bool) {
	n, ok := i.Created.number()
	return time.Unix(n, 0), ok && n > 0 && n < 1<<40
}

// lndPage is GET /v1/invoices.
type lndPage struct {
	Invoices []lndInvoice `json:"invoices"`
	First    loose        `json:"first_index_offset"`
}
