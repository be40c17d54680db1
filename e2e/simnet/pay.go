package simnet

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// payWait is how long the payer's node may try.
const payWait = 60 * time.Second

// ErrRefused is that a payment failed for good: nothing was paid.
var ErrRefused = errors.New("the payment failed")

// Pay pays an invoice and returns when it is settled; the invoice's node has been
// handed the money then. sats is for invoices without an amount, else 0. Paying
// again what is paid is an error.
func (n *Node) Pay(ctx context.Context, bolt11 string, sats int64) error {
	ask := map[string]any{
		"payment_request": bolt11, "timeout_seconds": int(payWait / time.Second),
		"no_inflight_updates": true, "fee_limit_sat": "100",
	}
	if sats > 0 {
		ask["amt"] = fmt.Sprint(sats)
	}
	var out struct {
		Result struct {
			Status string `json:"status"`
			Reason string `json:"failure_reason"`
		} `json:"result"`
	}
	if err := n.post(ctx, "/v2/router/send", ask, &out); err != nil {
		return err
	}
	if out.Result.Status != "SUCCEEDED" {
		return fmt.Errorf("%w: %s %s", ErrRefused, out.Result.Status, out.Result.Reason)
	}
	return nil
}

// Invoice asks the node for one of its own, for money that goes the other way.
func (n *Node) Invoice(ctx context.Context, sats int64, memo string) (string, error) {
	var out struct {
		Request string `json:"payment_request"`
	}
	err := n.post(ctx, "/v1/invoices", map[string]any{"value": fmt.Sprint(sats), "memo": memo}, &out)
	return out.Request, err
}
