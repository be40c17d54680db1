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
// that is refused otherwise than by Unpaid nothing is kept, and ok is false: NotFound,
// Unauthorized (its Bearer), Expired and Conflict of its session among them.
func (l *Ledger) Start(ctx context.Context, r *timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (timmy.Job, bool, error) {
	if r != nil {
		if err := checkRequest(*r); err != nil {
			return timmy.Job{}, false, err
		}
	}
	var s started
	// What comes over HTTP has an id that was made for it: only a repeated call is known.
	look := r != nil && r.Front != timmy.FrontREST
	step := func(t *txn) (err error) {
		if r != nil {
			s, err = t.startOwn(*r, look, quote)
		} else {
			s, err = t.startNext(quote)
		}
		return err
	}
	err := l.write(ctx, failpoint.LedgerStart, step)
	if errors.Is(err, errKnownNow) {
		look = true
		err = l.write(ctx, failpoint.LedgerStart, step)
	}
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
		return started{}, t.lookForQueued()
	}
	if err != nil {
		return started{}, err
	}
	t.l.noneQueued.Store(false)
	return t.startQueued(&r, quote)
}

// lookForQueued notes whether anything is queued at all, when nothing can be claimed: if
// not, the end of a request is no reason to look again.
func (t *txn) lookForQueued() error {
	var n int
	err := t.Row([]any{&n}, `SELECT COUNT(*) FROM (SELECT 1 FROM requests WHERE state = 'queued' LIMIT 1) AS q`)
	if err == nil {
		t.l.noneQueued.Store(n == 0)
	}
	return err
}

// startQueued starts what is in the book.
func (t *txn) startQueued(r *row, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	b, err := t.background(r, false)
	if err != nil {
		return started{}, err
	}
	b.known = true
	a, err := t.admit(r.Payer, 0, &b)
	if err != nil {
		return started{}, err
	}
	return t.start(r, &b, a, quote)
}

func (t *txn) startOwn(req timmy.Request, look bool, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	r := t.queuedRow(req)
	b, err := t.background(&r, look)
	if err != nil {
		return started{}, err
	}
	a, err := t.admit(req.Payer, req.Bearer, &b)
	if err != nil {
		return started{}, err
	}
	if a.refusal != nil && timmy.CodeOf(a.refusal) != timmy.Unpaid {
		return started{refusal: a.refusal}, nil
	}
	if !b.known {
		return t.start(&r, &b, a, quote)
	}
	r, ok, err := requestByID(t.Tx, req.ID)
	if err != nil || !ok || r.State != timmy.StateQueued || r.Crashes >= suspect {
		return started{}, err
	}
	return t.startQueued(&r, quote)
}

// admission is whether a payer may start requests now.
type admission struct {
	refusal error
	draws   *timmy.Balance // what a session may draw; nil: what the payer's account has
}

// admit says whether a payer may start requests now, by a credential of that generation,
// if one is given. A session must be active; a due one is expired, and one that has too
// little is paused, here.
func (t *txn) admit(payer timmy.Account, bearer int64, b *background) (a admission, err error) {
	if _, ok := payer.Session(); !ok {
		return a, nil
	}
	s := &b.session
	if s.ID == "" {
		a.refusal = timmy.Errorf(timmy.NotFound, "Session not found")
		return a, nil
	}
	if bearer != 0 && bearer != s.Bearer {
		a.refusal = timmy.Errorf(timmy.Unauthorized, "this credential of the session is no longer good")
		return a, nil
	}
	if bearer != 0 && !s.Used {
		if err := t.present(s.ID); err != nil {
			return a, err
		}
	}
	if err := t.expireIfDue(s); err != nil {
		return a, err
	}
	if s.State == timmy.SessionExpired {
		a.refusal = timmy.Errorf(timmy.Expired, "Session has expired")
		return a, nil
	}
	bal, err := t.settleOn(s, b.own)
	if err != nil {
		return a, err
	}
	a.draws = &bal
	switch {
	case !s.live():
		a.refusal = timmy.Errorf(timmy.Conflict, "Session is in state '%s'", s.State)
	case s.State == timmy.SessionPaused, bal.Available() < t.l.o.MinBalance:
		a.refusal = timmy.Errorf(timmy.Unpaid, "Insufficient balance")
	}
	return a, nil
}

// start claims r and reserves, or deals with the refusal. What is not in the book yet is
// written as running at once; if it is refused otherwise than by Unpaid, not at all: its
// asker is on the line and hears it.
func (t *txn) start(r *row, b *background, a admission, quote func(timmy.Job) (timmy.Quote, error)) (started, error) {
	r.State, r.Since, r.Tries = timmy.StateRunning, ms(t.now), r.Tries+1
	r.LeaseUntil = t.lease()
	unnoted := !b.known && t.sees(r, b)
	job, err := t.job(r, b, a)
	if err != nil {
		return started{}, err
	}
	refusal := a.refusal
	gone := refusal != nil && timmy.CodeOf(refusal) != timmy.Unpaid // its session is: nobody can be asked to pay
	if refusal == nil {
		job.Hold, refusal = quote(job)
	}
	if !b.known && refusal != nil && timmy.CodeOf(refusal) != timmy.Unpaid {
		return started{refusal: refusal}, nil
	}
	if unnoted {
		if err := t.noteAsker(r); err != nil {
			return started{}, err
		}
	}
	if refusal == nil {
		refusal, err = t.hold(r, job, b.own)
		if err != nil {
			return started{}, err
		}
	}
	write := t.claim
	if !b.known {
		write = t.insertRunning
	}
	if err := write(r); err != nil {
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

// insertRunning is accept and claim in one.
func (t *txn) insertRunning(r *row) error {
	return t.Later(func(n int64) error {
		if n != 1 {
			return errKnownNow
		}
		return nil
	}, `INSERT INTO requests (`+askedColumns+`, first, tries, lease_owner, lease_until, hold_pool, hold_session, hold_user, hold_day)
		VALUES (`+askedValues+`, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		append(r.asked(), bit(r.First), r.Tries, t.l.boot, r.LeaseUntil, r.HoldPool, r.HoldSession, r.HoldUser, r.HoldDay)...)
}

// errKnownNow: the request that was written as new is known, though we did not see it:
// nobody looked, or another tower accepted it meanwhile.
var errKnownNow = errors.New("the request is known already")

// note keeps why a request that waits is not running: the asker is told with the
// invoice.
func (t *txn) note(r *row, refusal error) error {
	_, err := t.Exec(`UPDATE requests SET reason = ? WHERE id = ?`, timmy.MessageOf(refusal), r.ID)
	return err
}

// hold reserves a job's quote: the session's leg first, the rest on its owner. What
// is not there is a refusal, after which nothing is held. r knows what is held; who writes
// r writes it.
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
