package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// Drawer is a row of the suspense list: money whose owner is unknown, or that
// nobody may have yet. The operator resolves it.
type Drawer struct {
	Name     string     // the payment hash, or "ref:" and our reference
	Ref      string     // of the invoice it belongs to, if any
	Reason   string     // why it is here
	Received timmy.Msat // as the wallet said it, however absurd
	Posted   timmy.Msat // how much of it is in house:suspense
	At       time.Time
	Resolved time.Time // zero: still open
}

// Credit applies a payment at most once, found by its hash or else by our
// reference. The watcher's cursor, if not empty, moves in the same transaction,
// whatever became of the payment.
//
// Up to twice the invoice's amount is credited as received. Less, more, or a wrong or
// missing preimage is Refused, each time: the first report goes to quarantine in suspense,
// and a correct one later is still applied. Repeated reports of what was applied or
// is unknown are Replayed. A payment that is not settled moves nothing.
func (l *Ledger) Credit(ctx context.Context, p timmy.Payment, next timmy.Cursor) (timmy.Credit, error) {
	credit := timmy.CreditReplayed
	err := l.write(ctx, failpoint.LedgerCredit, func(t *txn) (err error) {
		credit = timmy.CreditReplayed
		if next != "" {
			_, err := t.Exec(`INSERT INTO meta (key, value) VALUES (?, ?)
				ON CONFLICT (key) DO UPDATE SET value = excluded.value`, l.cursorKey(), next)
			if err != nil {
				return err
			}
		}
		if p.Settled {
			credit, err = t.credit(p)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	l.count(credit)
	return credit, nil
}

// nameOf is the payment's name in the books.
func nameOf(p timmy.Payment) string {
	if p.Hash.IsZero() {
		return "ref:" + p.Ref
	}
	return p.Hash.String()
}

func (t *txn) credit(p timmy.Payment) (timmy.Credit, error) {
	if p.Hash.IsZero() && p.Ref == "" {
		return "", timmy.Errorf(timmy.Invalid, "a payment without hash and reference")
	}
	i, ok, err := t.invoiceOf(p)
	switch {
	case err != nil:
		return "", err
	case !ok:
		why := whyUnknown
		if !proven(p) {
			why = whyUnproven
		}
		return t.suspend(p, "", why, timmy.CreditUnknown)
	case i.State == settled:
		return timmy.CreditReplayed, nil
	}
	if p.Hash.IsZero() && i.Hash.Valid {
		p.Hash = i.invoice().Hash
	}
	if done, err := t.decided(&i, p); err != nil || done {
		return timmy.CreditReplayed, err
	}
	if why := refuse(&i, p); why != "" {
		return t.suspend(p, i.Ref, why, timmy.CreditRefused)
	}
	for _, name := range []string{nameOf(p), "ref:" + i.Ref, i.Hash.String} {
		if err := t.unsuspend(name); err != nil {
			return "", err
		}
	}
	return timmy.CreditApplied, t.apply(&i, p)
}

// invoiceOf finds the invoice of a payment. A reference counts only if no other
// hash is known for it.
func (t *txn) invoiceOf(p timmy.Payment) (irow, bool, error) {
	if !p.Hash.IsZero() {
		i, ok, err := invoiceBy(t.Tx, "hash", p.Hash.String())
		if err != nil || ok {
			return i, ok, err
		}
	}
	if p.Ref == "" {
		return irow{}, false, nil
	}
	i, ok, err := invoiceBy(t.Tx, "ref", p.Ref)
	if ok && i.Hash.Valid && !p.Hash.IsZero() {
		return irow{}, false, err
	}
	return i, ok, err
}

// refuse says why a payment of an invoice must not be credited, or nothing.
func refuse(i *irow, p timmy.Payment) string {
	switch {
	case p.Received < i.Amount:
		return "less than the invoice's amount"
	case p.Received-i.Amount > i.Amount, p.Received > timmy.MaxMsat:
		return "more than twice the invoice's amount"
	case !proven(p):
		return whyUnproven
	}
	return ""
}

// Why a payment is in suspense; the first is credited once its invoice is known.
const (
	whyUnknown  = "no invoice of ours"
	whyUnproven = "without the preimage that proves it"
)

// proven: no preimage is shown that is another's, and none is owed.
func proven(p timmy.Payment) bool {
	if p.Unproven {
		return false
	}
	return p.Preimage == [32]byte{} || p.Hash.IsZero() || timmy.Hash(sha256.Sum256(p.Preimage[:])) == p.Hash
}

// suspend keeps a payment that nobody may have; its first report moves the money.
func (t *txn) suspend(p timmy.Payment, ref, why string, c timmy.Credit) (timmy.Credit, error) {
	name := nameOf(p)
	posted := timmy.Msat(0)
	if p.Received > 0 && p.Received <= timmy.MaxMsat {
		posted = p.Received
	}
	n, err := t.Exec(`INSERT INTO suspense (name, ref, reason, received, posted, at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO NOTHING`, name, ref, why, p.Received, posted, ms(t.now))
	if err != nil {
		return "", err
	}
	if n == 0 && c == timmy.CreditUnknown {
		return timmy.CreditReplayed, nil
	}
	if n == 0 {
		return c, nil
	}
	return c, t.post("suspense:"+name, timmy.HouseLightning, timmy.HouseSuspense, posted)
}

// unsuspend takes back what was posted to suspense for a payment that now can be
// credited.
func (t *txn) unsuspend(name string) error {
	var posted timmy.Msat
	err := t.Get(&posted, `SELECT posted FROM suspense WHERE name = ? AND resolved = 0`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE suspense SET resolved = ? WHERE name = ?`, ms(t.now), name); err != nil {
		return err
	}
	return t.post("unsuspend:"+name, timmy.HouseSuspense, timmy.HouseLightning, posted)
}

// creditEarly credits what was paid and reported before the invoice's hash was
// known here.
func (t *txn) creditEarly(ref string, h timmy.Hash) error {
	var d struct {
		Received timmy.Msat
		At       int64
	}
	err := t.Get(&d, `SELECT received, at FROM suspense WHERE name = ? AND ref = '' AND resolved = 0 AND reason = ?`, h.String(), whyUnknown)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = t.credit(timmy.Payment{Hash: h, Ref: ref, Received: d.Received, Settled: true, At: when(d.At)})
	return err
}

// apply settles an invoice and moves its money: the one place where a payment
// becomes a balance.
func (t *txn) apply(i *irow, p timmy.Payment) error {
	i.Received, i.Settled, i.Preimage = p.Received, ms(p.At), ""
	if i.Settled == 0 {
		i.Settled = ms(t.now)
	}
	if p.Preimage != [32]byte{} {
		i.Preimage = hex.EncodeToString(p.Preimage[:])
	}
	if !p.Hash.IsZero() {
		i.Hash = sql.NullString{String: p.Hash.String(), Valid: true}
	}
	n, err := t.Exec(`UPDATE invoices SET state = 'settled', hash = ?, received = ?, preimage = ?, settled = ?,
			slot = CASE WHEN purpose = 'zap' THEN slot ELSE NULL END
		WHERE ref = ? AND state <> 'settled'`, i.Hash, i.Received, i.Preimage, i.Settled, i.Ref)
	if err != nil {
		return err
	}
	if n != 1 {
		return bug("settling %s twice", i.Ref)
	}
	i.State = settled
	to, err := t.heir(i)
	if err != nil {
		return err
	}
	if err := t.post("settle:"+nameOf(p), timmy.HouseLightning, to, i.Received); err != nil {
		return err
	}
	if i.Purpose == timmy.ForEntry {
		if _, err := t.enrol(to, i.Amount); err != nil {
			return err
		}
	}
	if err := t.revive(to); err != nil {
		return err
	}
	woken, err := t.wake(to, i)
	if err != nil {
		return err
	}
	if err := t.resumeAll(to); err != nil {
		return err
	}
	return t.tell(i, to, woken)
}

// heir is who gets what comes in for an invoice's account: the session that a
// session's remainder was moved into, suspense if it is gone, or the account itself.
func (t *txn) heir(i *irow) (timmy.Account, error) {
	a := i.Account
	id, ok := a.Session()
	if !ok {
		return a, nil
	}
	s, ok, err := t.session(id)
	switch {
	case err != nil:
		return a, err
	case !ok: // pruned long after it expired unpaid
		_, err := t.Exec(`INSERT INTO suspense (name, ref, reason, received, posted, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO NOTHING`, "late:"+i.Ref, i.Ref, "its session is gone", i.Received, i.Received, ms(t.now))
		return timmy.HouseSuspense, err
	case s.MovedTo != "":
		return timmy.SessionAccount(s.MovedTo), nil
	}
	return a, nil
}

// revive makes a session that was paid live, whatever its state, with a fresh
// expiry: money that comes late is never stranded.
func (t *txn) revive(a timmy.Account) error {
	id, ok := a.Session()
	if !ok {
		return nil
	}
	s, ok, err := t.session(id)
	if err != nil || !ok {
		return err
	}
	if !s.live() {
		s.State = timmy.SessionActive
		_, err := t.Exec(`UPDATE sessions SET state = 'active', bearer = CASE WHEN bearer = 0 THEN 1 ELSE bearer END WHERE id = ?`, id)
		if err != nil {
			return err
		}
	}
	if err := t.extendSession(&s); err != nil {
		return err
	}
	_, err = t.settle(&s)
	return err
}

// wake queues the requests that waited for this money: the one the invoice was
// for, and others of the payer that it is enough for.
func (t *txn) wake(payer timmy.Account, i *irow) (bool, error) {
	if !payer.Floored() || payer == timmy.HousePool {
		return false, nil
	}
	bal, err := t.drawable(payer)
	if err != nil {
		return false, err
	}
	n, err := t.Exec(`UPDATE requests SET state = 'queued', since = ? WHERE state = 'parked' AND payer = ? AND (id = ? OR need <= ?)`,
		ms(t.now), payer, i.Request, bal.Available())
	t.queued = t.queued || n > 0
	return n > 0, err
}

// resumeAll lets the paused sessions of a user go on that have enough to draw now.
func (t *txn) resumeAll(a timmy.Account) error {
	k, ok := a.User()
	if !ok {
		return nil
	}
	var paused []srow
	err := t.Select(&paused, `SELECT * FROM sessions WHERE owner = ? AND owner <> '' AND state = 'paused' LIMIT ?`, k.String(), maxSweep)
	if err != nil {
		return err
	}
	for i := range paused {
		if _, err := t.settle(&paused[i]); err != nil {
			return err
		}
	}
	return nil
}

// arrived is what a movement to an account that is no payment means to it.
func (t *txn) arrived(a timmy.Account, amount timmy.Msat) error {
	if amount == 0 {
		return nil
	}
	if _, err := t.wake(a, &irow{}); err != nil {
		return err
	}
	if id, ok := a.Session(); ok {
		s, ok, err := t.session(id)
		if err != nil || !ok {
			return err
		}
		_, err = t.settle(&s)
		return err
	}
	return t.resumeAll(a)
}

// tell writes the parcels of a payment: a receipt for a zap, a notice for a user
// who has written to us before.
func (t *txn) tell(i *irow, to timmy.Account, working bool) error {
	if i.Purpose == timmy.ForZap && len(i.Zap) > 0 {
		s := i.status()
		if err := t.parcel(timmy.Parcel{Zap: &s, Request: i.Zap}, ""); err != nil {
			return err
		}
	}
	k, ok := to.User()
	if !ok {
		return nil
	}
	var replyTo []byte
	err := t.Get(&replyTo, `SELECT reply_to FROM standings WHERE key = ?`, k.String())
	if errors.Is(err, sql.ErrNoRows) || (err == nil && replyTo == nil) {
		return nil
	}
	if err != nil {
		return err
	}
	bal, err := t.drawable(to)
	if err != nil {
		return err
	}
	note := &timmy.Notice{Amount: i.Received, Balance: bal.Posted, Working: working}
	return t.parcel(timmy.Parcel{Front: timmy.FrontDM, To: k, ReplyTo: replyTo, Paid: note}, "")
}

// Suspense lists what the operator has to look at, newest first; resolved rows
// too.
func (l *Ledger) Suspense(ctx context.Context, limit int) (ds []Drawer, err error) {
	var rows []struct {
		Name, Ref, Reason string
		Received, Posted  timmy.Msat
		At, Resolved      int64
	}
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&rows, `SELECT * FROM suspense ORDER BY at DESC, name LIMIT ?`, clamp(limit, maxList))
	})
	for _, r := range rows {
		ds = append(ds, Drawer{r.Name, r.Ref, r.Reason, r.Received, r.Posted, when(r.At), when(r.Resolved)})
	}
	return ds, err
}
