package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/timmy-tower/timmy"
)

// lnbitsCreate is POST /api/v1/payments. Out is always sent, as false: LNbits
// takes its absence for true, a payment.
type lnbitsCreate struct {
	Out             bool              `json:"out"`
	Amount          int64             `json:"amount"`
	Unit            string            `json:"unit"`
	Memo            string            `json:"memo"`
	Expiry          int64             `json:"expiry"`
	DescriptionHash string            `json:"description_hash,omitempty"`
	Unhashed        string            `json:"unhashed_description,omitempty"`
	Extra           map[string]string `json:"extra"`
}

// loose is any JSON value, read as what it should have been. Server versions
// differ in types, and one odd field must not hide a payment.
type loose json.RawMessage

// UnmarshalJSON keeps the bytes.
func (v *loose) UnmarshalJSON(b []byte) error {
	*v = append((*v)[:0], b...)
	return nil
}

// text is the string, or empty.
func (v loose) text() string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// isTrue: the JSON value true and nothing like it.
func (v loose) isTrue() bool { return string(bytes.TrimSpace(v)) == "true" }

// isFalse: the JSON value false and nothing like it.
func (v loose) isFalse() bool { return string(bytes.TrimSpace(v)) == "false" }

// integer is a JSON integer; a string, a fraction, null are none.
func (v loose) integer() (int64, bool) {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
	return n, err == nil
}

// lnbitsCreated is the answer: bolt11 of version 1, payment_request of before.
type lnbitsCreated struct {
	PaymentHash loose `json:"payment_hash"`
	Bolt11      loose `json:"bolt11"`
	Request     loose `json:"payment_request"`
}

func (c lnbitsCreated) invoice() string {
	if s := c.Bolt11.text(); s != "" {
		return s
	}
	return c.Request.text()
}

// lnbitsState is GET /api/v1/payments/<hash>. Details is missing without the
// wallet's key.
type lnbitsState struct {
	Paid    loose          `json:"paid"`
	Details *lnbitsPayment `json:"details"`
}

// lnbitsPayment is a payment; amounts are msat, negative when outgoing.
type lnbitsPayment struct {
	PaymentHash loose `json:"payment_hash"`
	Amount      loose `json:"amount"`
	Fee         loose `json:"fee"`
	Status      loose `json:"status"`  // version 1: pending, success, failed
	Pending     loose `json:"pending"` // before: a bool
	Preimage    loose `json:"preimage"`
	Time        loose `json:"time"` // text or unix seconds
	CreatedAt   loose `json:"created_at"`
	UpdatedAt   loose `json:"updated_at"`
	Extra       loose `json:"extra"`
}

// success: settled. Anything but the exact word, or the exact old bool, is not.
func (p lnbitsPayment) success() bool {
	if len(p.Status) > 0 && string(p.Status) != "null" {
		return p.Status.text() == "success"
	}
	return p.Pending.isFalse()
}

func (p lnbitsPayment) outgoing() bool {
	n, ok := p.Amount.integer()
	return ok && n < 0
}

// received is the amount, or 0 for what cannot be one.
func (p lnbitsPayment) received() timmy.Msat {
	n, ok := p.Amount.integer()
	if !ok || n <= 0 || n > int64(timmy.MaxMsat) {
		return 0
	}
	return timmy.Msat(n)
}

// ref is our reference, if it came back.
func (p lnbitsPayment) ref() string {
	var extra struct {
		Ref loose `json:"ref"`
	}
	if json.Unmarshal(p.Extra, &extra) != nil {
		return ""
	}
	if s := extra.Ref.text(); len(s) <= maxRef {
		return s
	}
	return ""
}

// payment is what the tower is told. A date that cannot be is replaced by now,
// and a preimage that does not fit is left out.
func (p lnbitsPayment) payment(h timmy.Hash, now time.Time) timmy.Payment {
	out := timmy.Payment{Hash: h, Ref: p.ref(), Received: p.received(), Settled: true, At: now.UTC()}
	if raw, err := hex.DecodeString(p.Preimage.text()); err == nil && len(raw) == 32 && sha256.Sum256(raw) == h {
		out.Preimage = [32]byte(raw)
	}
	for _, v := range []loose{p.UpdatedAt, p.Time, p.CreatedAt} {
		if at, ok := parseTime(v); ok && at.Before(now) && now.Sub(at) < 366*24*time.Hour {
			out.At = at
			break
		}
	}
	return out
}

// made is when the invoice was created.
func (p lnbitsPayment) made() (time.Time, bool) {
	if at, ok := parseTime(p.CreatedAt); ok {
		return at, true
	}
	return parseTime(p.Time)
}

// parseTime reads what LNbits versions write: unix seconds, or text with or
// without a zone (then UTC).
func parseTime(v loose) (time.Time, bool) {
	if n, ok := v.integer(); ok {
		return time.Unix(n, 0).UTC(), n > 0 && n < 1<<40
	}
	s := v.text()
	if len(s) > 64 {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
