package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
)

// holdingView is one line of `ledger balance`.
type holdingView struct {
	Account   string     `json:"account"`
	Accounts  int64      `json:"accounts"`
	Posted    timmy.Msat `json:"msat"`
	Held      timmy.Msat `json:"heldMsat"`
	Available timmy.Msat `json:"availableMsat"`
}

func viewHolding(h ledger.Holding) holdingView {
	return holdingView{string(h.Account), h.Accounts, h.Posted, h.Held, h.Available()}
}

func balanceCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "balance [ACCOUNT]",
		Short: "Show what an account holds, or where all the money is",
		Long: "Show what an account holds: an npub, user:<hex>, session:<id> or house:<name>. Without one: the house's accounts, and the sums of all users and sessions.\n" +
			"It reads beside a running tower.",
		Example: "  timmy ledger balance\n  timmy ledger balance npub1…\n  timmy ledger balance house:pool --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, _ *Config) error { return showSheet(ctx, cmd, b) })
			}
			a, err := parseAccount(args[0])
			if err != nil {
				return err
			}
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, _ *Config) error {
				h, err := b.Holding(ctx, a)
				if err != nil {
					return err
				}
				v := viewHolding(h)
				return emit(cmd, v, func(w io.Writer) { table(w, holdingRows([]holdingView{v})) })
			})
		},
	}
	addSettingFlags(cmd)
	return cmd
}

func showSheet(ctx context.Context, cmd *cobra.Command, b *ledger.Ledger) error {
	s, err := b.Sheet(ctx)
	if err != nil {
		return err
	}
	v := struct {
		Accounts []holdingView `json:"accounts"`
		Owed     timmy.Msat    `json:"owedMsat"`
		Sum      timmy.Msat    `json:"sumMsat"`
	}{Owed: s.Owed(), Sum: s.Sum()}
	for _, h := range append(s.House, s.Users, s.Sessions) {
		v.Accounts = append(v.Accounts, viewHolding(h))
	}
	return emit(cmd, v, func(w io.Writer) {
		table(w, append(holdingRows(v.Accounts),
			[]string{"owed to others", "", sats(v.Owed), "", ""}, []string{"sum (must be 0)", "", sats(v.Sum), "", ""}))
	})
}

func holdingRows(vs []holdingView) [][]string {
	rows := [][]string{{"ACCOUNT", "ACCOUNTS", "SATS", "HELD", "AVAILABLE"}}
	for _, v := range vs {
		rows = append(rows, []string{
			nameOf(timmy.Account(v.Account)), strconv.FormatInt(v.Accounts, 10), sats(v.Posted), sats(v.Held), sats(v.Available),
		})
	}
	return rows
}

// postingView is one line of `ledger export --json`; the columns of the CSV have
// the same names and order, which never change.
type postingView struct {
	Seq         int64         `json:"seq"`
	At          string        `json:"at"`
	Key         string        `json:"key"`
	Source      timmy.Account `json:"source"`
	Destination timmy.Account `json:"destination"`
	Msat        timmy.Msat    `json:"msat"`
}

func viewPosting(p timmy.Posting) postingView {
	at := time.UnixMilli(p.At).UTC().Format("2006-01-02T15:04:05.000Z")
	return postingView{p.Seq, at, p.Key, p.Source, p.Destination, p.Amount}
}

func exportCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print every posting, oldest first",
		Long: "Print every posting, oldest first, as CSV (columns seq, at, key, source, destination, msat) or, with --json, as one JSON object a line.\n" +
			"It shows one state of the books, beside a running tower, and keeps nothing in memory.",
		Example: "  timmy ledger export --csv > postings.csv\n  timmy ledger export --json | jq -s 'map(.msat) | add'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, _ *Config) error {
				return export(ctx, cmd, b)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().Bool("csv", true, "print CSV; this is the default")
	return cmd
}

func export(ctx context.Context, cmd *cobra.Command, b *ledger.Ledger) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		if err := b.Export(ctx, func(p timmy.Posting) error { return enc.Encode(viewPosting(p)) }); err != nil {
			return err
		}
		return out.Flush()
	}
	w := csv.NewWriter(out)
	if err := w.Write([]string{"seq", "at", "key", "source", "destination", "msat"}); err != nil {
		return err
	}
	err := b.Export(ctx, func(p timmy.Posting) error {
		v := viewPosting(p)
		return w.Write([]string{
			strconv.FormatInt(v.Seq, 10), v.At, v.Key, string(v.Source), string(v.Destination), strconv.FormatInt(int64(v.Msat), 10),
		})
	})
	if err != nil {
		return err
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	return out.Flush()
}
