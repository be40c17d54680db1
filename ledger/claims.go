package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// ClaimCode is a key's claim code, made when it is asked for the first time. It
// stays: money that is sent with it must find its way for as long as somebody has
// it written down. A key has one.
func (l *Ledger) ClaimCode(ctx context.Context, k timmy.PubKey) (timmy.ClaimCode, error) {
	if k.IsZero() {
		return "", timmy.Errorf(timmy.Unauthorized, "a claim code is for a key")
	}
	c, err := l.claimCodeOf(ctx, k)
	if err != nil || c != "" {
		return c, err
	}
	fresh, err := timmy.NewClaimCode(l.o.Rand)
	if err != nil {
		return "", fmt.Errorf("making a claim code: %w", err)
	}
	err = l.write(ctx, failpoint.LedgerClaim, func(t *txn) error {
		_, err := t.Exec(`INSERT INTO claim_codes (code, key, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, fresh, k.String(), ms(t.now))
		return err
	})
	if err != nil {
		return "", err
	}
	// Of two calls at once one wins; a code that another key has is as good as none.
	if c, err = l.claimCodeOf(ctx, k); err == nil && c == "" {
		err = timmy.Errorf(timmy.Unavailable, "please ask for your claim code again")
	}
	return c, err
}

func (l *Ledger) claimCodeOf(ctx context.Context, k timmy.PubKey) (c timmy.ClaimCode, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		err := q.Get(&c, `SELECT code FROM claim_codes WHERE key = ?`, k.String())
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return c, err
}

// Claimed is the account that a claim code names. NotFound: nobody has it.
func (l *Ledger) Claimed(ctx context.Context, c timmy.ClaimCode) (a timmy.Account, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		var key string
		err := q.Get(&key, `SELECT key FROM claim_codes WHERE code = ?`, c)
		if errors.Is(err, sql.ErrNoRows) {
			return timmy.Errorf(timmy.NotFound, "nobody has the claim code %s", c)
		}
		a = timmy.UserAccount(keyOf(key))
		return err
	})
	return a, err
}
