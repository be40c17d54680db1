package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
)

// refundsListed is how many rows are shown.
const refundsListed = 1000

// refundView is one row of `ledger refunds`.
type refundView struct {
	ID      string            `json:"id"`
	State   timmy.RefundState `json:"state"`
	Account timmy.Account     `json:"account"`
	Amount  timmy.Msat        `json:"amountMsat"`
	Fee     timmy.Msat        `json:"feeMsat"` // reserved; of what is paid, what it cost
	To      string            `json:"to"`
	Hash    string            `json:"paymentHash,omitempty"`
	Wallet  string            `json:"wallet,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	At      time.Time         `json:"at"`
}

func refundsCommand(env Env) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "refunds",
		Short: "List the refunds that are under way",
		Long: "List the refunds that are under way: reserved, or sent and not known to have arrived. They end by themselves when the wallet says\n" +
			"what became of them; one that was sent by a wallet that is gone waits for you (timmy ledger refunds resolve).",
		Example: "  timmy ledger refunds\n  timmy ledger refunds --all --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, _ *Config) error {
				return showRefunds(ctx, cmd, b, all)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "show what has ended, too")
	cmd.AddCommand(decideCommand(env))
	return cmd
}

func showRefunds(ctx context.Context, cmd *cobra.Command, b *ledger.Ledger, all bool) error {
	list, err := b.Refunds(ctx, all, refundsListed)
	if err != nil {
		return err
	}
	views := []refundView{}
	for _, r := range list {
		views = append(views, viewRefund(r))
	}
	return emit(cmd, views, func(w io.Writer) {
		if len(views) == 0 {
			fmt.Fprintln(w, "no refunds")
			return
		}
		rows := [][]string{{"ID", "SINCE", "STATE", "SATS", "FEE", "PAYMENT HASH", "WALLET", "REASON"}}
		for _, v := range views {
			rows = append(rows, []string{
				v.ID, v.At.UTC().Format(time.RFC3339), string(v.State), sats(v.Amount), sats(v.Fee), v.Hash, v.Wallet, v.Reason,
			})
		}
		table(w, rows)
	})
}

func viewRefund(r ledger.RefundRow) refundView {
	v := refundView{
		ID: r.ID, State: r.State, Account: r.Account, Amount: r.Amount, Fee: r.Fee, To: r.To, Wallet: r.Wallet, Reason: r.Reason, At: r.At,
	}
	if !r.Invoice.Hash.IsZero() {
		v.Hash = r.Invoice.Hash.String()
	}
	return v
}

func decideCommand(env Env) *cobra.Command {
	var d ledger.Decision
	var failed bool
	var fee int64
	cmd := &cobra.Command{
		Use:   "resolve ID {--paid | --failed} --reason TEXT",
		Short: "Say what became of a refund whose wallet cannot be asked any more",
		Long: "Say what became of a refund that was sent and whose wallet cannot be asked any more. Look for the payment hash in that wallet first:\n" +
			"after --failed the money is the customer's again, and can be given back a second time. The tower may be running or not.\n" +
			"Exit code 5: no such refund; 6: it has ended, or was not sent.",
		Example: "  timmy ledger refunds resolve 1b4e… --paid --fee-msat 1200 --reason 'seen in the old node'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			d.Refund, d.Fee = args[0], timmy.Msat(fee)
			done, err := decide(cmd.Context(), env, c, d)
			if err != nil {
				return err
			}
			return emit(cmd, viewRefund(ledger.RefundRow{Refund: done}), func(w io.Writer) { fmt.Fprintf(w, "the refund of %s sats is %s\n", sats(done.Amount), done.State) })
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().BoolVar(&d.Paid, "paid", false, "it arrived")
	cmd.Flags().BoolVar(&failed, "failed", false, "it did not, and will not")
	cmd.Flags().Int64Var(&fee, "fee-msat", 0, "what routing cost, with --paid")
	cmd.Flags().StringVar(&d.Reason, "reason", "", "why, in your words")
	cmd.MarkFlagsOneRequired("paid", "failed")
	cmd.MarkFlagsMutuallyExclusive("paid", "failed")
	_ = cmd.MarkFlagRequired("reason") // the flag is there: cannot fail
	return cmd
}

// decide asks the running tower; if none runs it is done here, under the lock.
func decide(ctx context.Context, env Env, c *Config, d ledger.Decision) (done timmy.Refund, err error) {
	err = controlClient(c.Tower.DataDir).Call(ctx, "POST", "/refunds/resolve", d, &done)
	if !errors.Is(err, errNoTower) {
		return done, err
	}
	err = changeBooks(ctx, env, c, func(ctx context.Context, b *ledger.Ledger) error {
		done, err = b.Decide(ctx, d)
		return err
	})
	return done, err
}
