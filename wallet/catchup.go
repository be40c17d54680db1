package wallet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/timmy-tower/timmy"
)

// lister is a wallet that lists what was paid since then.
type lister interface {
	List(ctx context.Context, since time.Time) ([]timmy.Payment, error)
}

// catchUp reports what a wallet's list has, without moving the cursor, for a list is not
// in the order of payment. A wallet that does not list, for it has too much to, may push
// all the same: listed is false then.
func catchUp(ctx context.Context, w lister, since time.Time, log *slog.Logger, settled func(timmy.Payment, timmy.Cursor) error) (listed bool, err error) {
	list, err := w.List(ctx, since)
	if err != nil {
		log.Warn("the wallet does not list what was paid; what it pushes is followed all the same", "error", err)
		return false, ctx.Err()
	}
	for _, p := range list {
		if err := settled(p, ""); err != nil {
			return true, fmt.Errorf("reporting payment: %w", err)
		}
	}
	return true, nil
}

// standing reports without moving the cursor, which stays before what was not listed.
func standing(settled func(timmy.Payment, timmy.Cursor) error) func(timmy.Payment, timmy.Cursor) error {
	return func(p timmy.Payment, _ timmy.Cursor) error { return settled(p, "") }
}
