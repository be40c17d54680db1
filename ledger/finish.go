package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// Finish posts the cost of a job, releases the rest of its hold, and writes the
// turns, the standing, the reply and the parcel: one transaction. The job is as Start
// gave it. Conflict: its lease was lost and nothing happened. An outcome whose sums are
// wrong, or that costs more than was reserved, is Internal and nothing happened either.
func (l *Ledger) Finish(ctx context.Context, j timmy.Job, o timmy.Outcome) (reply timmy.Reply, err error) {
	err = l.write(ctx, failpoint.LedgerFinish, func(t *txn) error {
		r := t.running(j)
		if err := checkOutcome(&r, o); err != nil {
			return err
		}
		if err := t.finish(&r, j, o); err != nil {
			return err
		}
		reply, err = r.reply(t.Tx)
		return err
	})
	if err != nil {
		return timmy.Reply{}, err
	}
	l.stats.finished.Add(1)
	if !l.noneQueued.Load() {
		signal(l.queued) // a place of this asker is free
	}
	return reply, nil
}

// running is the row of a job as Start left it, or else [txn.setOutcome] finds that it
// is not.
func (t *txn) running(j timmy.Job) row {
	r := t.queuedRow(j.Request)
	r.State, r.First, r.Tries = timmy.StateRunning, j.First, j.Lease.Token
	r.HoldUser, r.HoldPool, r.HoldDay = j.Hold.Payer, j.Hold.Pool, j.Standing.Day
	if _, ok := j.Payer.Session(); ok {
		r.HoldSession, r.HoldUser = j.Hold.Payer-j.Drawn, j.Drawn
	}
	return r
}

// leased reads the request of a lease, if that is still the one that counts: what it
// has before its outcome.
func (t *txn) leased(l timmy.Lease) (r row, err error) {
	err = t.readBefore(&r, `SELECT `+beforeOutcome+` FROM requests WHERE id = ?`, l.Request)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return r, err
	}
	if err != nil || r.State != timmy.StateRunning || r.Tries != l.Token {
		return r, errLost
	}
	return r, nil
}

// errLost: somebody else has the request now, or had it.
var errLost = timmy.Errorf(timmy.Conflict, "the lease of this request was lost")

// checkOutcome refuses sums that are wrong: a mistake upstream must not become a
// wrong entry in the books.
func checkOutcome(r *row, o timmy.Outcome) error {
	c := o.Cost
	for _, v := range []timmy.Msat{c.Eval, c.Work, c.Total, c.Absorbed, c.Charged, c.Waived, c.Dust} {
		if v < 0 || v > timmy.MaxMsat {
			return bug("outcome of %s: amount %d", r.ID, v)
		}
	}
	switch {
	case !o.State.Final():
		return bug("outcome of %s: state %q is not final", r.ID, o.State)
	case c.Charged+c.Absorbed+c.Waived != c.Total:
		return bug("outcome of %s: %d charged, %d absorbed, %d waived are not %d", r.ID, c.Charged, c.Absorbed, c.Waived, c.Total)
	case c.Eval+c.Work != c.Total:
		return bug("outcome of %s: %d and %d are not %d", r.ID, c.Eval, c.Work, c.Total)
	case c.Charged > r.HoldSession+r.HoldUser, c.Absorbed > r.HoldPool:
		return bug("outcome of %s: %d and %d are above the hold", r.ID, c.Charged, c.Absorbed)
	case c.Dust > c.Charged+c.Absorbed:
		return bug("outcome of %s: more dust than money", r.ID)
	}
	return nil
}

// finish books an outcome that was checked. Of the job only what was read at its start
// is looked at. It is also how a request ends that crashed too often.
func (t *txn) finish(r *row, j timmy.Job, o timmy.Outcome) error {
	held, err := t.holds(r)
	if err != nil {
		return err
	}
	fromSession := min(o.Cost.Charged, held[0].amount)
	payers := []leg{
		{held[0].name, held[0].from, fromSession},
		{held[1].name, held[1].from, o.Cost.Charged - fromSession},
	}
	r.Balance = j.Posted - o.Cost.Charged // which is what most accounts have then
	if err := t.setOutcome(r, o); err != nil {
		return err
	}
	if err := t.capture(r, held, payers, o.Cost.Absorbed, o.Cost.Dust, j.Posted); err != nil {
		return err
	}
	if err := t.grant(r.Asker, r.HoldDay, o.Cost.Absorbed-r.HoldPool); err != nil {
		return err
	}
	live := true
	if id, ok := r.Payer.Session(); ok {
		if live, err = t.finishSession(id, r, payers[1].amount); err != nil {
			return err
		}
	} else if held[1].amount == 0 {
		if err := t.setBalance(r); err != nil {
			return err
		}
	}
	if err := t.remember(r, j, o, live); err != nil {
		return err
	}
	if err := t.Flush(); err != nil { // the balance is known then
		return err
	}
	return t.answer(r)
}

// finishSession is the end of a session's request. What the session has left is known
// only when the request runs no more.
func (t *txn) finishSession(id string, r *row, charged timmy.Msat) (live bool, err error) {
	written := r.Balance
	if live, err = t.afterSession(id, r, charged); err != nil || r.Balance == written {
		return live, err
	}
	_, err = t.Exec(`UPDATE requests SET balance = ? WHERE id = ?`, r.Balance, r.ID)
	return live, err
}

// setBalance writes what the payer's account has, where that is not what was expected.
func (t *txn) setBalance(r *row) error {
	b, err := balance(t.Tx, r.Payer)
	if err != nil || b.Posted == r.Balance {
		return err
	}
	r.Balance = b.Posted
	_, err = t.Exec(`UPDATE requests SET balance = ? WHERE id = ?`, r.Balance, r.ID)
	return err
}

// holds is what a request holds: the session's leg, the user's, the pool's.
func (t *txn) holds(r *row) ([3]leg, error) {
	held := [3]leg{
		{"session", r.Payer, r.HoldSession},
		{"user", r.Payer, r.HoldUser},
		{"pool", timmy.HousePool, r.HoldPool},
	}
	if id, ok := r.Payer.Session(); ok && r.HoldUser > 0 {
		s, _, err := t.session(id)
		if err != nil {
			return held, err
		}
		held[1].from = timmy.UserAccount(keyOf(s.Owner))
	}
	return held, nil
}

// unhold releases what a request holds, and says what that was. The row keeps the
// numbers; whoever moves it on to another state writes that it holds nothing.
func (t *txn) unhold(r *row) ([3]leg, error) {
	held, err := t.holds(r)
	if err != nil {
		return held, err
	}
	for _, h := range held {
		if err := t.release(h.from, h.amount); err != nil {
			return held, err
		}
	}
	return held, nil
}

// setOutcome writes what became of a request that runs with the holds and by the claim
// that r says; else errLost. It is the first write of an end, and guards the others.
func (t *txn) setOutcome(r *row, o timmy.Outcome) error {
	c := o.Cost
	r.State, r.Since, r.Result, r.Reason, r.Abuse, r.Rate = o.State, ms(t.now), o.Text, o.Reason, o.Abuse, o.Rate
	r.EvalIn, r.EvalOut, r.EvalEst = o.Eval.In, o.Eval.Out, o.Eval.Estimated
	r.WorkIn, r.WorkOut, r.WorkEst = o.Work.In, o.Work.Out, o.Work.Estimated
	r.CostEval, r.CostWork, r.Total, r.Absorbed = c.Eval, c.Work, c.Total, c.Absorbed
	r.Charged, r.Waived, r.Dust = c.Charged, c.Waived, c.Dust
	n, err := t.Exec(`UPDATE requests SET state = ?, since = ?, result = ?, reason = ?, abuse = ?, rate = ?,
			eval_in = ?, eval_out = ?, eval_est = ?, work_in = ?, work_out = ?, work_est = ?,
			cost_eval = ?, cost_work = ?, total = ?, absorbed = ?, charged = ?, waived = ?, dust = ?,
			balance = ?, hold_pool = 0, hold_session = 0, hold_user = 0, lease_owner = '', lease_until = 0
		WHERE id = ? AND state = 'running' AND tries = ? AND payer = ? AND hold_pool = ? AND hold_session = ? AND hold_user = ?`,
		r.State, r.Since, r.Result, r.Reason, bit(r.Abuse), r.Rate,
		r.EvalIn, r.EvalOut, bit(r.EvalEst), r.WorkIn, r.WorkOut, bit(r.WorkEst),
		c.Eval, c.Work, c.Total, c.Absorbed, c.Charged, c.Waived, c.Dust, r.Balance,
		r.ID, r.Tries, r.Payer, r.HoldPool, r.HoldSession, r.HoldUser)
	if err == nil && n != 1 {
		err = errLost
	}
	return err
}

// remember writes the turns of an answer and moves the standing. Neither happens
// for commands, nor for what the operator failed at; and a session that ended
// meanwhile has no conversation any more (it was purged).
func (t *txn) remember(r *row, j timmy.Job, o timmy.Outcome, live bool) error {
	if r.Command {
		return nil
	}
	if o.State == timmy.StateComplete && r.Thread != "" && live {
		if err := t.addTurns(r, conversation{j.After, j.History}, o.Text); err != nil {
			return err
		}
	}
	if r.Asker == "" || (o.State != timmy.StateComplete && o.State != timmy.StateRejected) {
		return nil
	}
	return t.grade(j.Standing, o)
}

// Extend is the heartbeat of a lease. Conflict: it was lost.
func (l *Ledger) Extend(ctx context.Context, lease timmy.Lease) error {
	return l.write(ctx, failpoint.LedgerExtend, func(t *txn) error {
		n, err := t.Exec(`UPDATE requests SET lease_until = ?, lease_owner = ? WHERE id = ? AND state = 'running' AND tries = ?`,
			t.lease(), l.boot, lease.Request, lease.Token)
		if err == nil && n != 1 {
			err = errLost
		}
		return err
	})
}

// leftRunning is what a dead process ran. The plus keeps SQLite from reading all
// requests there ever were for the sake of the order.
const leftRunning = `SELECT * FROM requests WHERE state = 'running'
	AND (lease_until < ? OR (? = 1 AND lease_owner <> ?)) ORDER BY +seq LIMIT ?`

// Recover queues again what a dead process had under lease, releasing its holds,
// and says how many that were. On SQLite, whose file has one tower (the lock on the
// data directory), any lease of another process is a dead one's; elsewhere only
// one that has run out. A request that took three processes with it, the last alone and
// long after the start, is finished as failed. It may be called at any time.
func (l *Ledger) Recover(ctx context.Context) (n int, err error) {
	err = l.write(ctx, failpoint.LedgerRecover, func(t *txn) error {
		n = 0
		var rows []row
		err := t.Select(&rows, leftRunning,
			ms(l.leaseClock(t)), bit(t.oneProcess()), l.boot, maxSweep)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := t.requeue(&rows[i]); err != nil {
				return err
			}
			n++
		}
		t.queued = n > 0
		return nil
	})
	return n, err
}

func (t *txn) requeue(r *row) error {
	if r.Crashes+1 >= maxCrashes {
		return t.finish(r, timmy.Job{}, timmy.Outcome{State: timmy.StateFailed, Reason: "this request could not be answered"})
	}
	held, err := t.unhold(r)
	if err != nil {
		return err
	}
	if err := t.grant(r.Asker, r.HoldDay, -r.HoldPool); err != nil {
		return err
	}
	_, err = t.Exec(`UPDATE requests SET state = 'queued', since = ?, crashes = crashes + 1, lease_owner = '', lease_until = 0,
			hold_pool = 0, hold_session = 0, hold_user = 0
		WHERE id = ? AND state = 'running'`, ms(t.now), r.ID)
	if err != nil {
		return err
	}
	if id, ok := r.Payer.Session(); ok {
		return t.undraw(id, held[1].amount)
	}
	return nil
}
