package ledger

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// IdemState says what an Idempotency-Key stands for. The values are those of
// package rest.
type IdemState string

// The states of an Idempotency-Key.
const (
	IdemFresh    IdemState = "fresh"    // the caller's to run, under Subject
	IdemInFlight IdemState = "inflight" // somebody is running it
	IdemDone     IdemState = "done"     // Status and Body are the answer
	IdemMismatch IdemState = "mismatch" // same key, other body
)

// Idem is the row of an Idempotency-Key. Subject is the same on every try.
type Idem struct {
	State   IdemState
	Subject string
	Status  int
	Body    []byte
}

// Reserve claims an Idempotency-Key for a call whose body has this hash, under
// subject. A call that a dead process ran is the caller's to run again, under the
// subject of the first try.
func (l *Ledger) Reserve(ctx context.Context, key string, sum [32]byte, subject string) (idem Idem, err error) {
	if key == "" || len(key) > maxIdemKey {
		return Idem{}, timmy.Errorf(timmy.Invalid, "the Idempotency-Key is too long")
	}
	err = l.write(ctx, failpoint.LedgerIdem, func(t *txn) error {
		idem, err = t.reserveIdem(key, hex.EncodeToString(sum[:]), subject)
		return err
	})
	if err != nil {
		return Idem{}, err
	}
	return idem, nil
}

func (t *txn) reserveIdem(key, sum, subject string) (Idem, error) {
	if _, err := t.Exec(`DELETE FROM idem WHERE key = ? AND at < ?`, key, ms(t.now.Add(-t.l.o.IdemFor))); err != nil {
		return Idem{}, err
	}
	now := t.l.leaseClock(t)
	n, err := t.Exec(`INSERT INTO idem (key, body, subject, owner, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING`,
		key, sum, subject, t.l.boot, ms(now))
	if err != nil || n == 1 {
		return Idem{State: IdemFresh, Subject: subject}, err
	}
	var r struct {
		Body, Subject, Owner string
		Done                 bool
		Status               int
		Reply                []byte
		At                   int64
	}
	if err := t.Get(&r, `SELECT body, subject, owner, done, status, reply, at FROM idem WHERE key = ?`, key); err != nil {
		return Idem{}, err
	}
	age := now.Sub(when(r.At))
	dead := age > takeOver || (r.Owner != t.l.boot && (t.oneProcess() || age > t.l.o.LeaseFor))
	switch {
	case r.Body != sum:
		return Idem{State: IdemMismatch, Subject: r.Subject}, nil
	case r.Done:
		return Idem{State: IdemDone, Subject: r.Subject, Status: r.Status, Body: r.Reply}, nil
	case !dead:
		return Idem{State: IdemInFlight, Subject: r.Subject}, nil
	}
	_, err = t.Exec(`UPDATE idem SET owner = ?, at = ? WHERE key = ?`, t.l.boot, ms(now), key)
	return Idem{State: IdemFresh, Subject: r.Subject}, err
}

// Keep stores the answer of a call that has run.
func (l *Ledger) Keep(ctx context.Context, key string, status int, reply []byte) error {
	if len(reply) > maxIdemBody {
		return bug("an answer of %d bytes cannot be kept", len(reply))
	}
	return l.write(ctx, failpoint.LedgerKeep, func(t *txn) error {
		_, err := t.Exec(`UPDATE idem SET done = 1, status = ?, reply = ? WHERE key = ? AND done = 0`, status, reply, key)
		return err
	})
}

// Drop forgets a key whose call was refused before it did anything, unless another
// tower has taken it over meanwhile.
func (l *Ledger) Drop(ctx context.Context, key string) error {
	return l.write(ctx, failpoint.LedgerDrop, func(t *txn) error {
		_, err := t.Exec(`DELETE FROM idem WHERE key = ? AND done = 0 AND owner = ?`, key, t.l.boot)
		return err
	})
}

// Once notes an id that may be used once (NIP-98), to be remembered until then.
// fresh is false if it was used before. Limited: too many are remembered.
func (l *Ledger) Once(ctx context.Context, id string, until time.Time) (fresh bool, err error) {
	if id == "" || len(id) > maxSeenID {
		return false, timmy.Errorf(timmy.Invalid, "not an id")
	}
	if l.seen.Load() >= maxSeen {
		return false, timmy.Errorf(timmy.Limited, "too many signed calls right now")
	}
	err = l.write(ctx, failpoint.LedgerOnce, func(t *txn) error {
		n, err := t.Exec(`INSERT INTO seen (id, until) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, id, ms(until))
		fresh = n == 1
		return err
	})
	if err != nil {
		return false, err
	}
	if fresh {
		l.seen.Add(1)
	}
	return fresh, nil
}

// oneProcess reports whether this process is the only one on its database: a
// SQLite file belongs to the tower that locked its folder.
func (t *txn) oneProcess() bool { return t.Dialect() == db.SQLite }
