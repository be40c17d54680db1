package relay

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
)

// Retention is how long events of some kinds are kept, by their created_at. What
// is older is deleted, and refused when it comes again. The tower's own events
// stay.
type Retention struct {
	Kinds KindRange
	Rest  bool // instead of Kinds: all regular and addressable kinds but 5 and 62
	Age   time.Duration
}

// keeps is how long a kind is kept; ok is false: for ever.
func (p *Policy) keeps(kind int) (age time.Duration, ok bool) {
	for _, r := range p.Retention {
		if !r.Rest && r.Kinds.has(kind) {
			return r.Age, true
		}
	}
	for _, r := range p.Retention {
		if r.Rest && !nostr.IsReplaceableKind(kind) && kind != nostr.KindDeletion && kind != kindVanish {
			return r.Age, true
		}
	}
	return 0, false
}

// sweep deletes what has expired, what a key that vanished has left, and what is
// banned, batch by batch: others write between two batches.
func (r *Relay) sweep(ctx context.Context) {
	for name, step := range map[string]func(context.Context) (int, error){
		"expired events":             r.store.Sweep,
		"events of keys that vanish": r.store.sweepVanished,
		"banned events":              r.store.sweepBanned,
	} {
		if n := r.until(ctx, name, step); name == "expired events" {
			r.count.expired.Add(int64(n))
		}
	}
}

// sweepOld deletes what is kept no longer.
func (r *Relay) sweepOld(ctx context.Context) {
	r.until(ctx, "old tombstones", r.store.sweepTombstones)
	if len(r.cfg.Policy.Retention) == 0 {
		return
	}
	kinds, err := r.store.kinds(ctx)
	if err != nil {
		r.complain(ctx, "kinds", err)
		return
	}
	for _, kind := range kinds {
		age, ok := r.cfg.Policy.keeps(kind)
		if !ok {
			continue
		}
		before := r.cfg.Now().Add(-age).Unix()
		n := r.until(ctx, "old events", func(ctx context.Context) (int, error) {
			return r.store.sweepOld(ctx, kind, before, r.cfg.Self[:])
		})
		r.count.expired.Add(int64(n))
	}
}

// until repeats a step until it finds less than a batch, and says how much it was.
func (r *Relay) until(ctx context.Context, what string, step func(context.Context) (int, error)) (all int) {
	for ctx.Err() == nil {
		n, err := step(ctx)
		if err != nil {
			r.complain(ctx, what, err)
			return all
		}
		all += n
		if n < sweepBatch {
			return all
		}
	}
	return all
}

func (r *Relay) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		r.log.Error(what+" could not be deleted", "err", err)
	}
}

// kinds lists those of which anything is stored, one seek in the index each. Of a plugged
// store it cannot be said: nothing is deleted there for its age.
func (s *Store) kinds(ctx context.Context) (list []int, err error) {
	err = s.db.Read(ctx, func(tx *db.Tx) error {
		for last := -1; ; {
			var next *int
			if err := tx.Get(&next, `SELECT MIN(kind) FROM event WHERE kind > ?`, last); err != nil || next == nil {
				return err
			}
			last = *next
			list = append(list, last)
		}
	})
	return list, err
}

func (s *Store) sweepOld(ctx context.Context, kind int, before int64, spared []byte) (n int, err error) {
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		n, err = remove(tx, "kind = ? AND created_at < ? AND pubkey <> ?", kind, before, spared)
		return err
	})
	return n, err
}

// sweepVanished deletes a batch of what one key that vanished has left; less than
// a batch means that nothing is left of anybody.
func (s *Store) sweepVanished(ctx context.Context) (n int, err error) {
	for ctx.Err() == nil {
		var who []byte
		for k := range s.vanishing() {
			if who, err = hex.DecodeString(k); err != nil {
				return 0, fmt.Errorf("a key that vanishes: %w", err)
			}
			break
		}
		if who == nil {
			return 0, nil
		}
		if n, err = s.forgetSome(ctx, who); err != nil || n >= sweepBatch {
			return n, err
		}
	}
	return 0, ctx.Err()
}

// sweepBanned deletes a batch of what is banned and not deleted yet.
func (s *Store) sweepBanned(ctx context.Context) (n int, err error) {
	var r rule
	for ctx.Err() == nil {
		var list []rule
		err = s.db.Read(ctx, func(tx *db.Tx) error {
			return tx.Select(&list, `SELECT subject, value, allowed, reason, at FROM rule
				WHERE done = 0 AND allowed = 0 AND subject IN ('key', 'event') LIMIT 1`)
		})
		if err != nil || len(list) == 0 {
			return 0, err
		}
		r = list[0]
		column := "pubkey = ?"
		if r.Subject == aboutEvent {
			column = "id = ?"
		}
		value, err := hex.DecodeString(r.Value)
		if err != nil {
			return 0, fmt.Errorf("a banned %s: %w", r.Subject, err)
		}
		if s.other != nil {
			f := nostr.Filter{Authors: []string{r.Value}}
			if r.Subject == aboutEvent {
				f = nostr.Filter{IDs: []string{r.Value}}
			}
			if n, err = s.other.sweep(ctx, f, func(*nostr.Event) bool { return true }); err != nil || n > 0 {
				return sweepBatch, err
			}
		}
		err = s.db.Write(ctx, func(tx *db.Tx) error {
			if n, err = remove(tx, column, value); err != nil || n >= sweepBatch {
				return err
			}
			_, err = tx.Exec(`UPDATE rule SET done = 1 WHERE subject = ? AND value = ? AND allowed = 0`, r.Subject, r.Value)
			return err
		})
		if err != nil || n >= sweepBatch {
			return n, err
		}
	}
	return 0, ctx.Err()
}

// sweepTombstones deletes a batch of what refuses only events that are too old to
// be taken anyway. It looks with a reader: most times nothing is to be done. A plugged
// store may still have what they hide, so that there they stay.
func (s *Store) sweepTombstones(ctx context.Context) (int, error) {
	if s.other != nil {
		return 0, nil
	}
	old := s.now().Add(-maxPast - maxFuture).Unix()
	var dead []struct {
		ID     []byte `db:"id"`
		PubKey []byte `db:"pubkey"`
	}
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		return tx.Select(&dead, `SELECT id, pubkey FROM tombstone WHERE at < ? LIMIT ?`, old, sweepBatch)
	})
	if err != nil {
		return 0, err
	}
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		for _, d := range dead {
			if _, err := tx.Exec(`DELETE FROM tombstone WHERE id = ? AND pubkey = ?`, d.ID, d.PubKey); err != nil {
				return err
			}
		}
		for _, q := range []string{
			`DELETE FROM vanished WHERE pending = 0 AND until < ?`, `DELETE FROM address_tombstone WHERE until < ?`,
		} {
			if _, err := tx.Exec(q, old); err != nil {
				return err
			}
		}
		return nil
	})
	return len(dead), err
}
