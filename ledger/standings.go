package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// dayOf is the day, in UTC, that grants of the free pool are counted on.
func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// srecord is a standing as it is stored, and how often its key asked.
type srecord struct {
	score, scored, completed, refused int64
	paid, granted                     timmy.Msat
	first, last, day, asked           int64
}

func (s *srecord) standing(k timmy.PubKey) timmy.Standing {
	return timmy.Standing{
		Key: k, Score: s.score, Scored: when(s.scored), Completed: s.completed, Refused: s.refused, Paid: s.paid,
		FirstSeen: when(s.first), LastSeen: when(s.last), Granted: s.granted, Day: s.day,
	}
}

// standing reads what is remembered of a key; of an unknown one, its key alone.
func standing(q *db.Tx, k timmy.PubKey) (timmy.Standing, error) {
	var s srecord
	err := q.Row([]any{&s.score, &s.scored, &s.completed, &s.refused, &s.paid, &s.first, &s.last, &s.granted, &s.day},
		`SELECT score, scored, completed, refused, paid, first_seen, last_seen, granted, day FROM standings WHERE key = ?`, k.String())
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return s.standing(k), err
}

// Standing reads what is remembered of a key. FirstSeen is zero if it was never
// seen.
func (l *Ledger) Standing(ctx context.Context, k timmy.PubKey) (s timmy.Standing, err error) {
	if k.IsZero() {
		return s, nil
	}
	err = l.read(ctx, func(q *db.Tx) error { s, err = standing(q, k); return err })
	return s, err
}

// Meet reads a key's standing, and notes when it is seen for the first time.
func (l *Ledger) Meet(ctx context.Context, k timmy.PubKey) (timmy.Standing, error) {
	s, err := l.Standing(ctx, k)
	if err != nil || k.IsZero() || l.o.Now().Sub(s.LastSeen) < meetAgain {
		return s, err
	}
	err = l.write(ctx, failpoint.LedgerMeet, func(t *txn) error {
		_, err := t.Exec(`INSERT INTO standings (key, first_seen, last_seen) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET last_seen = excluded.last_seen`, k.String(), ms(t.now), ms(t.now))
		if err != nil {
			return err
		}
		s, err = standing(t.Tx, k)
		return err
	})
	return s, err
}

// grant counts what a key has reserved of the free pool on a day. What is given
// back (delta < 0) counts only while that day lasts.
func (t *txn) grant(asker string, day int64, delta timmy.Msat) error {
	if asker == "" || delta == 0 {
		return nil
	}
	if delta < 0 {
		return t.Later(nil, `UPDATE standings SET granted = granted + ? WHERE key = ? AND day = ?`, delta, asker, day)
	}
	return t.Later(func(n int64) error {
		if n != 1 {
			return bug("a grant to %s, who was never seen", asker)
		}
		return nil
	}, `UPDATE standings SET granted = CASE WHEN day = ? THEN granted ELSE 0 END + ?, day = ? WHERE key = ?`,
		day, delta, day, asker)
}

// grade moves a standing by an outcome. What was granted is not its. s is the standing
// when the request was claimed; if another request moved it since, it is read anew.
func (t *txn) grade(s timmy.Standing, o timmy.Outcome) error {
	if t.l.o.Grade == nil {
		return nil
	}
	return t.regrade(s, o, func(n int64) error {
		if n == 1 {
			return nil
		}
		s, err := standing(t.Tx, s.Key)
		if err != nil {
			return err
		}
		return t.regrade(s, o, nil)
	})
}

// regrade writes what an outcome makes of s, if that is the key's standing still.
func (t *txn) regrade(s timmy.Standing, o timmy.Outcome, check func(n int64) error) error {
	g := t.l.o.Grade(s, o, t.now)
	return t.Later(check, `UPDATE standings SET score = ?, scored = ?, completed = ?, refused = ?, paid = ?, last_seen = ?
		WHERE key = ? AND score = ? AND scored = ? AND completed = ? AND refused = ? AND paid = ?`,
		g.Score, ms(g.Scored), g.Completed, g.Refused, g.Paid, ms(g.LastSeen),
		s.Key.String(), s.Score, ms(s.Scored), s.Completed, s.Refused, s.Paid)
}
