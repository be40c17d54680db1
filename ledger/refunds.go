package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// frow is a refund as it is stored.
type frow struct {
	ID       string
	Account  timmy.Account
	Amount   timmy.Msat
	Fee      timmy.Msat
	PaidFee  timmy.Msat `db:"paid_fee"`
	Goal     string
	Bolt11   string
	Hash     sql.NullString
	Expires  int64
	State    timmy.RefundState
	Wallet   string
	Reason   string
	Preimage string
	At       int64
	Sent     int64
	Ended    int64
}

func (r *frow) refund() timmy.Refund {
	h, _ := timmy.ParseHash(r.Hash.String) // a row without hash has the zero hash
	out := timmy.Refund{
		ID: r.ID, Account: r.Account, To: r.Goal, Amount: r.Amount, Fee: r.Fee, State: r.State, Reason: r.Reason,
		Invoice: timmy.Invoice{Hash: h, Bolt11: r.Bolt11, Amount: r.Amount, Expires: when(r.Expires)},
		At:      when(r.At), Sent: when(r.Sent),
	}
	if r.State == timmy.RefundPaid {
		out.Fee = r.PaidFee
	}
	return out
}

func refundByID(q *db.Tx, id string) (r frow, ok bool, err error) {
	err = q.Get(&r, `SELECT * FROM refunds WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// Sizing says how much of what is available arrives, and how much is kept for
// routing; it must be pure. An error refuses the refund.
type Sizing = func(available timmy.Msat) (amount, fee timmy.Msat, err error)

// errRefundsOff: the operator has set no maximum.
var errRefundsOff = timmy.Errorf(timmy.Unavailable, "This tower gives no refunds.")

// Refund reserves what size says of r's account and writes the row: no wallet may
// be asked before that. A known id is answered with its row; nothing happens then.
//
// Conflict: another refund of the account is under way. Limited: the day's maximum.
// Unpaid: there is not enough. Invalid: the invoice is one of ours, or was refunded
// to before.
func (l *Ledger) Refund(ctx context.Context, r timmy.Refund, size Sizing) (out timmy.Refund, err error) {
	if r.ID == "" || len(r.ID) > maxRefundID || r.To == "" || len(r.To) > maxRefundTo || r.Account.House() {
		return out, bug("a refund %.80q of %s to %.80q", r.ID, r.Account, r.To)
	}
	err = l.write(ctx, failpoint.LedgerRefund, func(t *txn) error {
		known, ok, err := refundByID(t.Tx, r.ID)
		if err == nil && !ok {
			known, err = t.refund(r, size)
		}
		out = known.refund()
		return err
	})
	if err != nil {
		return timmy.Refund{}, err
	}
	return out, nil
}

func (t *txn) refund(r timmy.Refund, size Sizing) (frow, error) {
	row := frow{ID: r.ID, Account: r.Account, Goal: r.To, State: timmy.RefundReserved, At: ms(t.now)}
	var open int
	if err := t.Get(&open, `SELECT COUNT(*) FROM refunds WHERE account = ? AND state IN ('reserved', 'sending')`, r.Account); err != nil {
		return row, err
	}
	if open > 0 {
		return row, timmy.Errorf(timmy.Conflict, "A refund is under way already.")
	}
	b, err := balance(t.Tx, r.Account)
	if err != nil {
		return row, err
	}
	if row.Amount, row.Fee, err = size(b.Available()); err != nil {
		return row, err
	}
	if row.Amount <= 0 || row.Fee < 0 || row.Amount > timmy.MaxMsat || row.Fee > timmy.MaxMsat {
		return row, bug("a refund of %d and %d", row.Amount, row.Fee)
	}
	if err := t.withinDay(row.Amount + row.Fee); err != nil {
		return row, err
	}
	if err := t.reserve(r.Account, row.Amount+row.Fee); err != nil {
		return row, err
	}
	_, err = t.Exec(`INSERT INTO refunds (id, account, amount, fee, goal, state, at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		row.ID, row.Account, row.Amount, row.Fee, row.Goal, row.State, row.At)
	if err != nil || r.Invoice.Hash.IsZero() {
		return row, err
	}
	if r.Invoice.Amount == 0 { // it leaves the amount to us
		r.Invoice.Amount = row.Amount
	}
	return row, t.aim(&row, r.Invoice)
}

// withinDay refuses what is above the maximum of the last 24 hours. What failed
// does not count.
func (t *txn) withinDay(more timmy.Msat) error {
	most := t.l.o.RefundsPerDay
	if most <= 0 {
		return errRefundsOff
	}
	var given timmy.Msat
	err := t.Get(&given, `SELECT CAST(COALESCE(SUM(amount + fee), 0) AS BIGINT) FROM refunds WHERE at > ? AND state <> 'failed'`,
		ms(t.now.Add(-refundDay)))
	if err != nil {
		return err
	}
	if most-given < more {
		return timmy.Errorf(timmy.Limited, "This tower has given as many refunds today as it may: please try again tomorrow.")
	}
	return nil
}

// Aim stores the invoice that a refund to an address is paid by. Conflict: it has
// one already, or is past that. Invalid: the invoice is one of ours, or was used.
func (l *Ledger) Aim(ctx context.Context, id string, inv timmy.Invoice) error {
	return l.write(ctx, failpoint.LedgerRefund, func(t *txn) error {
		r, err := t.openRefund(id)
		if err != nil {
			return err
		}
		if r.State != timmy.RefundReserved || r.Hash.Valid {
			return errAimed
		}
		return t.aim(&r, inv)
	})
}

var errAimed = timmy.Errorf(timmy.Conflict, "the refund has its invoice already")

func (t *txn) aim(r *frow, inv timmy.Invoice) error {
	if inv.Amount != r.Amount || inv.Hash.IsZero() || inv.Bolt11 == "" {
		return bug("refund %s of %d aimed at %d", r.ID, r.Amount, inv.Amount)
	}
	// Paying ourselves moves no sats, and what a node says of such a payment is not
	// to be relied on.
	if _, ours, err := invoiceBy(t.Tx, "hash", inv.Hash.String()); err != nil || ours {
		return errors.Join(err, onlyIf(ours, timmy.Errorf(timmy.Invalid, "That invoice is mine: name one of your own wallet.")))
	}
	var used int
	if err := t.Get(&used, `SELECT COUNT(*) FROM refunds WHERE hash = ?`, inv.Hash.String()); err != nil {
		return err
	}
	if used > 0 {
		return timmy.Errorf(timmy.Invalid, "That invoice was used before: make a new one.")
	}
	r.Bolt11, r.Expires, r.Hash = inv.Bolt11, ms(inv.Expires), sql.NullString{String: inv.Hash.String(), Valid: true}
	_, err := t.Exec(`UPDATE refunds SET bolt11 = ?, hash = ?, expires = ? WHERE id = ? AND hash IS NULL`, r.Bolt11, r.Hash, r.Expires, r.ID)
	return err
}

func onlyIf(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}

func (t *txn) openRefund(id string) (frow, error) {
	r, ok, err := refundByID(t.Tx, id)
	if err == nil && !ok {
		err = timmy.Errorf(timmy.NotFound, "there is no such refund")
	}
	return r, err
}

// Launch is written before the wallet is asked to pay. Whoever it answers nil is
// the only one, ever, that may ask; after it nothing but the wallet's word ends the
// refund. Conflict: it was launched, or ended.
func (l *Ledger) Launch(ctx context.Context, id string) error {
	return l.write(ctx, failpoint.LedgerLaunch, func(t *txn) error {
		n, err := t.Exec(`UPDATE refunds SET state = 'sending', sent = ?, wallet = ? WHERE id = ? AND state = 'reserved' AND hash IS NOT NULL`,
			ms(t.now), t.l.o.Wallet, id)
		if err == nil && n != 1 {
			err = timmy.Errorf(timmy.Conflict, "the refund was sent already")
		}
		return err
	})
}

// Recall ends a refund that was never launched. Conflict: it was.
func (l *Ledger) Recall(ctx context.Context, id, reason string) error {
	return l.write(ctx, failpoint.LedgerRecall, func(t *txn) error {
		r, err := t.openRefund(id)
		if err != nil {
			return err
		}
		if r.State != timmy.RefundReserved {
			return timmy.Errorf(timmy.Conflict, "the refund was sent already")
		}
		return t.giveUp(&r, reason)
	})
}

// Land books how a launched refund ended: paid, or failed for good. A refund that
// has ended stays as it is, whatever is reported later, and is returned. A fee
// above the limit, or below nothing, is booked as the limit; odd is true then.
func (l *Ledger) Land(ctx context.Context, id string, s timmy.Sent) (out timmy.Refund, odd bool, err error) {
	err = l.write(ctx, failpoint.LedgerLand, func(t *txn) error {
		r, err := t.openRefund(id)
		if err != nil {
			return err
		}
		odd = false
		switch {
		case r.State.Final():
		case r.State != timmy.RefundSending:
			return bug("landing refund %s, which is %s", id, r.State)
		case s.State == timmy.SentPaid:
			odd = s.Fee < 0 || s.Fee > r.Fee
			err = t.paidOut(&r, s)
		case s.State == timmy.SentFailed:
			err = t.giveUp(&r, s.Reason)
		default:
			return bug("landing refund %s as %s", id, s.State)
		}
		out = r.refund()
		return err
	})
	if err != nil {
		return timmy.Refund{}, false, err
	}
	return out, odd, nil
}

// paidOut books what left: the amount to the network, and the fee by way of
// house:fees, which so shows what routing has cost.
func (t *txn) paidOut(r *frow, s timmy.Sent) error {
	r.State, r.PaidFee, r.Ended = timmy.RefundPaid, s.Fee, ms(t.now)
	if s.Fee < 0 || s.Fee > r.Fee {
		r.PaidFee = r.Fee
	}
	if s.Preimage != [32]byte{} {
		r.Preimage = hex.EncodeToString(s.Preimage[:])
	}
	if err := t.release(r.Account, r.Amount+r.Fee); err != nil {
		return err
	}
	for _, p := range []struct {
		key      string
		from, to timmy.Account
		amount   timmy.Msat
	}{
		{"refund:" + r.ID, r.Account, timmy.HouseLightning, r.Amount},
		{"refund:" + r.ID + ":fee", r.Account, timmy.HouseFees, r.PaidFee},
		{"refund:" + r.ID + ":routing", timmy.HouseFees, timmy.HouseLightning, r.PaidFee},
	} {
		if err := t.post(p.key, p.from, p.to, p.amount); err != nil {
			return err
		}
	}
	return t.endRefund(r)
}

// giveUp gives the hold back to the account.
func (t *txn) giveUp(r *frow, reason string) error {
	r.State, r.Reason, r.Ended = timmy.RefundFailed, reason[:min(len(reason), maxRefundReason)], ms(t.now)
	if err := t.release(r.Account, r.Amount+r.Fee); err != nil {
		return err
	}
	return t.endRefund(r)
}

// endRefund stores the end, and lets go on what waited for the account.
func (t *txn) endRefund(r *frow) error {
	_, err := t.Exec(`UPDATE refunds SET state = ?, reason = ?, paid_fee = ?, preimage = ?, ended = ? WHERE id = ?`,
		r.State, r.Reason, r.PaidFee, r.Preimage, r.Ended, r.ID)
	if err != nil {
		return err
	}
	id, isSession := r.Account.Session()
	if !isSession {
		return t.arrived(r.Account, r.Amount)
	}
	s, ok, err := t.session(id)
	if err != nil || !ok {
		return err
	}
	if !s.live() { // it ended meanwhile: what is free belongs where its remainder went
		return t.passOn(&s, "carry:refund:"+r.ID)
	}
	_, err = t.settle(&s)
	return err
}

// RefundOf reads a refund. NotFound: there is none.
func (l *Ledger) RefundOf(ctx context.Context, id string) (out timmy.Refund, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		r, ok, err := refundByID(q, id)
		if err == nil && !ok {
			err = timmy.Errorf(timmy.NotFound, "there is no such refund")
		}
		out = r.refund()
		return err
	})
	return out, err
}

// OpenRefunds lists what has no end yet, oldest first. What another wallet was asked
// to pay is left out: this one does not know of it, which says nothing.
func (l *Ledger) OpenRefunds(ctx context.Context) (list []timmy.Refund, err error) {
	var rows []frow
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&rows, `SELECT * FROM refunds WHERE state = 'reserved' OR (state = 'sending' AND wallet = ?)
			ORDER BY at, id LIMIT ?`, l.o.Wallet, maxOpenRefunds)
	})
	for i := range rows {
		list = append(list, rows[i].refund())
	}
	return list, err
}

// RefundTo remembers where the remainder of an anonymous session goes at its end: a
// lightning address, or an invoice without an amount, which the caller has read.
func (l *Ledger) RefundTo(ctx context.Context, session, to string) error {
	if to == "" || len(to) > maxRefundTo {
		return bug("a remainder goes to %.80q", to)
	}
	return l.write(ctx, failpoint.LedgerOpen, func(t *txn) error {
		_, err := t.Exec(`UPDATE sessions SET refund_to = ? WHERE id = ?`, to, session)
		return err
	})
}

// ReturnRemainders reserves the remainders of anonymous sessions that have ended
// and named an address, and says how many. Each is tried once a day: an address may
// be away, the day's maximum reached, or nothing worth sending left.
func (l *Ledger) ReturnRemainders(ctx context.Context, size Sizing) (n int, err error) {
	if l.o.RefundsPerDay <= 0 {
		return 0, nil
	}
	var due []srow
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&due, `SELECT * FROM sessions WHERE refund_to <> '' AND refund_next <= ? AND state = 'expired' AND owner = ''
			AND EXISTS (SELECT 1 FROM accounts WHERE name = 'session:' || sessions.id AND posted > held)
			ORDER BY refund_next LIMIT ?`, ms(l.o.Now()), maxOpenRefunds)
	})
	for i := range due {
		done, e := l.returnRemainder(ctx, &due[i], size)
		err = errors.Join(err, e)
		n += done
	}
	return n, err
}

func (l *Ledger) returnRemainder(ctx context.Context, s *srow, size Sizing) (n int, err error) {
	err = l.write(ctx, failpoint.LedgerRemainder, func(t *txn) error {
		// The guard is the write: of several towers one is first.
		changed, err := t.Exec(`UPDATE sessions SET refund_next = ? WHERE id = ? AND refund_next = ? AND state = 'expired'`,
			ms(t.now.Add(refundDay)), s.ID, s.RefundNext)
		n = int(changed)
		return err
	})
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = l.Refund(ctx, timmy.Refund{
		ID: fmt.Sprintf("end:%s:%d", s.ID, s.RefundNext), Account: s.account(), To: s.RefundTo,
	}, size)
	switch timmy.CodeOf(err) {
	case "":
		return 1, nil
	case timmy.Unpaid, timmy.Limited, timmy.Conflict: // tomorrow
		return 0, nil
	}
	return 0, err
}
