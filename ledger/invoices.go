package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// The states of an invoice row.
const (
	expected  = "expected"  // the wallet is being asked
	issued    = "open"      // somebody may pay it
	withdrawn = "withdrawn" // the wallet did not make it, as far as we know
	settled   = "settled"   // credited
)

// irow is an invoice as it is stored.
type irow struct {
	Ref              string
	Slot, Hash       sql.NullString
	State            string
	Account          timmy.Account
	Purpose          timmy.Purpose
	Request          string
	Amount           timmy.Msat
	Memo             string
	Description, Zap []byte
	Bolt11           string
	Expires, Created int64
	Received         timmy.Msat
	Preimage         string
	Settled          int64
}

func (i *irow) invoice() timmy.Invoice {
	h, _ := timmy.ParseHash(i.Hash.String) // a row without hash has the zero hash
	return timmy.Invoice{Hash: h, Bolt11: i.Bolt11, Amount: i.Amount, Expires: when(i.Expires)}
}

func (i *irow) status() timmy.InvoiceStatus {
	s := timmy.InvoiceStatus{
		Invoice: i.invoice(), Account: i.Account, Settled: i.State == settled,
		Received: i.Received, At: when(i.Settled),
	}
	if b, err := hex.DecodeString(i.Preimage); err == nil {
		copy(s.Preimage[:], b)
	}
	return s
}

// invoiceBy finds a row by one of its unique columns.
func invoiceBy(q *db.Tx, column, value string) (i irow, ok bool, err error) {
	query := map[string]string{
		"ref":  `SELECT * FROM invoices WHERE ref = ?`,
		"hash": `SELECT * FROM invoices WHERE hash = ?`,
		"slot": `SELECT * FROM invoices WHERE slot = ?`,
	}[column]
	err = q.Get(&i, query, value)
	if errors.Is(err, sql.ErrNoRows) {
		return i, false, nil
	}
	return i, err == nil, err
}

// openInvoice is the latest unpaid invoice of an account and purpose; with after
// set, only if it has not expired by then.
func openInvoice(q *db.Tx, a timmy.Account, p timmy.Purpose, after int64) (*timmy.Invoice, error) {
	var i irow
	err := q.Get(&i, `SELECT * FROM invoices WHERE account = ? AND purpose = ? AND state = 'open' AND expires > ?
		ORDER BY created DESC LIMIT 1`, a, p, after)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	inv := i.invoice()
	return &inv, nil
}

// Unpaid lists the invoices that an account can still pay, the newest first; those
// of zaps are left out, for their payer made them elsewhere.
func (l *Ledger) Unpaid(ctx context.Context, a timmy.Account, limit int) (out []timmy.Invoice, err error) {
	var rows []irow
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&rows, `SELECT * FROM invoices WHERE account = ? AND state = 'open' AND purpose <> 'zap' AND expires > ?
			ORDER BY created DESC, ref LIMIT ?`, a, ms(l.o.Now()), clamp(limit, maxList))
	})
	for i := range rows {
		out = append(out, rows[i].invoice())
	}
	return out, err
}

// slotOf is what may have one open invoice only, or nothing.
func slotOf(top timmy.TopUp) sql.NullString {
	s := ""
	switch {
	case top.Purpose == timmy.ForZap && top.ZapID != "":
		s = "zap:" + top.ZapID
	case top.Purpose == timmy.ForRequest && top.For != "":
		s = "request:" + string(top.For)
	case top.Purpose == timmy.ForDeposit, top.Purpose == timmy.ForTopUp, top.Purpose == timmy.ForAsk, top.Purpose == timmy.ForEntry:
		s = string(top.Purpose) + ":" + string(top.Account)
	}
	return sql.NullString{String: s, Valid: s != ""}
}

// Expect writes the row before the wallet is asked; ref travels there and back.
// If the slot has an open invoice: Conflict, open is that invoice (nil while it is
// being made), and ref is its reference.
func (l *Ledger) Expect(ctx context.Context, top timmy.TopUp) (ref string, open *timmy.Invoice, err error) {
	if err := l.checkTopUp(top); err != nil {
		return "", nil, err
	}
	fresh, err := l.newRef()
	if err != nil {
		return "", nil, err
	}
	var refusal error
	err = l.write(ctx, failpoint.LedgerExpect, func(t *txn) error {
		ref, open = fresh, nil
		if refusal, err = t.mayExpect(top); err != nil || refusal != nil {
			return err
		}
		slot := slotOf(top)
		if slot.Valid {
			ref, open, refusal, err = t.takeSlot(slot.String)
			if err != nil || refusal != nil {
				return err
			}
			ref = fresh
		}
		_, err := t.Exec(`INSERT INTO invoices (ref, slot, state, account, purpose, request, amount, memo, description, zap, created)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			ref, slot, expected, top.Account, top.Purpose, top.For, top.Amount, top.Memo, top.Description, top.Zap, ms(t.now))
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return ref, open, refusal
}

func (l *Ledger) checkTopUp(top timmy.TopUp) error {
	switch {
	case top.Account == "" || top.Purpose == "":
		return bug("an invoice without account or purpose")
	case top.Amount <= 0 || top.Amount > timmy.MaxMsat:
		return timmy.Errorf(timmy.Invalid, "the amount must be positive")
	case top.Purpose != timmy.ForDeposit && top.Purpose != timmy.ForTopUp:
		return nil
	case top.Amount < l.o.MinDeposit, l.o.MaxDeposit > 0 && top.Amount > l.o.MaxDeposit:
		return timmy.Errorf(timmy.Invalid, "amount_sats must be an integer between %d and %d", l.o.MinDeposit.Sats(), l.o.MaxDeposit.Sats())
	}
	return nil
}

// mayExpect refuses a deposit or a top-up that does not fit its session's state.
func (t *txn) mayExpect(top timmy.TopUp) (refusal, err error) {
	id, ok := top.Account.Session()
	if !ok || (top.Purpose != timmy.ForDeposit && top.Purpose != timmy.ForTopUp) {
		return nil, nil
	}
	s, ok, err := t.session(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return timmy.Errorf(timmy.NotFound, "Session not found"), nil
	}
	if err := t.expireIfDue(&s); err != nil {
		return nil, err
	}
	if top.Purpose == timmy.ForDeposit && s.State != timmy.SessionAwaiting {
		return timmy.Errorf(timmy.Conflict, "Session is in state '%s'", s.State), nil
	}
	if top.Purpose == timmy.ForTopUp && !s.live() {
		return timmy.Errorf(timmy.Conflict, "Cannot top up a session in state '%s'", s.State), nil
	}
	return nil, nil
}

// takeSlot frees a slot whose invoice nobody will pay any more, or says who has it.
func (t *txn) takeSlot(slot string) (ref string, open *timmy.Invoice, refusal, err error) {
	i, ok, err := invoiceBy(t.Tx, "slot", slot)
	if err != nil || !ok {
		return "", nil, nil, err
	}
	switch {
	case i.State == settled:
		return i.Ref, nil, timmy.Errorf(timmy.Conflict, "already paid"), nil
	case i.State == issued && i.Expires > ms(t.now):
		inv := i.invoice()
		return i.Ref, &inv, timmy.Errorf(timmy.Conflict, "an invoice is open already"), nil
	case i.State == expected && t.beingMade(&i):
		return i.Ref, nil, timmy.Errorf(timmy.Conflict, "an invoice is being made already"), nil
	}
	_, err = t.Exec(`UPDATE invoices SET slot = NULL WHERE ref = ?`, i.Ref)
	return "", nil, nil, err
}

// beingMade reports whether somebody may still be asking the wallet for an invoice.
// On SQLite nobody does whose process is dead, so that who asked it can ask again
// at once; elsewhere that cannot be known, and expectFor decides.
func (t *txn) beingMade(i *irow) bool {
	return i.Created > ms(t.now.Add(-expectFor)) && (!t.oneProcess() || i.Created >= ms(t.l.born))
}

// Issued stores an invoice under its reference. With a lease, the request that it
// is for is parked with a parcel that carries it; Conflict: the lease was lost, and
// only the invoice was stored. It may be repeated. A payment that was reported
// before is credited now.
func (l *Ledger) Issued(ctx context.Context, ref string, inv timmy.Invoice, lease timmy.Lease) error {
	if inv.Hash.IsZero() || inv.Bolt11 == "" || inv.Amount <= 0 || inv.Amount > timmy.MaxMsat {
		return bug("storing an invoice without hash, text or amount")
	}
	var refusal error
	err := l.write(ctx, failpoint.LedgerIssued, func(t *txn) error {
		refusal = nil
		i, ok, err := invoiceBy(t.Tx, "ref", ref)
		if err != nil {
			return err
		}
		if !ok || (i.Hash.Valid && i.Hash.String != inv.Hash.String()) {
			return timmy.Errorf(timmy.Conflict, "this reference is not waiting for that invoice")
		}
		if other, ok, err := invoiceBy(t.Tx, "hash", inv.Hash.String()); err != nil || (ok && other.Ref != ref) {
			return errors.Join(err, bug("two invoices with the hash %s", inv.Hash))
		}
		_, err = t.Exec(`UPDATE invoices SET hash = ?, bolt11 = ?, amount = ?, expires = ?,
			state = CASE WHEN state = 'settled' THEN state ELSE 'open' END WHERE ref = ?`,
			inv.Hash.String(), inv.Bolt11, inv.Amount, ms(inv.Expires), ref)
		if err != nil {
			return err
		}
		if lease.Request != "" {
			refusal, err = t.park(ref, inv, lease)
			if err != nil {
				return err
			}
		}
		return t.creditEarly(ref, inv.Hash)
	})
	if err != nil {
		return err
	}
	return refusal
}

// park lets a request wait for an invoice.
func (t *txn) park(ref string, inv timmy.Invoice, lease timmy.Lease) (refusal, err error) {
	r, err := t.leased(lease)
	if timmy.CodeOf(err) == timmy.Conflict {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	if r.HoldPool+r.HoldSession+r.HoldUser != 0 {
		return nil, bug("parking %s, which holds money", r.ID)
	}
	bal, err := t.drawable(r.Payer)
	if err != nil {
		return nil, err
	}
	r.State, r.Since, r.Invoice, r.Balance = timmy.StateParked, ms(t.now), ref, bal.Posted
	r.Need = bal.Available() + inv.Amount
	i, _, err := invoiceBy(t.Tx, "ref", ref)
	if err != nil {
		return nil, err
	}
	if i.State == settled { // paid before it was parked: it can run
		_, err = t.Exec(`UPDATE requests SET state = 'queued', since = ?, lease_owner = '', lease_until = 0 WHERE id = ?`, r.Since, r.ID)
		t.queued = true
		return nil, err
	}
	_, err = t.Exec(`UPDATE requests SET state = ?, since = ?, invoice = ?, balance = ?, need = ?, lease_owner = '', lease_until = 0
		WHERE id = ?`, r.State, r.Since, r.Invoice, r.Balance, r.Need, r.ID)
	if err != nil {
		return nil, err
	}
	return nil, t.answer(&r)
}

// Withdrawn gives a reference up whose wallet call failed. Should it be paid all
// the same, Credit still finds it.
func (l *Ledger) Withdrawn(ctx context.Context, ref string) error {
	return l.write(ctx, failpoint.LedgerWithdrawn, func(t *txn) error {
		_, err := t.Exec(`UPDATE invoices SET state = ?, slot = NULL WHERE ref = ? AND state = ?`, withdrawn, ref, expected)
		return err
	})
}

// Open lists what may still be paid: unsettled, and expired for less than a day.
func (l *Ledger) Open(ctx context.Context, now time.Time) (open []timmy.Invoice, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		var rows []irow
		err := q.Select(&rows, `SELECT * FROM invoices WHERE state = 'open' AND expires > ? ORDER BY expires LIMIT ?`,
			ms(now.Add(-openFor)), maxOpen)
		for i := range rows {
			open = append(open, rows[i].invoice())
		}
		return err
	})
	return open, err
}

// Invoice reads what became of an invoice. NotFound: none of ours.
func (l *Ledger) Invoice(ctx context.Context, h timmy.Hash) (s timmy.InvoiceStatus, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		i, ok, err := invoiceBy(q, "hash", h.String())
		if err == nil && !ok {
			err = timmy.Errorf(timmy.NotFound, "no such invoice")
		}
		s = i.status()
		return err
	})
	if err != nil {
		return timmy.InvoiceStatus{}, err
	}
	return s, nil
}

// lapsed is what waits for an invoice that nobody can pay any more; the plus as in
// leftRunning.
const lapsed = `SELECT * FROM requests WHERE state = 'parked'
	AND EXISTS (SELECT 1 FROM invoices WHERE ref = requests.invoice AND expires <= ?) ORDER BY +seq LIMIT ?`

// Lapse closes, with a parcel, what waits for an invoice that has expired, and
// says how many that were.
func (l *Ledger) Lapse(ctx context.Context, now time.Time) (n int, err error) {
	err = l.write(ctx, failpoint.LedgerLapse, func(t *txn) error {
		n = 0
		var rows []row
		err := t.Select(&rows, lapsed, ms(now), maxSweep)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := t.close(&rows[i], timmy.StateUnpaid, "the invoice expired before it was paid"); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
