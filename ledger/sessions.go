package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// Sessions is the ledger as the HTTP front sees it: its Open makes a session,
// where the ledger's own lists invoices.
type Sessions struct{ *Ledger }

// srow is a session as it is stored.
type srow struct {
	ID                       string
	Owner                    string
	State                    timmy.SessionState
	Expires, Created, Bearer int64
	Used                     bool
	Drawn                    timmy.Msat
	MovedTo                  string `db:"moved_to"`
	RefundTo                 string `db:"refund_to"`
	RefundNext               int64  `db:"refund_next"`
}

const sessionColumns = `id, owner, state, expires, created, bearer, used, drawn, moved_to, refund_to, refund_next`

// columns are where sessionColumns go.
func (s *srow) columns() []any {
	return []any{&s.ID, &s.Owner, &s.State, &s.Expires, &s.Created, &s.Bearer, &s.Used, &s.Drawn, &s.MovedTo, &s.RefundTo, &s.RefundNext}
}

// live reports whether the session is open for work.
func (s *srow) live() bool { return s.State == timmy.SessionActive || s.State == timmy.SessionPaused }

func (s *srow) account() timmy.Account { return timmy.SessionAccount(s.ID) }

func sessionByID(q *db.Tx, id string) (s srow, ok bool, err error) {
	err = q.Row(s.columns(), `SELECT `+sessionColumns+` FROM sessions WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return s, false, nil
	}
	return s, err == nil, err
}

func (t *txn) session(id string) (srow, bool, error) { return sessionByID(t.Tx, id) }

// drawable is what a payer may draw. A bound session draws on its owner too, up to
// most in its life; what its running requests reserved there counts as posted.
func drawable(q *db.Tx, payer timmy.Account, most timmy.Msat) (timmy.Balance, error) {
	id, isSession := payer.Session()
	if !isSession {
		return balance(q, payer)
	}
	s, ok, err := sessionByID(q, id)
	if err != nil {
		return timmy.Balance{}, err
	}
	if !ok {
		return balance(q, payer)
	}
	own, err := balance(q, payer)
	if err != nil {
		return own, err
	}
	return s.drawable(q, own, most)
}

// drawable is [drawable] of a session that was read, with what its own account has.
func (s *srow) drawable(q *db.Tx, b timmy.Balance, most timmy.Msat) (timmy.Balance, error) {
	if s.Owner == "" {
		return b, nil
	}
	owner, err := balance(q, timmy.UserAccount(keyOf(s.Owner)))
	if err != nil {
		return b, err
	}
	var reserved timmy.Msat
	err = q.Get(&reserved, `SELECT COALESCE(SUM(hold_user), 0) FROM requests WHERE state = 'running' AND payer = ?`, s.account())
	if err != nil {
		return b, err
	}
	posted := max(0, min(owner.Posted, most-s.Drawn+reserved))
	available := max(0, min(owner.Available(), most-s.Drawn))
	total := b.Available() + available
	b.Posted += posted
	b.Held = b.Posted - total
	return b, nil
}

// settle pauses or resumes a live session by its posted balance, and says what that
// is. Pausing waits until nothing runs: what is held may come back.
func (t *txn) settle(s *srow) (timmy.Balance, error) {
	own, err := balance(t.Tx, s.account())
	if err != nil {
		return own, err
	}
	return t.settleOn(s, own)
}

// settleOn is settle of a session whose account was read.
func (t *txn) settleOn(s *srow, own timmy.Balance) (timmy.Balance, error) {
	bal, err := s.drawable(t.Tx, own, t.l.o.MaxDeposit)
	if err != nil || !s.live() {
		return bal, err
	}
	want := timmy.SessionActive
	if bal.Posted < t.l.o.MinBalance {
		var running int
		err := t.Get(&running, `SELECT COUNT(*) FROM requests WHERE state = 'running' AND payer = ?`, s.account())
		if err != nil || running > 0 {
			return bal, err
		}
		want = timmy.SessionPaused
	}
	if want == s.State {
		return bal, nil
	}
	_, err = t.Exec(`UPDATE sessions SET state = ? WHERE id = ? AND state = ?`, want, s.ID, s.State)
	s.State = want
	return bal, err
}

// afterSession is what the end of a request means to its session: it lives longer,
// or is paused; or, if it ended meanwhile, passes on what was released. It says
// whether the session is open for work.
func (t *txn) afterSession(id string, r *row, charged timmy.Msat) (live bool, err error) {
	if err := t.undraw(id, r.HoldUser-charged); err != nil {
		return false, err
	}
	var s srow
	var own timmy.Balance
	err = t.Row(append(s.columns(), &own.Posted, &own.Held), `SELECT `+sessionColumns+`, COALESCE(posted, 0), COALESCE(held, 0)
		FROM sessions LEFT JOIN accounts ON name = ? WHERE id = ?`, r.Payer, id)
	ok := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if ok {
		if err := t.expireIfDue(&s); err != nil {
			return false, err
		}
	}
	if !s.live() {
		if ok {
			if err := t.passOn(&s, "carry:"+r.ID); err != nil {
				return false, err
			}
		}
		bal, err := t.drawable(r.Payer)
		r.Balance = bal.Posted
		return false, err
	}
	if err := t.extendSession(&s); err != nil {
		return false, err
	}
	bal, err := t.settleOn(&s, own)
	r.Balance = bal.Posted
	return s.live(), err
}

// extendSession moves a session's end, which is rounded up to a part of its life (of a day,
// to a second): calls that follow each other closely write it once.
func (t *txn) extendSession(s *srow) error {
	end, step := ms(t.now.Add(t.l.o.SessionExpiry)), max(1, t.l.o.SessionExpiry.Milliseconds()/expirySteps)
	if s.Expires >= end {
		return nil
	}
	s.Expires = (end + step - 1) / step * step
	_, err := t.Exec(`UPDATE sessions SET expires = ? WHERE id = ?`, s.Expires, s.ID)
	return err
}

func (t *txn) undraw(id string, amount timmy.Msat) error {
	if amount <= 0 {
		return nil
	}
	_, err := t.Exec(`UPDATE sessions SET drawn = drawn - ? WHERE id = ?`, amount, id)
	return err
}

// expireIfDue ends a session whose time has come: state, conversation and
// remainder in one.
func (t *txn) expireIfDue(s *srow) error {
	if s.State == timmy.SessionExpired || s.Expires > ms(t.now) {
		return nil
	}
	return t.expire(s)
}

func (t *txn) expire(s *srow) error {
	s.State = timmy.SessionExpired
	if _, err := t.Exec(`UPDATE sessions SET state = 'expired' WHERE id = ? AND state <> 'expired'`, s.ID); err != nil {
		return err
	}
	if _, err := t.Exec(`DELETE FROM conversations WHERE thread = ?`, threadOf(s.ID)); err != nil {
		return err
	}
	return t.passOn(s, fmt.Sprintf("expire:%s:%d", s.ID, s.Expires))
}

// threadOf is a session's conversation, as the HTTP front names it.
func threadOf(id string) string { return "session:" + id }

// Session reads a session. One that is due is expired first; NotFound if there is
// none.
func (l *Ledger) Session(ctx context.Context, id string) (timmy.Session, error) {
	s, due, err := l.readSession(ctx, id)
	if err != nil || !due {
		return s, err
	}
	err = l.write(ctx, failpoint.LedgerExpire, func(t *txn) error {
		s, ok, err := t.session(id)
		if err != nil || !ok {
			return err
		}
		return t.expireIfDue(&s)
	})
	if err != nil {
		return timmy.Session{}, err
	}
	s, _, err = l.readSession(ctx, id)
	return s, err
}

// glance is what most sessions are shown by, in one row: themselves, their account, the
// payment that opened them (none, as with one that only a remainder moved into), and
// whether an invoice of theirs is open.
const glance = `SELECT ` + sessionColumns + `, COALESCE(a.posted, 0), COALESCE(a.held, 0), COALESCE((SELECT hash FROM invoices
			WHERE account = ? AND purpose = 'deposit' AND state = 'settled' AND hash IS NOT NULL ORDER BY created, ref LIMIT 1), ''),
		CASE WHEN EXISTS (SELECT 1 FROM invoices WHERE account = ? AND state = 'open') THEN 1 ELSE 0 END
	FROM sessions LEFT JOIN accounts AS a ON a.name = ? WHERE id = ?`

func (l *Ledger) readSession(ctx context.Context, id string) (out timmy.Session, due bool, err error) {
	now := ms(l.o.Now())
	err = l.read(ctx, func(q *db.Tx) error {
		var s srow
		var bal timmy.Balance
		var paid string
		var open bool
		payer := timmy.SessionAccount(id)
		err := q.Row(append(s.columns(), &bal.Posted, &bal.Held, &paid, &open), glance, payer, payer, payer, id)
		if errors.Is(err, sql.ErrNoRows) {
			return timmy.Errorf(timmy.NotFound, "Session not found")
		}
		if err == nil && s.Owner != "" {
			bal, err = s.drawable(q, bal, l.o.MaxDeposit)
		}
		if err != nil {
			return err
		}
		due = s.State != timmy.SessionExpired && s.Expires <= now
		out = timmy.Session{
			ID: s.ID, State: s.State, Owner: keyOf(s.Owner), Balance: bal.Posted, Available: bal.Available(),
			Expires: when(s.Expires), Created: when(s.Created), Bearer: s.Bearer, Used: s.Used, Moved: s.MovedTo != "",
			RefundTo: s.RefundTo,
		}
		if s.Bearer != 0 && paid != "" {
			if out.Paid, err = timmy.ParseHash(paid); err != nil {
				return err
			}
		}
		if !open {
			return nil
		}
		if s.Bearer == 0 {
			if out.Deposit, err = openInvoice(q, payer, timmy.ForDeposit, 0); err != nil {
				return err
			}
		}
		out.TopUp, err = openInvoice(q, payer, timmy.ForTopUp, now)
		return err
	})
	return out, due, err
}

// Owned lists the live sessions that are bound to a key, the newest first. Their
// Balance is what they hold themselves, without their draw on the key's account.
func (l *Ledger) Owned(ctx context.Context, k timmy.PubKey, limit int) (out []timmy.Session, err error) {
	if k.IsZero() {
		return nil, nil
	}
	err = l.read(ctx, func(q *db.Tx) error {
		out = nil
		var rows []srow
		err := q.Select(&rows, `SELECT * FROM sessions WHERE owner = ? AND owner <> '' AND state IN ('active', 'paused') AND expires > ?
			ORDER BY created DESC, id LIMIT ?`, k.String(), ms(l.o.Now()), clamp(limit, maxList))
		if err != nil {
			return err
		}
		for _, s := range rows {
			b, err := balance(q, s.account())
			if err != nil {
				return err
			}
			out = append(out, timmy.Session{
				ID: s.ID, State: s.State, Owner: k, Balance: b.Posted, Available: b.Available(),
				Expires: when(s.Expires), Created: when(s.Created), Bearer: s.Bearer, Used: s.Used,
			})
		}
		return nil
	})
	return out, err
}

// Presented notes that the bearer has been used.
func (l *Ledger) Presented(ctx context.Context, id string) error {
	var s srow
	var ok bool
	err := l.read(ctx, func(q *db.Tx) (err error) { s, ok, err = sessionByID(q, id); return err })
	if err != nil || s.Used {
		return err
	}
	if !ok {
		return timmy.Errorf(timmy.NotFound, "Session not found")
	}
	return l.write(ctx, failpoint.LedgerPresented, func(t *txn) error { return t.present(id) })
}

func (t *txn) present(id string) error {
	_, err := t.Exec(`UPDATE sessions SET used = 1 WHERE id = ?`, id)
	return err
}

// ExpireSessions ends the sessions whose time has come, each in a transaction of
// its own, and says how many.
func (l *Ledger) ExpireSessions(ctx context.Context, now time.Time) (int, error) {
	var ids []string
	err := l.read(ctx, func(q *db.Tx) error {
		return q.Select(&ids, `SELECT id FROM sessions WHERE state <> 'expired' AND expires <= ? ORDER BY expires LIMIT ?`, ms(now), maxSweep)
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range ids {
		err := l.write(ctx, failpoint.LedgerExpireAll, func(t *txn) error {
			s, ok, err := t.session(id)
			if err != nil || !ok || s.State == timmy.SessionExpired || s.Expires > ms(now) {
				return err
			}
			return t.expire(&s)
		})
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
