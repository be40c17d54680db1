package wallet

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/timmy-tower/timmy"
)

// TargetsConfig is what [NewTargets] needs. A nil HTTP client calls public
// addresses only. A nil clock or logger is the usual one.
type TargetsConfig struct {
	Network Network
	HTTP    *http.Client
	Now     func() time.Time
	Log     *slog.Logger
}

// Targets read where a payment of ours should go: an invoice, or a lightning
// address that gives one (LUD-16).
//
// They may be used by several goroutines.
type Targets struct{ cfg TargetsConfig }

// NewTargets checks the network.
func NewTargets(cfg TargetsConfig) (*Targets, error) {
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Targets{cfg}, nil
}

// Read reads an invoice that somebody else made. One without an amount, which leaves it
// to the payer, has the amount 0. Invalid: it cannot be paid as it is; the message says
// why.
func (t *Targets) Read(bolt11 string) (timmy.Invoice, error) {
	d, err := Decode(bolt11)
	if err != nil {
		return timmy.Invoice{}, &timmy.Error{
			Code: timmy.Invalid, Err: err,
			Message: "That is neither a lightning address (name@host.example) nor a Lightning invoice.",
		}
	}
	switch {
	case d.Network != t.cfg.Network:
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "The invoice is for %s, and I am on %s.", d.Network, t.cfg.Network)
	case d.Amount%timmy.Sat != 0:
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "The invoice must be over whole sats.")
	case !d.Secret || d.Hash.IsZero():
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "The invoice has no payment secret, and cannot be paid safely.")
	case !d.Expires().After(t.cfg.Now()):
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "The invoice has expired.")
	}
	return timmy.Invoice{Hash: d.Hash, Bolt11: bolt11, Amount: d.Amount, Expires: d.Expires()}, nil
}

// Ask gets an invoice over amount from a lightning address, and checks network,
// amount, description hash and expiry. Unavailable: there is none to be had.
func (t *Targets) Ask(ctx context.Context, address string, amount timmy.Msat) (timmy.Invoice, error) {
	a, err := OpenLNAddress(LNAddressConfig{Address: address, Network: t.cfg.Network, HTTP: t.cfg.HTTP, Now: t.cfg.Now, Log: t.cfg.Log})
	if err != nil {
		return timmy.Invoice{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := a.look(ctx)
	if err == nil && (int64(amount) < o.Min || int64(amount) > o.Max) {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "The lightning address takes from %d to %d sats.", (o.Min+999)/1000, o.Max/1000)
	}
	var inv timmy.Invoice
	if err == nil {
		inv, _, err = a.fetch(ctx, o, amount)
	}
	if err != nil {
		t.cfg.Log.Info("a lightning address gave no invoice", "error", err)
		return timmy.Invoice{}, &timmy.Error{
			Code: timmy.Unavailable, Err: err, Message: fmt.Sprintf("The lightning address %s gave no invoice.", address),
		}
	}
	return inv, nil
}
