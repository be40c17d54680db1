package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/wallet"
)

// statementView is `ledger statement`. Amounts are msat.
type statementView struct {
	From      time.Time  `json:"from"`
	Until     time.Time  `json:"until"`
	CameIn    timmy.Msat `json:"cameInMsat"`
	Suspended timmy.Msat `json:"suspendedMsat"`
	Tips      timmy.Msat `json:"tipsMsat"`
	WentOut   timmy.Msat `json:"wentOutMsat"`
	Payments  int64      `json:"payments"`
	Earned    timmy.Msat `json:"earnedMsat"`
	Requests  int64      `json:"requests"`
	Dust      timmy.Msat `json:"dustMsat"`
	PoolGiven timmy.Msat `json:"poolGivenMsat"`
	PoolTaken timmy.Msat `json:"poolTakenMsat"`

	// The rest is as of now, whichever month it is.
	Owed    timmy.Msat  `json:"owedMsat"`
	Pending int64       `json:"suspenseRows"`
	Wallet  *timmy.Msat `json:"walletMsat"` // null: the wallet does not tell
	Warning string      `json:"warning,omitempty"`
}

func statementCommand(env Env) *cobra.Command {
	month := ""
	cmd := &cobra.Command{
		Use:   "statement",
		Short: "Sum up a month: what came in, was earned, is owed",
		Long: "Sum up a month (UTC): what came in, what was earned, what the free pool got and gave. Below it, as of now: what is owed to others, and what the wallet holds if it can tell.\n" +
			"It warns when more is owed than the wallet holds.",
		Example: "  timmy ledger statement\n  timmy ledger statement --month 2026-11 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, until, err := monthOf(month, env.Now())
			if err != nil {
				return err
			}
			return lookAtBooks(cmd, env, func(ctx context.Context, b *ledger.Ledger, c *Config) error {
				s, err := b.Statement(ctx, from, until)
				if err != nil {
					return err
				}
				held, err := walletBalance(ctx, env, c)
				if err != nil {
					return err
				}
				return showStatement(cmd, s, held)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().StringVar(&month, "month", "", "as 2026-11; default: this month")
	return cmd
}

func monthOf(s string, now time.Time) (from, until time.Time, err error) {
	now = now.UTC()
	from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	if s != "" {
		if from, err = time.Parse("2006-01", s); err != nil {
			return from, until, usageError(fmt.Errorf("--month: want a month as 2026-11, got %.20q", s))
		}
	}
	return from, from.AddDate(0, 1, 0), nil
}

// walletHeld is what the running tower says of its wallet.
type walletHeld struct {
	Msat *timmy.Msat `json:"msat"`
}

// balancer is a wallet that can tell what it holds.
type balancer interface {
	Balance(ctx context.Context) (timmy.Msat, error)
}

// walletBalance asks the running tower. If none runs, the fake wallet's journal is
// read under the lock; a real wallet is not called then. Nil: nobody can tell.
func walletBalance(ctx context.Context, env Env, c *Config) (*timmy.Msat, error) {
	var h walletHeld
	err := controlClient(c.Tower.DataDir).Call(ctx, "POST", "/wallet", nil, &h)
	if !errors.Is(err, errNoTower) {
		return h.Msat, err
	}
	if c.Wallet.Kind != walletFake {
		return nil, nil
	}
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	f, err := wallet.OpenFake(filepath.Join(c.Tower.DataDir, walletFile), env.Now, env.Rand, commandLogger(env, c))
	if err != nil {
		return nil, err
	}
	sum, err := fakeBalance(ctx, f)
	return &sum, errors.Join(err, f.Close())
}

// fakeBalance is what the fake wallet ever got: it pays nobody.
func fakeBalance(ctx context.Context, f *wallet.Fake) (sum timmy.Msat, err error) {
	paid, err := f.List(ctx, time.Time{})
	for _, p := range paid {
		sum += p.Received
	}
	return sum, err
}

func showStatement(cmd *cobra.Command, s ledger.Statement, held *timmy.Msat) error {
	v := statementView{
		From: s.From, Until: s.Until, CameIn: s.CameIn, Suspended: s.Suspended, Tips: s.Tips, WentOut: s.WentOut,
		Payments: s.Payments, Earned: s.Earned, Requests: s.Requests, Dust: s.Dust, PoolGiven: s.PoolGiven, PoolTaken: s.PoolTaken,
		Owed: s.Now.Owed(), Pending: s.NowPending, Wallet: held,
	}
	if held != nil {
		v.Warning = shortage(v.Owed, *held)
	}
	if v.Warning != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+v.Warning)
	}
	return emit(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "%s to %s (UTC), in sats\n\n", v.From.Format(time.DateOnly), v.Until.AddDate(0, 0, -1).Format(time.DateOnly))
		table(w, statementRows(v))
	})
}

func statementRows(v statementView) [][]string {
	holds := "unknown"
	if v.Wallet != nil {
		holds = sats(*v.Wallet)
	}
	return [][]string{
		{"came in", sats(v.CameIn), strconv.FormatInt(v.Payments, 10) + " payments credited"},
		{"  of that, without an owner", sats(v.Suspended), "see timmy ledger suspense"},
		{"  of that, tips", sats(v.Tips), ""},
		{"went out", sats(v.WentOut), "given back by hand"},
		{"earned", sats(v.Earned), strconv.FormatInt(v.Requests, 10) + " requests charged"},
		{"  and by rounding", sats(v.Dust), ""},
		{"given to the free pool", sats(v.PoolGiven), ""},
		{"taken from the free pool", sats(v.PoolTaken), ""},
		{"", "", ""},
		{"owed now", sats(v.Owed), "users, sessions, " + strconv.FormatInt(v.Pending, 10) + " rows in suspense"},
		{"the wallet holds", holds, ""},
	}
}
