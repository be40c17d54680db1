package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/wallet"
)

// payOrder and paidReport are a payment over the control socket.
type payOrder struct {
	Bolt11 string     `json:"bolt11"`
	Amount timmy.Msat `json:"msat,omitempty"` // 0: exactly what is asked
}

type paidReport struct {
	Hash timmy.Hash `json:"paymentHash"`
	Sats int64      `json:"sats"`
}

func payCommand(env Env) *cobra.Command {
	var sats int64
	cmd := &cobra.Command{
		Use:   "pay BOLT11",
		Short: "Pay an invoice of the fake wallet",
		Long: "Pay an invoice that a tower with the fake wallet made, as a payer's wallet would: no real sats move.\n" +
			"The tower may be running or not; if not, it credits the payment when it starts.",
		Args:    cobra.ExactArgs(1),
		Example: "  timmy pay lnbcrt1u1p…",
		RunE: func(cmd *cobra.Command, args []string) error {
			bolt11, err := invoiceArg(args[0])
			if err != nil {
				return err
			}
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			paid, err := pay(cmd.Context(), env, c, payOrder{Bolt11: bolt11, Amount: timmy.FromSats(sats)})
			if err != nil {
				return err
			}
			return emit(cmd, paid, func(w io.Writer) {
				fmt.Fprintf(w, "paid %d sats (no real sats: this is the built-in test wallet)\n", paid.Sats)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().Int64Var(&sats, "sats", 0, "pay this much instead of what is asked")
	return cmd
}

// invoiceArg accepts an invoice as people paste it: in either case, also as a
// lightning: link. What is none, or mistyped, is wrong usage.
func invoiceArg(arg string) (string, error) {
	bolt11 := strings.TrimSpace(arg)
	if scheme, rest, ok := strings.Cut(bolt11, ":"); ok && strings.EqualFold(scheme, "lightning") {
		bolt11 = rest
	}
	if _, err := wallet.Decode(bolt11); err != nil {
		return "", usageError(fmt.Errorf("want a Lightning invoice (lnbc…): %w", err))
	}
	return bolt11, nil
}

// pay asks the running tower; if none runs it settles the invoice in the
// wallet's own journal, under the lock, for the next start to find.
func pay(ctx context.Context, env Env, c *Config, o payOrder) (paidReport, error) {
	var paid paidReport
	err := controlClient(c.Tower.DataDir).Call(ctx, "POST", "/pay", o, &paid)
	if !errors.Is(err, errNoTower) {
		return paid, err
	}
	if c.Wallet.Kind != walletFake {
		return paid, errNotFake
	}
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return paid, err
	}
	defer lock.Unlock()
	f, err := wallet.OpenFake(filepath.Join(c.Tower.DataDir, walletFile), env.Now, env.Rand, commandLogger(env, c))
	if err != nil {
		return paid, err
	}
	paid, err = payFake(ctx, f, o)
	return paid, errors.Join(err, f.Close())
}

// errNotFake says that a real wallet cannot be paid by its own tower.
var errNotFake = timmy.Errorf(timmy.Conflict, "this tower's wallet is a real one: pay the invoice with any Lightning wallet")

func payFake(ctx context.Context, f *wallet.Fake, o payOrder) (paidReport, error) {
	p, err := f.Pay(ctx, o.Bolt11, o.Amount)
	if err != nil {
		return paidReport{}, err
	}
	return paidReport{Hash: p.Hash, Sats: p.Received.Sats()}, nil
}
