package simnet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
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
	ask := map[string]any{"payment_request": bolt11}
	if sats > 0 {
		ask["amt"] = fmt.Sprint(sats)
	}
	return n.send(ctx, ask)
}

// send has the node's router pay, and waits for the end.
func (n *Node) send(ctx context.Context, ask map[string]any) error {
	ask["timeout_seconds"], ask["no_inflight_updates"], ask["fee_limit_sat"] = int(payWait/time.Second), true, "100"
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

// Overpay pays an invoice with more than it asks for, as a careless payer's node may: it
// is paid by its hash and secret, for no node is told to pay another amount than the
// invoice's.
func (n *Node) Overpay(ctx context.Context, bolt11 string, sats int64) error {
	var inv struct {
		To     string `json:"destination"`
		Hash   string `json:"payment_hash"`
		Secret []byte `json:"payment_addr"`
		CLTV   string `json:"cltv_expiry"`
	}
	if err := n.get(ctx, "/v1/payreq/"+bolt11, &inv); err != nil {
		return err
	}
	to, err := hex.DecodeString(inv.To)
	if err != nil {
		return fmt.Errorf("reading a node's key: %w", err)
	}
	hash, err := hex.DecodeString(inv.Hash)
	if err != nil {
		return fmt.Errorf("reading a hash: %w", err)
	}
	delta, err := strconv.Atoi(inv.CLTV)
	if err != nil {
		return fmt.Errorf("reading a delay: %w", err)
	}
	return n.send(ctx, map[string]any{
		"dest": to, "payment_hash": hash, "payment_addr": inv.Secret, "final_cltv_delta": delta, "amt": fmt.Sprint(sats),
	})
}

// Settled reports whether an invoice of this node, by its hash in hex, was paid, and
// with how many msat.
func (n *Node) Settled(ctx context.Context, hash string) (paid bool, msat int64, err error) {
	var inv struct {
		State string
		Paid  string `json:"amt_paid_msat"`
	}
	if err := n.get(ctx, "/v1/invoice/"+hash, &inv); err != nil {
		return false, 0, err
	}
	if inv.State != "SETTLED" {
		return false, 0, nil
	}
	msat, err = strconv.ParseInt(inv.Paid, 10, 64)
	return true, msat, err
}
