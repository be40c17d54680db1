package tower

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// run is one request from its claim to its end.
type run struct {
	desk    *Desk
	job     timmy.Job
	rate    timmy.Rate
	rateErr error
	refusal error // why the quote reserved nothing, other than for want of money
	cancel  context.CancelCauseFunc
}

// newRun fixes the bitcoin price that the whole request is priced at.
func (d *Desk) newRun(ctx context.Context) *run {
	r := &run{desk: d}
	r.rate, r.rateErr = d.cfg.Rates.Rate(ctx)
	if r.rateErr == nil && r.rate <= 0 {
		r.rateErr = timmy.Errorf(timmy.Unavailable, "the bitcoin price is not known right now")
	}
	return r
}

// quote prices what waited in the queue. Only a want of money goes back to the
// book, which parks or refuses; with any other hindrance the request is claimed
// without a hold and finished as failed.
func (d *Desk) quote(r *run, j timmy.Job) (timmy.Quote, error) {
	if j.Command {
		return timmy.Quote{}, nil
	}
	if r.refusal = r.rateErr; r.refusal != nil {
		return timmy.Quote{}, nil
	}
	q, err := d.cfg.Prices.Quote(j, r.rate, d.cfg.Now())
	if err != nil && timmy.CodeOf(err) != timmy.Unpaid {
		r.refusal = err
		return timmy.Quote{}, nil
	}
	return q, err
}

// quoteDirect refuses outright: the asker is on the line.
func (d *Desk) quoteDirect(r *run, j timmy.Job) (timmy.Quote, error) {
	if r.rateErr != nil && !j.Command {
		return timmy.Quote{}, &timmy.Error{
			Code: timmy.Unavailable, Message: "the bitcoin price is not known right now; try again shortly", Err: r.rateErr,
		}
	}
	return d.cfg.Prices.Quote(j, r.rate, d.cfg.Now())
}

// settle brings a claimed request to its end: finished, parked, or left to the
// next start. refused is why nothing could be reserved for it, if so: for want of
// money it is parked, else it fails. ok is false when there is no reply.
func (d *Desk) settle(r *run, j timmy.Job, refused error) (reply timmy.Reply, ok bool) {
	r.job = j
	if refused != nil {
		r.refusal = refused
	}
	ctx, cancel := context.WithCancelCause(d.base)
	r.cancel = cancel
	defer cancel(nil)
	d.register(r)
	defer d.unregister(r)
	beat := r.keepLease(ctx)
	defer beat()

	var o timmy.Outcome
	if timmy.CodeOf(refused) == timmy.Unpaid {
		var parked bool
		if o, parked = r.park(ctx, refused); parked {
			d.counts.parked.Add(1)
			d.publishState(j.Request, timmy.StateParked)
			return timmy.Reply{}, false
		}
	} else {
		d.publishState(j.Request, timmy.StateRunning)
		o = r.perform(ctx)
	}
	cause := context.Cause(ctx)
	if o.State == timmy.StateFailed && (errors.Is(cause, errStopping) || errors.Is(cause, errLeaseLost)) {
		d.cfg.Log.Warn("request given up", "request", j.ID.Short(), "why", cause)
		return timmy.Reply{}, false
	}
	return d.finish(j, o)
}

// keepLease extends the lease until the returned function is called. A lease that
// was lost cancels the run: somebody else has the request.
func (r *run) keepLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	// Most requests end before the first beat, and cost no goroutine.
	first := time.AfterFunc(heartbeatEvery, func() {
		defer close(done)
		r.beat(ctx)
	})
	return func() {
		if cancel(); !first.Stop() {
			<-done
		}
	}
}

// beat extends the lease now and each heartbeatEvery.
func (r *run) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, bookTime)
		err := r.desk.cfg.Book.Extend(call, r.job.Lease)
		cancel()
		if timmy.CodeOf(err) == timmy.Conflict {
			r.cancel(errLeaseLost)
			return
		}
		if err != nil && ctx.Err() == nil {
			r.desk.cfg.Log.Error("extending a lease", "request", r.job.ID.Short(), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// park makes the invoice that the request waits for. When none can be made the
// request fails, and costs nothing.
func (r *run) park(ctx context.Context, unpaid error) (o timmy.Outcome, parked bool) {
	d := r.desk
	if d.cfg.Till == nil {
		return timmy.Outcome{State: timmy.StateUnpaid, Reason: timmy.MessageOf(unpaid)}, false
	}
	amount := max(d.cfg.Prices.Shortfall(r.job, r.rate, d.cfg.Now()), d.cfg.Texts.MinTopUp).CeilSat()
	_, err := d.cfg.Till.InvoiceFor(ctx, timmy.TopUp{
		Account: r.job.Payer, Purpose: timmy.ForRequest, For: r.job.ID, Amount: amount,
		Memo: d.cfg.Texts.name() + " #req " + r.job.ID.Short(),
	}, r.job.Lease)
	if err == nil {
		return o, true
	}
	d.cfg.Log.Error("making the invoice of a request", "request", r.job.ID.Short(), "error", err)
	why := " The wallet is away, so no invoice could be made. Please ask again later."
	if timmy.CodeOf(err) == timmy.Conflict { // its invoice was paid, and the sats went elsewhere meanwhile
		why = " Its invoice was paid already, but the sats were spent on something else. Please top up and ask again."
	}
	return timmy.Outcome{State: timmy.StateFailed, Rate: r.rate, Reason: timmy.MessageOf(unpaid) + why}, false
}

// perform answers. A panic of a model is the operator's failure like any other.
func (r *run) perform(ctx context.Context) (o timmy.Outcome) {
	defer func() {
		if v := recover(); v != nil {
			r.desk.counts.panics.Add(1)
			r.desk.cfg.Log.Error("panic in a request", "request", r.job.ID.Short(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			o = timmy.Outcome{State: timmy.StateFailed, Rate: r.rate, Reason: "Something went wrong here."}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	if r.job.Command {
		o = r.desk.command(ctx, r.job)
		o.Rate = max(0, r.rate)
		return o
	}
	if r.refusal != nil {
		return timmy.Outcome{State: timmy.StateFailed, Rate: r.rate, Reason: timmy.MessageOf(r.refusal)}
	}
	return r.ask(ctx)
}

// ask evaluates, and works on what was accepted.
func (r *run) ask(ctx context.Context) timmy.Outcome {
	o := timmy.Outcome{Rate: r.rate}
	verdict, err := r.evaluate(ctx)
	o.Eval = verdict.Usage
	if err != nil || ctx.Err() != nil {
		return r.failed(ctx, o, err)
	}
	if !verdict.Accepted {
		o.State, o.Reason, o.Abuse = timmy.StateRejected, verdict.Reason, verdict.Abuse
		return r.priced(o)
	}
	stream := r.desk.stream(r.job.Request)
	answer, err := r.work(ctx, stream.delta)
	stream.flush()
	o.Work = answer.Usage
	if err == nil && strings.TrimSpace(answer.Text) == "" {
		err = errors.New("the model answered nothing")
	}
	if err != nil {
		return r.failed(ctx, o, err)
	}
	o.State, o.Text = timmy.StateComplete, answer.Text
	return r.priced(o)
}

func (r *run) evaluate(ctx context.Context) (v timmy.Verdict, err error) {
	if err := failpoint.Before(failpoint.AgentEvaluate); err != nil {
		return v, err
	}
	if v, err = r.desk.cfg.Model.Evaluate(ctx, r.job); err == nil {
		err = failpoint.After(failpoint.AgentEvaluate)
	}
	return v, err
}

func (r *run) work(ctx context.Context, delta func(string)) (a timmy.Answer, err error) {
	if err := failpoint.Before(failpoint.AgentWork); err != nil {
		return a, err
	}
	a, err = r.desk.cfg.Model.Work(ctx, r.job, r.desk.cfg.Prices.Output(r.job, r.rate), delta)
	if err == nil {
		err = failpoint.After(failpoint.AgentWork)
	}
	return a, err
}

// failed is the operator's failure: the asker pays nothing and is told no details.
func (r *run) failed(ctx context.Context, o timmy.Outcome, err error) timmy.Outcome {
	o.State = timmy.StateFailed
	switch {
	case errors.Is(context.Cause(ctx), errStopped):
		o.Reason = "Stopped."
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		o.Reason = "The model did not answer in time."
	default:
		o.Reason = "The model failed."
	}
	r.desk.cfg.Log.Warn("request failed", "request", r.job.ID.Short(), "error", err, "cause", context.Cause(ctx))
	return r.priced(o)
}

func (r *run) priced(o timmy.Outcome) timmy.Outcome {
	cost, exact := r.desk.cfg.Prices.Price(o.Eval, o.Work, r.rate)
	o.Cost = Settle(cost, exact, r.job.Hold, o.State)
	return o
}

// finish writes the outcome. It tries again while the book is away, for the
// answer has been paid for by the house; a lost lease ends it, and nothing was
// charged then.
func (d *Desk) finish(j timmy.Job, o timmy.Outcome) (timmy.Reply, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.base), finishTime)
	defer cancel()
	var pause backoff
	for {
		call, done := context.WithTimeout(ctx, bookTime)
		reply, err := d.cfg.Book.Finish(call, j, o)
		done()
		if err == nil {
			d.tell(j, o, reply)
			return reply, true
		}
		d.cfg.Log.Error("finishing a request", "request", j.ID.Short(), "error", err)
		if timmy.CodeOf(err) == timmy.Conflict || !pause.wait(ctx) {
			d.counts.lost.Add(1)
			return timmy.Reply{}, false
		}
	}
}

// tell counts an outcome and gives it to those who wait or watch.
func (d *Desk) tell(j timmy.Job, o timmy.Outcome, reply timmy.Reply) {
	switch o.State {
	case timmy.StateComplete:
		d.counts.complete.Add(1)
	case timmy.StateRejected:
		d.counts.rejected.Add(1)
	default:
		d.counts.failed.Add(1)
	}
	d.deliver(j.ID, reply)
	d.publishState(j.Request, o.State)
	if o.State == timmy.StateComplete && o.Cost.Charged > 0 {
		d.cfg.Bus.Publish(timmy.Event{
			Type: timmy.EventCost, Request: j.ID, Thread: j.Thread,
			Sats: o.Cost.Charged.Sats(), Phase: phase(j.Front), Final: true,
		})
	}
}

// phase names a front as the documented event does.
func phase(f timmy.Front) string {
	if f == timmy.FrontREST {
		return "session"
	}
	return string(f)
}

func (d *Desk) publishState(r timmy.Request, s timmy.State) {
	d.cfg.Bus.Publish(timmy.Event{Type: timmy.EventState, Request: r.ID, Thread: r.Thread, State: s})
}

func (d *Desk) register(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[r.job.ID] = r
}

func (d *Desk) unregister(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[r.job.ID] == r {
		delete(d.running, r.job.ID)
	}
}

// stopRunning cancels what a key has running here, commands excepted.
func (d *Desk) stopRunning(k timmy.PubKey) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.running {
		if r.job.From == k && !r.job.Command {
			r.cancel(errStopped)
			n++
		}
	}
	return n
}
