package wallet

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
)

// lndPay is POST /v2/router/send; the macaroon must allow offchain:write.
type lndPay struct {
	Request  string `json:"payment_request"`
	Seconds  int    `json:"timeout_seconds"`
	FeeLimit string `json:"fee_limit_msat"`
	Quiet    bool   `json:"no_inflight_updates"`
	Amount   string `json:"amt_msat,omitempty"` // of an invoice that names none
}

// lndPayment is a payment as the router's streams show it.
type lndPayment struct {
	Hash     loose `json:"payment_hash"` // hex
	Preimage loose `json:"payment_preimage"`
	Status   loose `json:"status"` // INITIATED, IN_FLIGHT, SUCCEEDED, FAILED
	Fee      loose `json:"fee_msat"`
	Why      loose `json:"failure_reason"`
}

// lndStreamed is a line of such a stream.
type lndStreamed struct {
	Result *lndPayment     `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Send pays an invoice within the fee limit and waits for the end, as long as ctx
// lets it.
func (l *LND) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	body, err := json.Marshal(lndPay{
		Request: o.Bolt11, Seconds: payFor, FeeLimit: strconv.FormatInt(int64(o.FeeMax), 10), Quiet: true,
		Amount: unnamed(o),
	})
	if err != nil {
		return timmy.Sent{}, err
	}
	p, err := l.first(ctx, ask{method: http.MethodPost, path: "/v2/router/send", body: body})
	if err != nil {
		return settleDoubt(ctx, l.log, err, o.Hash, l.Sent)
	}
	return p.sent(o.Hash), nil
}

// Sent says what became of a payment of ours. It needs offchain:read.
func (l *LND) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := l.first(ctx, ask{method: http.MethodGet, path: "/v2/router/track/" + base64.URLEncoding.EncodeToString(h[:])})
	if s, ok := errors.AsType[*status](err); ok && strings.Contains(s.detail, "payment isn't initiated") {
		return timmy.Sent{State: timmy.SentNever}, nil
	}
	if err != nil {
		return timmy.Sent{}, fmt.Errorf("looking up a payment at lnd: %w", err)
	}
	return p.sent(h), nil
}

// unnamed is the amount in msat of a payment whose invoice leaves it to the payer; else
// "".
func unnamed(o timmy.Outgoing) string {
	if d, err := Decode(o.Bolt11); err != nil || d.Amount != 0 {
		return ""
	}
	return strconv.FormatInt(int64(o.Amount), 10)
}

// first is the first line of a stream, which is all that is needed of it.
func (l *LND) first(ctx context.Context, a ask) (lndPayment, error) {
	req, err := l.call.request(ctx, a)
	if err != nil {
		return lndPayment{}, err
	}
	res, err := l.stream.Do(req)
	if err != nil {
		return lndPayment{}, away(l.call.redact(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := readCapped(res.Body)
		if err != nil {
			return lndPayment{}, away(err)
		}
		return lndPayment{}, away(l.call.redact(refusal(res.StatusCode, b)))
	}
	var line lndStreamed
	if err := json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(&line); err != nil {
		return lndPayment{}, away(l.call.redact(fmt.Errorf("reading the answer: %w", err)))
	}
	if line.Result == nil { // an error within a stream has a status of its own
		return lndPayment{}, away(l.call.redact(refusal(http.StatusBadRequest, line.Error)))
	}
	return *line.Result, nil
}

// sent is what the tower is told. An answer about another payment says nothing.
func (p lndPayment) sent(h timmy.Hash) timmy.Sent {
	if p.Hash.text() != h.String() {
		return timmy.Sent{State: timmy.SentPending}
	}
	switch p.Status.text() {
	case "SUCCEEDED":
		s := timmy.Sent{State: timmy.SentPaid, Fee: -1} // absurd, until it is read
		if n, ok := p.Fee.number(); ok {
			s.Fee = timmy.Msat(n)
		}
		if raw, err := hex.DecodeString(p.Preimage.text()); err == nil && proves(raw, h) {
			s.Preimage = [32]byte(raw)
		}
		return s
	case "FAILED":
		return timmy.Sent{State: timmy.SentFailed, Reason: lndReason(p.Why.text())}
	}
	return timmy.Sent{State: timmy.SentPending}
}

func lndReason(why string) string {
	switch why {
	case "FAILURE_REASON_NO_ROUTE":
		return "No route to that wallet was found."
	case "FAILURE_REASON_TIMEOUT":
		return "No way to that wallet was found in time."
	case "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS":
		return "That wallet does not know the invoice any more."
	case "FAILURE_REASON_INSUFFICIENT_BALANCE":
		return "My wallet cannot send as much right now."
	}
	return noWay
}
