package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/nip"
)

// lookAtBooks runs f on the books, read-only, beside a tower that may be running.
// Books that are not there or cannot be read end with exitNoBooks.
func lookAtBooks(cmd *cobra.Command, env Env, f func(context.Context, *ledger.Ledger, *Config) error) error {
	c, err := loadSettings(env, cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	d, err := viewBooks(ctx, c)
	if err != nil {
		return unreadable(err)
	}
	book, err := ledger.View(ctx, d, ledgerOptions(c, env, commandLogger(env, c)))
	if err != nil {
		return errors.Join(unreadable(err), d.Close())
	}
	return errors.Join(f(ctx, book, c), d.Close())
}

func unreadable(err error) error {
	return &exitError{exit: exitNoBooks, code: "unreadable", err: err}
}

// changeBooks runs f on the books under the lock, for when no tower runs. Books
// that are not there are not made.
func changeBooks(ctx context.Context, env Env, c *Config, f func(context.Context, *ledger.Ledger) error) error {
	d, err := viewBooks(ctx, c)
	if err != nil {
		return unreadable(err)
	}
	if err := d.Close(); err != nil {
		return err
	}
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return writeBooks(ctx, env, c, f)
}

// writeBooks opens the books, brings their schema up to date and runs f with a
// writer behind them. The caller holds the lock.
func writeBooks(ctx context.Context, env Env, c *Config, f func(context.Context, *ledger.Ledger) error) error {
	log := commandLogger(env, c)
	d, err := openBooks(ctx, c, log)
	if err != nil {
		return unreadable(err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(run) }()
	book, err := ledger.Open(ctx, d, ledgerOptions(c, env, log))
	if err == nil {
		err = f(ctx, book)
	} else {
		err = unreadable(err)
	}
	stop()
	return errors.Join(err, <-ended, d.Close())
}

// parseAccount reads an account as people write it: its full name, an npub or hex
// key, a session's id, or the last word of a house account.
func parseAccount(s string) (timmy.Account, error) {
	a := timmy.Account(s)
	if k, ok := strings.CutPrefix(s, "user:"); ok {
		s = k
	} else if _, ok := a.Session(); ok || a.House() {
		return a, nil
	}
	if k, _, err := nip.ParseNpub(s); err == nil {
		return timmy.UserAccount(k), nil
	}
	if len(s) == 36 && strings.Count(s, "-") == 4 {
		return timmy.SessionAccount(s), nil
	}
	return "", usageError(fmt.Errorf("%.80q is no account: want an npub, user:<hex>, session:<id> or house:<name>", s))
}

// nameOf is an account as it is printed: a key is easier to recognise as npub.
func nameOf(a timmy.Account) string {
	if k, ok := a.User(); ok {
		return nip.Npub(k)
	}
	return string(a)
}

// sats prints msat as sats, with the fraction if there is one.
func sats(m timmy.Msat) string {
	sign, n := "", m
	if m < 0 {
		sign, n = "-", -m
	}
	if n%timmy.Sat == 0 {
		return fmt.Sprintf("%s%d", sign, n/timmy.Sat)
	}
	return fmt.Sprintf("%s%d.%03d", sign, n/timmy.Sat, n%timmy.Sat)
}
