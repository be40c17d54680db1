package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// cursorKey is a wallet's own: the place in one wallet's stream means nothing in
// another's, and coming back to a wallet goes on where it was left.
func (l *Ledger) cursorKey() string { return "cursor " + l.o.Wallet }

// Cursor is the watcher's place in the stream of [Options.Wallet]; empty at first.
func (l *Ledger) Cursor(ctx context.Context) (c timmy.Cursor, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		err := q.Get(&c, `SELECT value FROM meta WHERE key = ?`, l.cursorKey())
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return c, err
}

func (l *Ledger) count(c timmy.Credit) {
	switch c {
	case timmy.CreditApplied:
		l.stats.applied.Add(1)
	case timmy.CreditReplayed:
		l.stats.replayed.Add(1)
	case timmy.CreditUnknown:
		l.stats.unknown.Add(1)
	case timmy.CreditRefused:
		l.stats.refused.Add(1)
	}
}
