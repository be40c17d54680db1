package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/wallet"
)

func walletCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wallet",
		Short: "Try out the wallet that is set",
		Long:  "Try out the wallet that is set, beside the tower: it may be running or not, and its books are not touched.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(walletTestCommand(env), walletInfoCommand(env), walletInvoiceCommand(env))
	return cmd
}

// walletView is what the wallet commands print. Findings are empty where nothing
// was tried.
type walletView struct {
	Wallet   string            `json:"wallet"`
	OK       bool              `json:"ok"`
	Facts    map[string]string `json:"facts"`
	Findings []wallet.Finding  `json:"findings"`
	facts    [][2]string
}

func walletTestCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Say what the wallet can do and what is missing for it",
		Long: "Say what the wallet can do and what is missing for it, permission by permission.\n" +
			"It reads, and makes one small invoice that is never to be paid. Exit code 1 if something is missing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return testWallet(env, cmd, true) },
	}
	addSettingFlags(cmd)
	return cmd
}

func walletInfoCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show what the wallet says about itself",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return testWallet(env, cmd, false) },
	}
	addSettingFlags(cmd)
	return cmd
}

// testWallet probes, and makes an invoice too if it is asked to.
func testWallet(env Env, cmd *cobra.Command, invoice bool) error {
	return withWallet(env, cmd, func(ctx context.Context, c *Config, w walletPart) error {
		p, ok := w.Wallet.(wallet.Prober)
		if !ok {
			return timmy.Errorf(timmy.Invalid, "the wallet %s cannot be tried out", c.Wallet.Kind)
		}
		r := p.Probe(ctx)
		if invoice && missing(r.Findings) == 0 {
			r.Findings = append(r.Findings, tryInvoice(ctx, env, c, w)...)
		}
		view := walletView{Wallet: c.Wallet.Kind, OK: missing(r.Findings) == 0, Facts: map[string]string{}, Findings: r.Findings, facts: r.Facts}
		for _, f := range r.Facts {
			view.Facts[f[0]] = f[1]
		}
		if err := emit(cmd, view, view.print); err != nil || view.OK {
			return err
		}
		return fmt.Errorf("the wallet %s is not ready: missing %d", c.Wallet.Kind, missing(r.Findings))
	})
}

func missing(list []wallet.Finding) (n int) {
	for _, f := range list {
		if f.Level == wallet.Missing {
			n++
		}
	}
	return n
}

func (v walletView) print(w io.Writer) {
	rows := [][]string{{"wallet", v.Wallet}}
	for _, f := range v.facts {
		rows = append(rows, f[:])
	}
	table(w, rows)
	for _, f := range v.Findings {
		line := fmt.Sprintf("%-8s %s", f.Level, f.What)
		if f.Text != "" {
			line += ": " + f.Text
		}
		fmt.Fprintln(w, line)
	}
}

// tryInvoice makes the smallest invoice that the tower would make, as for a zap,
// and looks it up.
func tryInvoice(ctx context.Context, env Env, c *Config, w walletPart) []wallet.Finding {
	text := []byte(`[["text/plain","a test, never to be paid"]]`)
	top := timmy.TopUp{
		Amount: timmy.FromSats(c.Sessions.MinDeposit), Memo: "a test, never to be paid",
		Description: text, DescriptionHash: sha256.Sum256(text),
	}
	var out []wallet.Finding
	inv, err := issueProbe(ctx, env, w, top)
	if timmy.CodeOf(err) == timmy.Invalid {
		out = append(out, wallet.Finding{What: "be zapped", Level: wallet.Warning, Text: timmy.MessageOf(err)})
		top.Description, top.DescriptionHash = nil, [32]byte{}
		inv, err = issueProbe(ctx, env, w, top)
	} else if err == nil {
		out = append(out, wallet.Finding{What: "be zapped", Level: wallet.Good})
	}
	if err != nil {
		return append(out, wallet.Finding{What: "make an invoice", Level: wallet.Missing, Text: wallet.RefusedWords(err)})
	}
	out = append(out, wallet.Finding{What: "make an invoice", Level: wallet.Good})
	p, err := w.Lookup(ctx, inv.Hash)
	switch {
	case err != nil:
		return append(out, wallet.Finding{What: "look up an invoice", Level: wallet.Missing, Text: wallet.RefusedWords(err)})
	case p.Settled:
		return append(out, wallet.Finding{What: "look up an invoice", Level: wallet.Missing, Text: "the wallet calls an invoice paid that nobody has seen"})
	}
	return append(out, wallet.Finding{What: "look up an invoice", Level: wallet.Good})
}

// issueProbe makes an invoice that the tower is told nothing of.
func issueProbe(ctx context.Context, env Env, w walletPart, top timmy.TopUp) (timmy.Invoice, error) {
	var id [16]byte
	if _, err := io.ReadFull(env.Rand, id[:]); err != nil {
		return timmy.Invoice{}, err
	}
	return w.Issue(ctx, wallet.ProbeRef+hex.EncodeToString(id[:]), top, 10*time.Minute)
}

func walletInvoiceCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoice SATS",
		Short: "Make an invoice at the wallet, beside the tower's books",
		Long: "Make an invoice at the wallet, to try out how sats get there. The tower's books know nothing of it:\n" +
			"what is paid is in the wallet, and nobody is credited.",
		Args:    cobra.ExactArgs(1),
		Example: "  timmy wallet invoice 10",
		RunE: func(cmd *cobra.Command, args []string) error {
			sats, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || sats <= 0 || sats > maxTopUpSats {
				return usageError(fmt.Errorf("SATS: want a whole number from 1 to %d", maxTopUpSats))
			}
			return withWallet(env, cmd, func(ctx context.Context, c *Config, w walletPart) error {
				inv, err := issueProbe(ctx, env, w, timmy.TopUp{Amount: timmy.FromSats(sats), Memo: c.Tower.Name})
				if err != nil {
					return withHint(errors.New(wallet.RefusedWords(err)), "timmy wallet test says what is missing")
				}
				view := struct {
					Bolt11  string     `json:"bolt11"`
					Hash    timmy.Hash `json:"paymentHash"`
					Sats    int64      `json:"sats"`
					Expires time.Time  `json:"expires"`
				}{inv.Bolt11, inv.Hash, sats, inv.Expires}
				return emit(cmd, view, func(out io.Writer) { fmt.Fprintln(out, inv.Bolt11) })
			})
		},
	}
	addSettingFlags(cmd)
	return cmd
}

// withWallet opens the wallet beside the tower. The fake one is a file of the
// tower's, so that it takes the lock.
func withWallet(env Env, cmd *cobra.Command, do func(context.Context, *Config, walletPart) error) error {
	c, err := loadSettings(env, cmd)
	if err != nil {
		return err
	}
	if c.Wallet.Kind != walletFake {
		w, err := openRealWallet(c, env, commandLogger(env, c), "")
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, walletPart{Wallet: w})
	}
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	w, err := openWallet(c, env, commandLogger(env, c))
	if err != nil {
		return err
	}
	return errors.Join(do(cmd.Context(), c, w), w.close())
}
