package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy/ledger"
)

// What `ledger verify` answers a script with, beside 0.
const (
	exitNoBooks = 3 // there are no books, or they cannot be read
	exitDrift   = 4 // the books do not add up
)

func ledgerCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Look at the books",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verifyCommand(env), balanceCommand(env), exportCommand(env), statementCommand(env), suspenseCommand(env),
		refundsCommand(env))
	return cmd
}

func verifyCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute every balance from the postings",
		Long: "Recompute every balance from the postings, and the chain of hashes over them, and name what is off.\n" +
			"It reads beside a running tower. Exit code 0: the books add up; 3: no books, or unreadable; 4: they do not add up.",
		Example: "  timmy ledger verify\n  timmy ledger verify --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			drifts, err := verifyBooks(cmd.Context(), env, c)
			if err != nil {
				return &exitError{exit: exitNoBooks, code: "unreadable", err: err}
			}
			if err := emitDrifts(cmd, drifts); err != nil || len(drifts) == 0 {
				return err
			}
			return &exitError{
				exit: exitDrift, code: "drift", err: fmt.Errorf("the books do not add up in %d places", len(drifts)),
				hint: "stop the tower, keep a copy of the data directory, and compare with a backup",
			}
		},
	}
	addSettingFlags(cmd)
	return cmd
}

func verifyBooks(ctx context.Context, env Env, c *Config) (drifts []string, err error) {
	d, err := viewBooks(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	book, err := ledger.View(ctx, d, ledgerOptions(c, env, commandLogger(env, c)))
	if err != nil {
		return nil, err
	}
	off, err := book.Verify(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range off {
		drifts = append(drifts, d.String())
	}
	broken, err := book.VerifyChain(ctx)
	for _, b := range broken {
		drifts = append(drifts, b.String())
	}
	return drifts, err
}

func emitDrifts(cmd *cobra.Command, drifts []string) error {
	view := struct {
		OK     bool     `json:"ok"`
		Drifts []string `json:"drifts"`
	}{OK: len(drifts) == 0, Drifts: append([]string{}, drifts...)}
	return emit(cmd, view, func(w io.Writer) {
		if view.OK {
			fmt.Fprintln(w, "the books add up")
		}
		for _, d := range view.Drifts {
			fmt.Fprintln(w, d)
		}
	})
}
