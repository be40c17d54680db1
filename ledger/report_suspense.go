package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// maxReason bounds the operator's words: a sentence or two.
const maxReason = 500

// Resolution is what the operator decided about a row of the suspense list.
type Resolution struct {
	Name   string        `json:"name"` // of the row
	To     timmy.Account `json:"to"`
	Reason string        `json:"reason"`
	Amount timmy.Msat    `json:"msat"` // what moved; 0: nothing of it was in suspense
	At     int64         `json:"at"`   // unix milliseconds
}

// Resolve moves what a row holds from suspense to an account, once: one posting
// "resolve:<name>", with the reason beside it. A report of the same payment that
// comes later moves nothing any more, for its money has an owner now.
//
// Users, sessions that exist, the pool, revenue, the operator and Lightning (it
// was given back by hand) may get it. Invalid: the account or the reason.
// NotFound: the row, or the session. Conflict: it is resolved already.
func (l *Ledger) Resolve(ctx context.Context, r Resolution) (Resolution, error) {
	r.Reason = strings.TrimSpace(r.Reason)
	if err := checkResolution(r); err != nil {
		return Resolution{}, err
	}
	err := l.write(ctx, failpoint.LedgerResolve, func(t *txn) error {
		r.At = ms(t.now)
		return t.resolve(&r)
	})
	if err != nil {
		return Resolution{}, err
	}
	return r, nil
}

func checkResolution(r Resolution) error {
	if r.Reason == "" || len(r.Reason) > maxReason {
		return timmy.Errorf(timmy.Invalid, "a reason of 1 to %d bytes is needed: it is kept with the posting", maxReason)
	}
	_, user := r.To.User()
	_, session := r.To.Session()
	switch {
	case user, session, r.To == timmy.HousePool, r.To == timmy.HouseRevenue, r.To == timmy.HouseOperator, r.To == timmy.HouseLightning:
		return nil
	}
	return timmy.Errorf(timmy.Invalid, "%s cannot get it: want a user, a session, house:pool, house:revenue, house:operator, or house:lightning for what was given back", r.To)
}

func (t *txn) resolve(r *Resolution) error {
	var row struct {
		Posted   timmy.Msat
		Resolved int64
	}
	err := t.Get(&row, `SELECT posted, resolved FROM suspense WHERE name = ?`, r.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return timmy.Errorf(timmy.NotFound, "suspense has no row %s", r.Name)
	}
	if err != nil {
		return err
	}
	if row.Resolved != 0 {
		return timmy.Errorf(timmy.Conflict, "this was resolved on %s", when(row.Resolved).Format(time.RFC3339))
	}
	if err := t.mayReceive(r.To); err != nil {
		return err
	}
	n, err := t.Exec(`UPDATE suspense SET resolved = ? WHERE name = ? AND resolved = 0`, r.At, r.Name)
	if err != nil {
		return err
	}
	if n != 1 {
		return bug("resolving %s twice", r.Name)
	}
	r.Amount = row.Posted
	note, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing a resolution: %w", err)
	}
	if _, err := t.Exec(`INSERT INTO meta (key, value) VALUES (?, ?)`, "resolve:"+r.Name, string(note)); err != nil {
		return err
	}
	if err := t.post("resolve:"+r.Name, timmy.HouseSuspense, r.To, row.Posted); err != nil {
		return err
	}
	return t.received(r.To, row.Posted)
}

// mayReceive refuses a session that is not there, or that has an heir.
func (t *txn) mayReceive(a timmy.Account) error {
	id, ok := a.Session()
	if !ok {
		return nil
	}
	s, ok, err := t.session(id)
	switch {
	case err != nil:
		return err
	case !ok:
		return timmy.Errorf(timmy.NotFound, "there is no session %s", id)
	case s.MovedTo != "":
		return timmy.Errorf(timmy.Conflict, "the money of this session moved into session %s: give it to that one", s.MovedTo)
	}
	return nil
}

// received does for a resolution what a payment does: sessions come to life, what
// waited for money goes on, and a user is told.
func (t *txn) received(a timmy.Account, amount timmy.Msat) error {
	if amount == 0 {
		return nil
	}
	if err := t.revive(a); err != nil {
		return err
	}
	i := &irow{Account: a, Received: amount}
	woken, err := t.wake(a, i)
	if err != nil {
		return err
	}
	if err := t.resumeAll(a); err != nil {
		return err
	}
	return t.tell(i, a, woken)
}

// decided reports whether the operator gave this payment's money to somebody.
func (t *txn) decided(i *irow, p timmy.Payment) (bool, error) {
	var n int64
	err := t.Get(&n, `SELECT COUNT(*) FROM suspense WHERE resolved <> 0 AND name IN (?, ?, ?)`, nameOf(p), "ref:"+i.Ref, i.Hash.String)
	return n > 0, err
}

// Resolutions reads what the operator decided, newest first, at most a thousand.
func (l *Ledger) Resolutions(ctx context.Context) (list []Resolution, err error) {
	var notes []string
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&notes, `SELECT m.value FROM suspense AS s JOIN meta AS m ON m.key = 'resolve:' || s.name
			WHERE s.resolved <> 0 ORDER BY s.resolved DESC, s.name LIMIT ?`, maxList)
	})
	for _, note := range notes {
		var r Resolution
		if err := json.Unmarshal([]byte(note), &r); err != nil {
			return nil, fmt.Errorf("reading a resolution: %w", err)
		}
		list = append(list, r)
	}
	return list, err
}
