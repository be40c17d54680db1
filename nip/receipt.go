package nip

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

const (
	// receiptPrefix begins the d tag of a receipt.
	receiptPrefix = "timmy-receipt-"
	// maxReceiptPostings is more than one request can have.
	maxReceiptPostings = 16
)

// ChargeReceipt is the content of a receipt's event: what a request cost. Amounts are
// msat; all but dust and the postings are whole sats. docs/money.md has the format.
type ChargeReceipt struct {
	Type     string           `json:"type"` // "timmy-receipt-1"
	Request  timmy.RequestID  `json:"request"`
	State    timmy.State      `json:"state"`
	Ended    int64            `json:"ended"` // unix seconds
	Payer    string           `json:"payer"` // SHA-256 of request, a zero byte, and the account; hex
	EvalIn   int64            `json:"eval_in"`
	EvalOut  int64            `json:"eval_out"` // tokens
	WorkIn   int64            `json:"work_in"`
	WorkOut  int64            `json:"work_out"`
	Rate     timmy.Rate       `json:"rate"` // micro-USD a bitcoin
	Eval     timmy.Msat       `json:"eval"`
	Work     timmy.Msat       `json:"work"`
	Total    timmy.Msat       `json:"total"`
	Charged  timmy.Msat       `json:"charged"`
	Absorbed timmy.Msat       `json:"absorbed"`
	Waived   timmy.Msat       `json:"waived"`
	Dust     timmy.Msat       `json:"dust"`
	Balance  timmy.Msat       `json:"balance"` // after it
	Postings []ReceiptPosting `json:"postings"`
}

// ReceiptPosting is a movement that charged the request, and its place in the
// chain of postings.
type ReceiptPosting struct {
	Key    string     `json:"key"`
	Amount timmy.Msat `json:"amount"`
	Place  int64      `json:"place"`
	Hash   string     `json:"hash"`
}

// NewReceipt is the receipt of a reply.
func NewReceipt(r timmy.Reply, postings []ReceiptPosting) ChargeReceipt {
	o, c := r.Outcome, r.Outcome.Cost
	return ChargeReceipt{
		Type: receiptPrefix + "1", Request: r.Request, State: o.State, Ended: r.At.Unix(), Payer: payerHash(r.Request, r.Payer),
		EvalIn: o.Eval.In, EvalOut: o.Eval.Out, WorkIn: o.Work.In, WorkOut: o.Work.Out, Rate: o.Rate,
		Eval: c.Eval, Work: c.Work, Total: c.Total, Charged: c.Charged, Absorbed: c.Absorbed, Waived: c.Waived, Dust: c.Dust,
		Balance: r.Balance, Postings: postings,
	}
}

func payerHash(id timmy.RequestID, a timmy.Account) string {
	h := sha256.Sum256([]byte(string(id) + "\x00" + string(a)))
	return hex.EncodeToString(h[:])
}

// SignReceipt makes the event of a receipt: kind 30078, dated when the request
// ended, so that the same receipt has the same id however often it is asked for.
func SignReceipt(k Key, r ChargeReceipt) (*nostr.Event, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing a receipt: %w", err)
	}
	d := sha256.Sum256([]byte(r.Request))
	ev := &nostr.Event{
		Kind: kindApp, CreatedAt: nostr.Timestamp(r.Ended), Content: string(content),
		Tags: nostr.Tags{{"d", receiptPrefix + hex.EncodeToString(d[:])}, {"alt", "The receipt of a request"}},
	}
	if err := k.Sign(ev); err != nil {
		return nil, fmt.Errorf("signing a receipt: %w", err)
	}
	return ev, nil
}

// ParseReceipt reads a receipt's event and checks its signature, shape and sums. By
// whom it is signed is the caller's to compare.
func ParseReceipt(raw []byte) (r ChargeReceipt, by timmy.PubKey, err error) {
	ev, err := ParseEvent(raw)
	if err != nil {
		return r, by, err
	}
	if err := Verify(ev); err != nil {
		return r, by, err
	}
	if by, err = timmy.ParsePubKey(ev.PubKey); err != nil {
		return r, by, err
	}
	d := json.NewDecoder(bytes.NewReader([]byte(ev.Content)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() || ev.Kind != kindApp || r.Type != receiptPrefix+"1" {
		return r, by, errors.New("not a receipt")
	}
	if int64(ev.CreatedAt) != r.Ended {
		return r, by, errors.New("the receipt's date is not that of its event")
	}
	return r, by, r.check()
}

// check does the sums.
func (r ChargeReceipt) check() error {
	for _, v := range []timmy.Msat{r.Eval, r.Work, r.Total, r.Charged, r.Absorbed, r.Waived, r.Dust, r.Balance} {
		if v < 0 || v > timmy.MaxMsat {
			return fmt.Errorf("%d is no amount", v)
		}
	}
	if len(r.Postings) > maxReceiptPostings {
		return errors.New("too many postings")
	}
	var sum timmy.Msat
	for _, p := range r.Postings {
		switch {
		case p.Amount <= 0 || p.Amount > timmy.MaxMsat:
			return fmt.Errorf("posting %s: %d is no amount", p.Key, p.Amount)
		case !strings.HasPrefix(p.Key, "finish:"+string(r.Request)+":"):
			return fmt.Errorf("posting %s is not of this request", p.Key)
		case p.Place < 1 || !isHex(p.Hash, 64):
			return fmt.Errorf("posting %s has no place in the chain", p.Key)
		}
		if sum += p.Amount; sum > timmy.MaxMsat {
			return errors.New("the postings are no amount")
		}
	}
	switch {
	case r.Eval+r.Work != r.Total:
		return fmt.Errorf("%d and %d are not %d", r.Eval, r.Work, r.Total)
	case r.Charged+r.Absorbed+r.Waived != r.Total:
		return fmt.Errorf("%d charged, %d absorbed and %d waived are not %d", r.Charged, r.Absorbed, r.Waived, r.Total)
	case sum != r.Charged+r.Absorbed:
		return fmt.Errorf("postings of %d for %d", sum, r.Charged+r.Absorbed)
	case r.Dust > r.Charged+r.Absorbed:
		return errors.New("more dust than money")
	}
	return nil
}

// At is when the request ended.
func (r ChargeReceipt) At() time.Time { return time.Unix(r.Ended, 0).UTC() }
