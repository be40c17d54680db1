package ledger

import (
	"context"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// passOn moves what an ended session has free: to the one it was moved into, or to
// its owner. An anonymous remainder stays, and can be claimed with its bearer.
func (t *txn) passOn(s *srow, key string) error {
	var to timmy.Account
	switch {
	case s.MovedTo != "":
		to = timmy.SessionAccount(s.MovedTo)
	case s.Owner != "":
		to = timmy.UserAccount(keyOf(s.Owner))
	default:
		return nil
	}
	b, err := balance(t.Tx, s.account())
	if err != nil {
		return err
	}
	if err := t.post(key, s.account(), to, b.Available()); err != nil {
		return err
	}
	return t.arrived(to, b.Available())
}

// Open makes a session that awaits its deposit. A known id is returned as it is.
// From, if set, is an anonymous session which ends here, and whose free remainder,
// now and later, goes to the new one.
func (s Sessions) Open(ctx context.Context, id string, owner timmy.PubKey, from string) (timmy.Session, error) {
	if id == "" || len(id) > 64 || from == id {
		return timmy.Session{}, timmy.Errorf(timmy.Invalid, "a session needs an id of its own")
	}
	err := s.write(ctx, failpoint.LedgerOpen, func(t *txn) error {
		n, err := t.Exec(`INSERT INTO sessions (id, owner, state, expires, created) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, id, hexOf(owner), timmy.SessionAwaiting, ms(t.now.Add(t.l.o.SessionExpiry)), ms(t.now))
		if err != nil || n == 0 || from == "" {
			return err
		}
		return t.moveInto(id, from)
	})
	if err != nil {
		return timmy.Session{}, err
	}
	return s.Session(ctx, id)
}

// moveOn keeps links one step long, however often a remainder moves.
const moveOn = `UPDATE sessions SET moved_to = ? WHERE (moved_to = ? AND moved_to <> '') OR id = ?`

func (t *txn) moveInto(id, from string) error {
	old, ok, err := t.session(from)
	if err != nil {
		return err
	}
	switch {
	case !ok:
		return timmy.Errorf(timmy.NotFound, "Session not found")
	case old.Owner != "":
		return timmy.Errorf(timmy.Conflict, "the remainder of a bound session goes to its owner")
	}
	if next, ok, err := t.session(old.MovedTo); err != nil {
		return err
	} else if ok && next.Bearer == 0 && next.Owner == "" {
		// It was never paid, so nobody has a bearer for what is in it but that of the old one.
		from, old = next.ID, next
	}
	if _, err := t.Exec(moveOn, id, from, from); err != nil {
		return err
	}
	if old.State == timmy.SessionExpired {
		old.MovedTo = id
		return t.passOn(&old, "move:"+from+":"+id)
	}
	old.MovedTo = id
	return t.expire(&old)
}

// Join ends the anonymous session from, whose free money, now and later, goes into the
// live session id. Joined already: nothing happens. Conflict: the money of from went
// elsewhere, or is its owner's, or id is no live session.
func (l *Ledger) Join(ctx context.Context, id, from string) error {
	return l.write(ctx, failpoint.LedgerOpen, func(t *txn) error {
		old, ok, err := t.session(from)
		if err == nil && !ok {
			err = timmy.Errorf(timmy.NotFound, "Session not found")
		}
		if err != nil || old.MovedTo == id {
			return err
		}
		s, ok, err := t.session(id)
		if err != nil {
			return err
		}
		if ok {
			err = t.expireIfDue(&s)
		}
		if err == nil && (!ok || !s.live() || from == id || old.MovedTo != "") {
			err = timmy.Errorf(timmy.Conflict, "the one session cannot be joined to the other")
		}
		if err != nil {
			return err
		}
		return t.moveInto(id, from)
	})
}

// End ends a session before its time. One that has ended is left as it is.
func (l *Ledger) End(ctx context.Context, id string) error {
	return l.write(ctx, failpoint.LedgerExpire, func(t *txn) error {
		s, ok, err := t.session(id)
		if err == nil && !ok {
			err = timmy.Errorf(timmy.NotFound, "Session not found")
		}
		if err != nil || s.State == timmy.SessionExpired {
			return err
		}
		return t.expire(&s)
	})
}
