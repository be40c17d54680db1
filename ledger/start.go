package ledger

import (
	"context"
	"database/sql"
	"errors"

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
const nextQueued = `SELECT ` + beforeOutcome + ` FROM requests WHERE state = 'queued' AND (command = 1 OR
		(SELECT COUNT(*) FROM requests r WHERE r.state = 'running' AND r.command = 0 AND r.who = requests.who) < ?)
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
	a, err := t.admit(r.Payer)
	if err != nil {
		return started{}, err
	}
	return t.start(&r, a, quote)
}

func (t *txn) startOwn(req timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	a, err := t.admit(req.Payer)
	if err != nil {
		return started{}, err
	}
	if a.refusal != nil && timmy.CodeOf(a.refusal) != timmy.Unpaid {
		return started{refusal: a.refusal}, nil
	}
	r := t.queuedRow(req)
	fresh, err := t.accept(&r)
	if err != nil {
		return started{}, err
	}
	if !fresh {
		var ok bool
		if r, ok, err = requestByID(t.Tx, req.ID); err != nil || !ok || r.State != timmy.StateQueued || r.Crashes >= suspect {
			return started{}, err
		}
	}
	s, err := t.start(&r, a, quote)
	if err != nil {
		return s, err
	}
	if fresh && s.refusal != nil && timmy.CodeOf(s.refusal) != timmy.Unpaid {
		return started{}, s.refusal // rolls back: the asker is on the line and hears it
	}
	return s, nil
}

// admission is whether a payer may start requests now.
type admission struct {
	refusal error
	draws   *timmy.Balance // what a session may draw; nil: what the payer's account has
}

// admit says whether a payer may start requests now. A session must be active; a due
// one is expired, and one that has too little is paused, here.
func (t *txn) admit(payer timmy.Account) (a admission, err error) {
	id, ok := payer.Session()
	if !ok {
		return a, nil
	}
	s, ok, err := t.session(id)
	if err != nil {
		return a, err
	}
	if !ok {
		a.refusal = timmy.Errorf(timmy.NotFound, "Session not found")
		return a, nil
	}
	if err := t.expireIfDue(&s); err != nil {
		return a, err
	}
	bal, err := t.settle(&s)
	if err != nil {
		return a, err
	}
	a.draws = &bal
	switch {
	case s.State == timmy.SessionExpired:
		a.refusal = timmy.Errorf(timmy.Expired, "Session has expired")
	case s.State == timmy.SessionAwaiting:
		a.refusal = timmy.Errorf(timmy.Conflict, "Session is in state '%s'", s.State)
	case s.State == timmy.SessionPaused, bal.Available() < t.l.o.MinBalance:
		a.refusal = timmy.Errorf(timmy.Unpaid, "Insufficient balance")
	}
	return a, nil
}

// start claims r and reserves, or deals with the refusal.
func (t *txn) start(r *row, a admission, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	r.State, r.Since, r.Tries = timmy.StateRunning, ms(t.now), r.Tries+1
	r.LeaseUntil = t.lease()
	job, own, err := t.job(r, a)
	if err != nil {
		return started{}, err
	}
	refusal := a.refusal
	gone := refusal != nil && timmy.CodeOf(refusal) != timmy.Unpaid // its session is: nobody can be asked to pay
	if refusal == nil {
		job.Hold, refusal = quote(job)
	}
	if refusal == nil {
		refusal, err = t.hold(r, job, own)
		if err != nil {
			return started{}, err
		}
	}
	if err := t.claim(r); err != nil {
		return started{}, err
	}
	if refusal == nil {
		if _, ok := r.Payer.Session(); ok {
			job.Drawn = r.HoldUser
		}
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
	return t.Later(func(n int64) error {
		if n != 1 {
			return bug("claiming %s, which is not queued", r.ID)
		}
		return nil
	}, `UPDATE requests SET state = ?, since = ?, tries = ?, lease_owner = ?, lease_until = ?, need = 0, invoice = '',
			hold_pool = ?, hold_session = ?, hold_user = ?, hold_day = ?
		WHERE id = ? AND state = 'queued'`, r.State, r.Since, r.Tries, t.l.boot, r.LeaseUntil,
		r.HoldPool, r.HoldSession, r.HoldUser, r.HoldDay, r.ID)
}

// note keeps why a request that waits is not running: the asker is told with the
// invoice.
func (t *txn) note(r *row, refusal error) error {
	_, err := t.Exec(`UPDATE requests SET reason = ? WHERE id = ?`, timmy.MessageOf(refusal), r.ID)
	return err
}

// backgroundQuery is one row, whatever of it is there.
const backgroundQuery = `SELECT COALESCE(p.posted, 0), COALESCE(p.held, 0), COALESCE(h.posted, 0), COALESCE(h.held, 0),
		COALESCE(c.last, ''), COALESCE(c.turns, ''), COALESCE(s.asked, 0), COALESCE(s.score, 0), COALESCE(s.scored, 0),
		COALESCE(s.completed, 0), COALESCE(s.refused, 0), COALESCE(s.paid, 0), COALESCE(s.first_seen, 0),
		COALESCE(s.last_seen, 0), COALESCE(s.granted, 0), COALESCE(s.day, 0)
	FROM (SELECT 1 AS one) AS o LEFT JOIN accounts AS p ON p.name = ? LEFT JOIN accounts AS h ON h.name = ?
		LEFT JOIN conversations AS c ON c.thread = ? LEFT JOIN standings AS s ON s.key = ?`

// job gathers what pricing needs, in one read; own is what the payer's account has.
func (t *txn) job(r *row, a admission) (j timmy.Job, own timmy.Balance, err error) {
	var pool timmy.Balance
	var turns string
	var s srecord
	err = t.Row([]any{
		&own.Posted, &own.Held, &pool.Posted, &pool.Held, &j.After, &turns, &s.asked, &s.score, &s.scored,
		&s.completed, &s.refused, &s.paid, &s.first, &s.last, &s.granted, &s.day,
	}, backgroundQuery, r.Payer, timmy.HousePool, r.Thread, r.Asker)
	if err != nil {
		return j, own, err
	}
	if j.History, err = readTurns(turns); err != nil {
		return j, own, err
	}
	j.Request, j.Tries, j.First = r.request(), int(r.Tries), r.First || s.asked == 1
	j.Lease = timmy.Lease{Request: timmy.RequestID(r.ID), Token: r.Tries, Until: when(r.LeaseUntil)}
	j.Standing = s.standing(j.From)
	if today := dayOf(t.now); j.Standing.Day != today {
		j.Standing.Day, j.Standing.Granted = today, 0
	}
	j.Posted, j.PayerMax, j.PoolMax = own.Posted, own.Available(), pool.Available()
	if a.draws != nil {
		j.PayerMax = a.draws.Available()
	}
	return j, own, nil
}

// hold reserves a job's quote: the session's leg first, the rest on its owner. What
// is not there is a refusal, after which nothing is held. r knows what is held; claim
// writes it.
func (t *txn) hold(r *row, j timmy.Job, own timmy.Balance) (refusal, err error) {
	q := j.Hold
	if q.Payer < 0 || q.Pool < 0 || q.Total() > timmy.MaxMsat {
		return nil, bug("quote of %d and %d for %s", q.Payer, q.Pool, r.ID)
	}
	if j.PayerMax < q.Payer || j.PoolMax < q.Pool {
		return errShort, nil
	}
	first, second, err := t.legs(r.Payer, q.Payer, own)
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

// legs splits what a payer has to reserve between a session, which has own, and its
// owner.
func (t *txn) legs(payer timmy.Account, amount timmy.Msat, own timmy.Balance) (first, second leg, err error) {
	first, second = leg{"session", payer, 0}, leg{"user", payer, 0}
	id, ok := payer.Session()
	if !ok {
		second.amount = amount
		return first, second, nil
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
