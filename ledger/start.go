package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// Start claims a request, reads what pricing needs, asks quote, and reserves what
// it says, in one transaction.
//
// With r nil it claims the oldest queued request whose asker has fewer than two
// running; commands go first and are not counted. With r set it accepts and
// starts r. A known r is started if it is queued; else ok is false, and Reply
// tells what it does. A request that two processes died of waits until this one
// has lived for some seconds and no other such runs.
//
// Refusals come as err, with ok true when a job comes with them: Unpaid, with a
// lease if the request waits, finished without one if not; any other refusal of
// quote, with the lease, so that the caller can finish what was queued. For an r
// that is refused otherwise than by Unpaid nothing is kept, and ok is false.
func (l *Ledger) Start(ctx context.Context, r *timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (timmy.Job, bool, error) {
	if r != nil {
		if err := checkRequest(*r); err != nil {
			return timmy.Job{}, false, err
		}
	}
	var s started
	err := l.write(ctx, failpoint.LedgerStart, func(t *txn) (err error) {
		if r != nil {
			s, err = t.startOwn(*r, quote)
		} else {
			s, err = t.startNext(quote)
		}
		return err
	})
	if err != nil {
		return timmy.Job{}, false, err
	}
	if s.ok && s.refusal == nil {
		l.stats.started.Add(1)
	}
	return s.job, s.ok, s.refusal
}

// started is what came of a start. refusal is an error that is returned although
// the transaction is committed.
type started struct {
	job     timmy.Job
	ok      bool
	refusal error
}

// nextQueued is the oldest command, or else the oldest request of those who have a
// place. Suspects run one at a time: of those that died together, only one is to
// blame.
const nextQueued = `SELECT ` + beforeOutcome + ` FROM requests WHERE state = 'queued' AND (command = 1 OR who NOT IN (
		SELECT who FROM requests WHERE state = 'running' AND command = 0 GROUP BY who HAVING COUNT(*) >= ?))
	AND (crashes < ? OR (? = 1 AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.state = 'running' AND r.crashes >= ?)))
	ORDER BY command DESC, seq LIMIT 1`

// suspect is how many crashes make a request one that the next would end.
const suspect = maxCrashes - 1

// isCalm reports whether this process has lived for long enough to run suspects. A
// clock that went back says nothing, and then it has.
func (t *txn) isCalm() bool {
	age := t.now.Sub(t.l.born)
	return age < 0 || age >= calm
}

func (t *txn) startNext(quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	var r row
	query := nextQueued
	if !t.oneProcess() {
		query += ` FOR UPDATE SKIP LOCKED`
	}
	err := t.readBefore(&r, query, maxRunning, suspect, bit(t.isCalm()), suspect)
	if errors.Is(err, sql.ErrNoRows) {
		return started{}, nil
	}
	if err != nil {
		return started{}, err
	}
	f, refusal, err := t.admit(r.Payer)
	if err != nil {
		return started{}, err
	}
	return t.start(&r, f, refusal, quote)
}

func (t *txn) startOwn(req timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	f, refusal, err := t.admit(req.Payer)
	if err != nil {
		return started{}, err
	}
	if refusal != nil && timmy.CodeOf(refusal) != timmy.Unpaid {
		return started{refusal: refusal}, nil
	}
	fresh, err := t.accept(req)
	if err != nil {
		return started{}, err
	}
	r := t.queuedRow(req)
	if !fresh {
		var ok bool
		if r, ok, err = requestByID(t.Tx, req.ID); err != nil || !ok || r.State != timmy.StateQueued || r.Crashes >= suspect {
			return started{}, err
		}
	}
	s, err := t.start(&r, f, refusal, quote)
	if err != nil {
		return s, err
	}
	if fresh && s.refusal != nil && timmy.CodeOf(s.refusal) != timmy.Unpaid {
		return started{}, s.refusal // rolls back: the asker is on the line and hears it
	}
	return s, nil
}

// funds are what a request may draw on.
type funds struct{ payer, pool timmy.Balance }

// admit says whether a payer may start requests now, and what it may draw. A session
// must be active; a due one is expired, and one that has too little is paused, here.
func (t *txn) admit(payer timmy.Account) (f funds, refusal, err error) {
	id, ok := payer.Session()
	if !ok {
		f, err = t.funds(payer)
		return f, nil, err
	}
	s, ok, err := t.session(id)
	if err != nil {
		return f, nil, err
	}
	if !ok {
		return f, timmy.Errorf(timmy.NotFound, "Session not found"), nil
	}
	if err := t.expireIfDue(&s); err != nil {
		return f, nil, err
	}
	bal, err := t.settle(&s)
	if err != nil {
		return f, nil, err
	}
	if f, err = t.funds(timmy.HousePool); err != nil {
		return f, nil, err
	}
	f.payer = bal
	switch {
	case s.State == timmy.SessionExpired:
		refusal = timmy.Errorf(timmy.Expired, "Session has expired")
	case s.State == timmy.SessionAwaiting:
		refusal = timmy.Errorf(timmy.Conflict, "Session is in state '%s'", s.State)
	case s.State == timmy.SessionPaused, bal.Available() < t.l.o.MinBalance:
		refusal = timmy.Errorf(timmy.Unpaid, "Insufficient balance")
	}
	return f, refusal, nil
}

// funds reads a payer's account and the free pool.
func (t *txn) funds(payer timmy.Account) (f funds, err error) {
	err = t.Each(func(rows *sqlx.Rows) error {
		var name timmy.Account
		var b timmy.Balance
		if err := rows.Scan(&name, &b.Posted, &b.Held); err != nil {
			return err
		}
		if name == payer {
			f.payer = b
		}
		if name == timmy.HousePool {
			f.pool = b
		}
		return nil
	}, `SELECT name, posted, held FROM accounts WHERE name IN (?, ?)`, payer, timmy.HousePool)
	return f, err
}

// start claims r and reserves, or deals with the refusal.
func (t *txn) start(r *row, f funds, refusal error, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	r.State, r.Since, r.Tries = timmy.StateRunning, ms(t.now), r.Tries+1
	r.LeaseUntil = t.lease()
	job, err := t.job(r, f)
	if err != nil {
		return started{}, err
	}
	gone := refusal != nil && timmy.CodeOf(refusal) != timmy.Unpaid // its session is: nobody can be asked to pay
	if refusal == nil {
		job.Hold, refusal = quote(job)
	}
	if refusal == nil {
		refusal, err = t.hold(r, job)
		if err != nil {
			return started{}, err
		}
	}
	if err := t.claim(r); err != nil {
		return started{}, err
	}
	if refusal == nil {
		return started{job: job, ok: true}, nil
	}
	job.Hold = timmy.Quote{}
	switch {
	case gone:
		job.Lease = timmy.Lease{}
		return started{job, true, refusal}, t.close(r, timmy.StateFailed, timmy.MessageOf(refusal))
	case timmy.CodeOf(refusal) == timmy.Unpaid && !r.Wait:
		job.Lease = timmy.Lease{}
		return started{job, true, refusal}, t.close(r, timmy.StateUnpaid, timmy.MessageOf(refusal))
	}
	return started{job, true, refusal}, t.note(r, refusal)
}

// claim writes who runs r, and what is reserved for it.
func (t *txn) claim(r *row) error {
	n, err := t.Exec(`UPDATE requests SET state = ?, since = ?, tries = ?, lease_owner = ?, lease_until = ?, need = 0, invoice = '',
			hold_pool = ?, hold_session = ?, hold_user = ?, hold_day = ?
		WHERE id = ? AND state = 'queued'`, r.State, r.Since, r.Tries, t.l.boot, r.LeaseUntil,
		r.HoldPool, r.HoldSession, r.HoldUser, r.HoldDay, r.ID)
	if err == nil && n != 1 {
		err = bug("claiming %s, which is not queued", r.ID)
	}
	return err
}

// note keeps why a request that waits is not running: the asker is told with the
// invoice.
func (t *txn) note(r *row, refusal error) error {
	_, err := t.Exec(`UPDATE requests SET reason = ? WHERE id = ?`, timmy.MessageOf(refusal), r.ID)
	return err
}

// job gathers what pricing needs.
func (t *txn) job(r *row, f funds) (j timmy.Job, err error) {
	j = timmy.Job{
		Request: r.request(), Tries: int(r.Tries),
		Lease: timmy.Lease{Request: timmy.RequestID(r.ID), Token: r.Tries, Until: when(r.LeaseUntil)},
	}
	if j.History, err = history(t.Tx, r.Thread); err != nil {
		return j, err
	}
	if r.Asker != "" {
		if j.Standing, err = standing(t.Tx, j.From); err != nil {
			return j, err
		}
		if today := dayOf(t.now); j.Standing.Day != today {
			j.Standing.Day, j.Standing.Granted = today, 0
		}
	}
	j.PayerMax, j.PoolMax = f.payer.Available(), f.pool.Available()
	return j, nil
}

// hold reserves a job's quote: the session's leg first, the rest on its owner. What
// is not there is a refusal, after which nothing is held. r knows what is held; claim
// writes it.
func (t *txn) hold(r *row, j timmy.Job) (refusal, err error) {
	q := j.Hold
	if q.Payer < 0 || q.Pool < 0 || q.Total() > timmy.MaxMsat {
		return nil, bug("quote of %d and %d for %s", q.Payer, q.Pool, r.ID)
	}
	if j.PayerMax < q.Payer || j.PoolMax < q.Pool {
		return errShort, nil
	}
	first, second, err := t.legs(r.Payer, q.Payer)
	if err != nil {
		return nil, err
	}
	for _, g := range []leg{first, second, {"pool", timmy.HousePool, q.Pool}} {
		if err := t.reserve(g.from, g.amount); err != nil {
			return nil, err
		}
	}
	r.HoldPool, r.HoldDay = q.Pool, dayOf(t.now)
	r.HoldSession, r.HoldUser = first.amount, second.amount
	if id, ok := r.Payer.Session(); ok && r.HoldUser > 0 {
		if _, err := t.Exec(`UPDATE sessions SET drawn = drawn + ? WHERE id = ?`, r.HoldUser, id); err != nil {
			return nil, err
		}
	}
	return nil, t.grant(r.Asker, r.HoldDay, q.Pool)
}

// legs splits what a payer has to reserve between a session and its owner.
func (t *txn) legs(payer timmy.Account, amount timmy.Msat) (first, second leg, err error) {
	first, second = leg{"session", payer, 0}, leg{"user", payer, 0}
	id, ok := payer.Session()
	if !ok {
		second.amount = amount
		return first, second, nil
	}
	own, err := balance(t.Tx, payer)
	if err != nil {
		return first, second, err
	}
	first.amount = min(amount, own.Available())
	second.amount = amount - first.amount
	if second.amount > 0 {
		s, _, err := t.session(id)
		if err != nil {
			return first, second, err
		}
		second.from = timmy.UserAccount(keyOf(s.Owner))
	}
	return first, second, nil
}

// drawable is what a payer may draw: its account, and for a bound session its
// owner's too, up to the maximum deposit in the session's life.
func (t *txn) drawable(payer timmy.Account) (timmy.Balance, error) {
	return drawable(t.Tx, payer, t.l.o.MaxDeposit)
}
