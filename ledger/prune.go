package ledger

import (
	"context"
	"time"

	"github.com/timmy-tower/timmy/failpoint"
)

// Pruned says how many rows went.
type Pruned struct{ Idem, Seen, Parcels, Sessions int64 }

// neverPaid is the sessions that never got money.
const neverPaid = `SELECT id FROM sessions WHERE state = 'expired' AND bearer = 0 AND expires < ?
	AND NOT EXISTS (SELECT 1 FROM accounts WHERE name = 'session:' || sessions.id) ORDER BY expires LIMIT ?`

// Prune deletes what is over: old Idempotency-Keys, used-up replay ids, parcels
// delivered long ago, and sessions that never got money. Books are never pruned.
// One call takes at most a thousand rows of each.
func (l *Ledger) Prune(ctx context.Context, now time.Time) (Pruned, error) {
	var p Pruned
	err := l.write(ctx, failpoint.LedgerPrune, func(t *txn) (err error) {
		p = Pruned{}
		if p.Idem, err = t.Exec(`DELETE FROM idem WHERE key IN (SELECT key FROM idem WHERE at < ? ORDER BY at LIMIT ?)`,
			ms(now.Add(-l.o.IdemFor)), maxSweep); err != nil {
			return err
		}
		if p.Seen, err = t.Exec(`DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE until < ? ORDER BY until LIMIT ?)`,
			ms(now), maxSeen); err != nil {
			return err
		}
		if p.Parcels, err = t.Exec(`DELETE FROM parcels WHERE id IN (
				SELECT id FROM parcels WHERE state <> 'due' AND at < ? ORDER BY at LIMIT ?)`,
			ms(now.Add(-keepDelivered)), maxSweep); err != nil {
			return err
		}
		p.Sessions, err = t.Exec(`DELETE FROM sessions WHERE id IN (`+neverPaid+`)`,
			ms(now.Add(-keepUnpaidSession)), maxSweep)
		return err
	})
	if err != nil {
		return Pruned{}, err
	}
	l.seen.Add(-p.Seen)
	return p, nil
}
