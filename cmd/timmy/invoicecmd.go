package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/tower"
)

const (
	invoicesListed = 100 // unless asked for more
	// reconcileTimeout leaves the wallet its two minutes for a long list, and the
	// tower the same again for crediting it.
	reconcileTimeout = 5 * time.Minute
)

// invoiceView is one row of `invoice list`. The preimage is not shown: it is a
// payer's proof.
type invoiceView struct {
	Hash     string        `json:"paymentHash"`
	Ref      string        `json:"ref"`
	State    string        `json:"state"`
	Account  timmy.Account `json:"account"`
	Purpose  string        `json:"purpose"`
	Amount   timmy.Msat    `json:"msat"`
	Received timmy.Msat    `json:"receivedMsat"`
	Created  time.Time     `json:"created"`
	Expires  *time.Time    `json:"expires,omitempty"`
	Settled  *time.Time    `json:"settled,omitempty"`
	Bolt11   string        `json:"bolt11,omitempty"`
}

func invoiceCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoice",
		Short: "Look at the invoices",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(invoiceListCommand(env), reconcileCommand(env))
	return cmd
}

func invoiceListCommand(env Env) *cobra.Command {
	state, limit := "", invoicesListed
	states := strings.Join(ledger.InvoiceStates(), ", ")
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List invoices, newest first",
		Long:    "List invoices, newest first. It reads beside a running tower.\nStates: " + states + ".",
		Example: "  timmy invoice list --state open\n  timmy invoice list --limit 1000 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" && !slices.Contains(ledger.InvoiceStates(), state) {
				return usageError(fmt.Errorf("--state: want one of %s, got %.20q", states, state))
			}
			if limit < 1 {
				return usageError(fmt.Errorf("--limit: want at least 1, got %d", limit))
			}
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, _ *Config) error {
				rows, err := b.Invoices(ctx, state, limit)
				if err != nil {
					return err
				}
				return emitInvoices(cmd, rows)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only those: "+states)
	cmd.Flags().IntVar(&limit, "limit", invoicesListed, "at most so many, and at most 1000")
	return cmd
}

func emitInvoices(cmd *cobra.Command, rows []ledger.InvoiceRow) error {
	views := make([]invoiceView, 0, len(rows))
	text := [][]string{{"CREATED", "STATE", "SATS", "RECEIVED", "FOR", "ACCOUNT", "PAYMENT HASH"}}
	for _, r := range rows {
		views = append(views, invoiceView{
			Hash: r.Hash, Ref: r.Ref, State: r.State, Account: r.Account, Purpose: string(r.Purpose), Amount: r.Amount, Received: r.Received,
			Created: r.Created, Expires: timeOrNil(r.Expires), Settled: timeOrNil(r.At), Bolt11: r.Bolt11,
		})
		text = append(text, []string{
			r.Created.Format(time.RFC3339), r.State, sats(r.Amount), sats(r.Received), string(r.Purpose), nameOf(r.Account), r.Hash,
		})
	}
	return emit(cmd, views, func(w io.Writer) { table(w, text) })
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func reconcileCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Let the running tower ask the wallet for everything that was paid",
		Long: "Let the running tower ask the wallet for everything that was paid in the last 30 days, and for each open invoice.\n" +
			"A tower does this by itself at start and hourly; a payment is credited once, however often it is found. Exit code 3: no tower runs, or its wallet is away.",
		Example: "  timmy invoice reconcile",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			tw := controlClient(c.Tower.DataDir)
			tw.client.Timeout = reconcileTimeout
			var r tower.Reconciled
			if err := tw.Call(cmd.Context(), "POST", "/invoices/reconcile", nil, &r); err != nil {
				return err
			}
			return emit(cmd, r, func(w io.Writer) {
				fmt.Fprintf(w, "%d open invoices; credited meanwhile: %d, suspended: %d, refused: %d\n", r.Open, r.Applied, r.Unknown, r.Refused)
			})
		},
	}
	addSettingFlags(cmd)
	return cmd
}
