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

// suspenseListed is how many rows are shown: more means trouble of another kind.
const suspenseListed = 1000

// suspenseView is one row of `ledger suspense`.
type suspenseView struct {
	ID       string     `json:"id"`
	Reason   string     `json:"reason"`
	Received timmy.Msat `json:"receivedMsat"`
	Held     timmy.Msat `json:"heldMsat"` // in house:suspense now
	At       time.Time  `json:"at"`
	Resolved *time.Time `json:"resolved,omitempty"`
	To       string     `json:"to,omitempty"`
	Why      string     `json:"why,omitempty"` // the operator's reason
}

func suspenseCommand(env Env) *cobra.Command {
	all := false
	list := &cobra.Command{
		Use:   "list",
		Short: "List the money that nobody could be credited for",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, c *Config) error {
				return showSuspense(ctx, cmd, b, c, all)
			})
		},
	}
	cmd := &cobra.Command{
		Use:   "suspense",
		Short: "Look after the money that nobody could be credited for",
		Long: "Look after the money that nobody could be credited for: payments for no invoice of ours, with a wrong amount or without proof.\n" +
			"Each row raised an alert when it came.",
		Example: "  timmy ledger suspense\n  timmy ledger suspense list --all --json\n" +
			"  timmy ledger suspense resolve 5f0c… --to npub1… --reason 'paid twice, told me by mail'",
		Args: cobra.NoArgs,
		RunE: list.RunE,
	}
	for _, c := range []*cobra.Command{cmd, list} {
		addSettingFlags(c)
		c.Flags().BoolVar(&all, "all", false, "show what is resolved, too")
	}
	cmd.AddCommand(list, resolveCommand(env))
	return cmd
}

func showSuspense(ctx context.Context, cmd *cobra.Command, b *ledger.Ledger, c *Config, all bool) error {
	drawers, err := b.Suspense(ctx, suspenseListed)
	if err != nil {
		return err
	}
	decisions, err := b.Resolutions(ctx)
	if err != nil {
		return err
	}
	byName := map[string]ledger.Resolution{}
	for _, r := range decisions {
		byName[r.Name] = r
	}
	v := struct {
		Rows   []suspenseView `json:"rows"`
		Alerts []alert        `json:"alerts"` // of the running tower, since it was started
	}{Rows: []suspenseView{}, Alerts: []alert{}}
	for _, d := range drawers {
		if row := viewDrawer(d, byName[d.Name]); all || row.Resolved == nil {
			v.Rows = append(v.Rows, row)
		}
	}
	if err := controlClient(c.Tower.DataDir).Call(ctx, "POST", "/alerts", nil, &v.Alerts); err != nil && !errors.Is(err, errNoTower) {
		return err
	}
	return emit(cmd, v, func(w io.Writer) {
		if len(v.Rows) == 0 {
			fmt.Fprintln(w, "nothing is in suspense")
		} else {
			table(w, suspenseRows(v.Rows))
		}
		for _, a := range v.Alerts {
			fmt.Fprintf(w, "alert of %s: %s\n", a.At.UTC().Format(time.RFC3339), a.Text)
		}
	})
}

func viewDrawer(d ledger.Drawer, r ledger.Resolution) suspenseView {
	v := suspenseView{ID: d.Name, Reason: d.Reason, Received: d.Received, Held: d.Posted, At: d.At}
	if d.Resolved.IsZero() {
		return v
	}
	v.Held, v.Resolved, v.To, v.Why = 0, &d.Resolved, string(r.To), r.Reason
	if v.To == "" {
		v.Why = "a later report was right"
	}
	return v
}

func suspenseRows(vs []suspenseView) [][]string {
	rows := [][]string{{"ID", "SINCE", "SATS", "REASON", "RESOLVED"}}
	for _, v := range vs {
		resolved := ""
		if v.Resolved != nil {
			resolved = v.Resolved.UTC().Format(time.RFC3339) + " " + nameOf(timmy.Account(v.To)) + " (" + v.Why + ")"
		}
		rows = append(rows, []string{v.ID, v.At.UTC().Format(time.RFC3339), sats(v.Received), v.Reason, resolved})
	}
	return rows
}

func resolveCommand(env Env) *cobra.Command {
	var to, reason string
	cmd := &cobra.Command{
		Use:   "resolve ID --to ACCOUNT --reason TEXT",
		Short: "Give what a row holds to an account, once",
		Long: "Give what a row holds to an account, once: one posting from house:suspense, with the reason kept beside it.\n" +
			"ACCOUNT is an npub, user:<hex>, session:<id>, house:pool, house:revenue, house:operator, or house:lightning for money that you gave back by hand.\n" +
			"The tower may be running or not. Exit code 5: no such row; 6: it is resolved already.",
		Example: "  timmy ledger suspense resolve 5f0c… --to npub1… --reason 'underpaid invoice, credited what came'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			a, err := parseAccount(to)
			if err != nil {
				return err
			}
			done, err := resolve(cmd.Context(), env, c, ledger.Resolution{Name: args[0], To: a, Reason: reason})
			if err != nil {
				return err
			}
			return emit(cmd, done, func(w io.Writer) { fmt.Fprintf(w, "%s sats went to %s\n", sats(done.Amount), nameOf(done.To)) })
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the account that gets it")
	cmd.Flags().StringVar(&reason, "reason", "", "why, in your words")
	_ = cmd.MarkFlagRequired("to") // the flags are there: cannot fail
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// resolve asks the running tower, whose sessions and waiting requests go on at
// once; if none runs it is done here, under the lock.
func resolve(ctx context.Context, env Env, c *Config, r ledger.Resolution) (done ledger.Resolution, err error) {
	err = controlClient(c.Tower.DataDir).Call(ctx, "POST", "/suspense/resolve", r, &done)
	if !errors.Is(err, errNoTower) {
		return done, err
	}
	err = changeBooks(ctx, env, c, func(ctx context.Context, b *ledger.Ledger) error {
		done, err = b.Resolve(ctx, r)
		return err
	})
	return done, err
}
