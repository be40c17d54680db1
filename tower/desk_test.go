package tower

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

// runRig runs f in a bubble of fake time, with desk and till running.
func runRig(t *testing.T, f func(t *testing.T, r *rig), edit ...func(*DeskConfig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(edit...)
		stop := r.start(t)
		synctest.Wait() // the fake's first Recover takes everything back
		f(t, r)
		stop()
	})
}

func submit(t *testing.T, r *rig, req timmy.Request) {
	t.Helper()
	if err := r.desk.Submit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, r *rig, id timmy.RequestID) timmy.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	reply, err := r.desk.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// Excludes a double charge for a DM that comes twice, and a wrong price.
func TestQuestionIsAnsweredAndChargedOnce(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		for range 3 {
			submit(t, r, dm("q", "hello"))
		}
		reply := answer(t, r, "q")
		if o := reply.Outcome; o.State != timmy.StateComplete || o.Text != "you said hello" || o.Cost.Charged != 9*timmy.Sat || o.Rate != rate100k {
			t.Errorf("outcome %+v", o)
		}
		synctest.Wait()
		if b := r.book.balance(timmy.UserAccount(alice)); b.Posted != 991*timmy.Sat || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
	})
}

// Excludes a lost or a doubled progress event, and one under a foreign thread.
func TestProgressIsPublished(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.SessionAccount("s"), 1000*timmy.Sat)
		ctx, cancel := context.WithCancel(t.Context())
		events := r.desk.Follow(ctx, "session:s")
		if _, err := r.desk.Do(t.Context(), rest("q", "hello")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		var text string
		var states []timmy.State
		var cost timmy.Event
		for e := range events {
			switch e.Type {
			case timmy.EventDelta:
				text += e.Delta
			case timmy.EventState:
				states = append(states, e.State)
			case timmy.EventCost:
				cost = e
			}
		}
		if text != "you said hello" || len(states) != 2 || cost.Sats != 9 || cost.Phase != "session" || !cost.Final {
			t.Errorf("text %q, states %v, cost %+v", text, states, cost)
		}
	})
}

// Excludes that a question asked without money is dropped, or runs unpaid.
func TestUnpaidQuestionWaitsForItsInvoice(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		submit(t, r, dm("q", "hello"))
		synctest.Wait()
		if s := r.book.state("q"); s != timmy.StateParked {
			t.Fatalf("state %s", s)
		}
		inv := r.book.only(t)
		if inv.top.Purpose != timmy.ForRequest || inv.top.Amount < 100*timmy.Sat || inv.top.Account != timmy.UserAccount(alice) {
			t.Errorf("invoice %+v", inv.top)
		}
		r.wallet.pay(inv.inv.Hash, inv.inv.Amount)
		if reply := answer(t, r, "q"); reply.Outcome.State != timmy.StateComplete {
			t.Errorf("outcome %+v", reply.Outcome)
		}
	})
}

// only is the one invoice there is.
func (b *fakeBook) only(t *testing.T) *fakeInvoice {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.invoices) != 1 {
		t.Fatalf("%d invoices", len(b.invoices))
	}
	for _, i := range b.invoices {
		return i
	}
	return nil
}

// Excludes a request that hangs for ever because the wallet was away.
func TestUnpaidQuestionFailsWithoutAWallet(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.wallet.away = errors.New("down")
		submit(t, r, dm("q", "hello"))
		reply := answer(t, r, "q")
		if reply.Outcome.State != timmy.StateFailed || !strings.Contains(reply.Outcome.Reason, "at most") {
			t.Errorf("outcome %+v", reply.Outcome)
		}
		if r.book.withdrawn != 1 {
			t.Error("the row of the invoice was left")
		}
	})
}

// Excludes a question parked without an invoice when other money came that did
// not suffice: it keeps the invoice it has.
func TestParkedQuestionKeepsItsInvoice(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		submit(t, r, dm("q", "hello"))
		synctest.Wait()
		r.book.mu.Lock()
		r.book.rows["q"].state = timmy.StateQueued // woken by a zap of a few sats
		r.book.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := r.book.state("q"); s != timmy.StateParked {
			t.Errorf("state %s", s)
		}
		r.book.only(t)
	})
}

// Operator's failures cost nothing, whatever their kind; no worker dies of them.
func TestFailuresCostNothing(t *testing.T) {
	type faults struct {
		name   string
		model  fakeModel
		reason string
	}
	for _, f := range []faults{
		{"evaluation", fakeModel{evaluate: func(context.Context, timmy.Job) (timmy.Verdict, error) {
			return timmy.Verdict{}, errors.New("bad json from sk-secret")
		}}, "The model failed."},
		{"work", fakeModel{work: func(context.Context, timmy.Job, int64, func(string)) (timmy.Answer, error) {
			return timmy.Answer{Usage: fakeUsage}, errors.New("502")
		}}, "The model failed."},
		{"empty", fakeModel{work: func(context.Context, timmy.Job, int64, func(string)) (timmy.Answer, error) {
			return timmy.Answer{Text: " \n", Usage: fakeUsage}, nil
		}}, "The model failed."},
		{"panic", fakeModel{work: func(context.Context, timmy.Job, int64, func(string)) (timmy.Answer, error) {
			panic("nil map")
		}}, "Something went wrong here."},
		{"hang", fakeModel{work: func(ctx context.Context, _ timmy.Job, _ int64, _ func(string)) (timmy.Answer, error) {
			<-ctx.Done()
			return timmy.Answer{}, ctx.Err()
		}}, "The model did not answer in time."},
	} {
		t.Run(f.name, func(t *testing.T) {
			runRig(t, func(t *testing.T, r *rig) {
				*r.model = f.model
				r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
				submit(t, r, dm("q", "hello"))
				o := answer(t, r, "q").Outcome
				if o.State != timmy.StateFailed || o.Reason != f.reason || o.Cost.Charged != 0 || o.Cost.Waived != o.Cost.Total {
					t.Errorf("outcome %+v", o)
				}
				if b := r.book.balance(timmy.UserAccount(alice)); b.Posted != 1000*timmy.Sat || b.Held != 0 {
					t.Errorf("balance %+v", b)
				}
			})
		})
	}
}

// Excludes that a refusal costs more than its evaluation.
func TestRefusalCostsTheEvaluation(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.evaluate = func(context.Context, timmy.Job) (timmy.Verdict, error) {
			return timmy.Verdict{Abuse: true, Reason: "no", Usage: timmy.Usage{In: 500, Out: 20}}, nil
		}
		submit(t, r, dm("q", "bad"))
		o := answer(t, r, "q").Outcome
		if o.State != timmy.StateRejected || !o.Abuse || o.Reason != "no" || o.Cost.Charged != 3*timmy.Sat || o.Cost.Work != 0 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// Excludes work at an unknown price (G10), for both ways in.
func TestNothingRunsWithoutAPrice(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.rates.err = errors.New("stale")
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		submit(t, r, dm("q", "hello"))
		if o := answer(t, r, "q").Outcome; o.State != timmy.StateFailed || o.Cost.Total != 0 {
			t.Errorf("outcome %+v", o)
		}
		if _, err := r.desk.Do(t.Context(), rest("h", "hello")); timmy.CodeOf(err) != timmy.Unavailable || r.book.state("h") != "" {
			t.Errorf("Do: %v", err)
		}
	})
}

// Excludes a job that costs more than its asker's own limit, and one that is parked
// for money that would not help.
func TestAskersLimitIsKept(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.evaluate = func(context.Context, timmy.Job) (timmy.Verdict, error) { panic("a model was asked") }
		low := dm("low", "hello")
		low.PriceMax = 2 * timmy.Sat
		submit(t, r, low)
		if o := answer(t, r, "low").Outcome; o.State != timmy.StateFailed || !strings.Contains(o.Reason, "your limit of 2 sats") {
			t.Errorf("outcome %+v", o)
		}
		r.model.evaluate = nil
		r.model.work = func(_ context.Context, j timmy.Job, most int64, _ func(string)) (timmy.Answer, error) {
			return timmy.Answer{Text: "long", Usage: timmy.Usage{In: 1000, Out: 10 * most}}, nil // does not obey
		}
		limited := dm("limited", "hello")
		limited.PriceMax = 20 * timmy.Sat
		submit(t, r, limited)
		if o := answer(t, r, "limited").Outcome; o.Cost.Charged != 20*timmy.Sat || o.Cost.Waived == 0 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// Excludes a free question that is charged, or given to nobody in particular.
func TestPoolPaysFirst(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.HousePool, 1000*timmy.Sat)
		submit(t, r, dm("q", "hello"))
		if o := answer(t, r, "q").Outcome; o.State != timmy.StateComplete || o.Cost.Absorbed != 9*timmy.Sat || o.Cost.Charged != 0 {
			t.Errorf("outcome %+v", o)
		}
		if _, err := r.desk.Do(t.Context(), rest("h", "hello")); timmy.CodeOf(err) != timmy.Unpaid {
			t.Errorf("an anonymous session: %v", err)
		}
		if b := r.book.balance(timmy.HousePool); b.Posted != 991*timmy.Sat || b.Held != 0 {
			t.Errorf("pool %+v", b)
		}
	})
}

// Excludes D4/A7: parallel requests that together spend more than there is.
func TestParallelRequestsNeverOverdraw(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.SessionAccount("s"), 100*timmy.Sat)
		var done, unpaid atomic.Int64
		for n := range 20 {
			go func() {
				_, err := r.desk.Do(t.Context(), rest(fmt.Sprint("q", n), "hello"))
				switch timmy.CodeOf(err) {
				case "":
					done.Add(1)
				case timmy.Unpaid:
					unpaid.Add(1)
				}
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b := r.book.balance(timmy.SessionAccount("s"))
		if done.Load() == 0 || done.Load()+unpaid.Load() != 20 || b.Held != 0 || b.Posted != timmy.Msat(100-9*done.Load())*timmy.Sat {
			t.Errorf("%d done, %d unpaid, balance %+v", done.Load(), unpaid.Load(), b)
		}
	})
}

// Excludes D12: a caller that hangs up stops, or doubles, the work.
func TestHangingUpDoesNotStopTheWork(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.SessionAccount("s"), 1000*timmy.Sat)
		r.model.work = slowWork(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.desk.Do(ctx, rest("q", "hello")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do: %v", err)
		}
		if o := answer(t, r, "q").Outcome; o.State != timmy.StateComplete || o.Cost.Charged != 9*timmy.Sat {
			t.Errorf("outcome %+v", o)
		}
	})
}

func slowWork(d time.Duration) func(context.Context, timmy.Job, int64, func(string)) (timmy.Answer, error) {
	return func(ctx context.Context, _ timmy.Job, _ int64, _ func(string)) (timmy.Answer, error) {
		select {
		case <-time.After(d):
			return timmy.Answer{Text: "done", Usage: fakeUsage}, nil
		case <-ctx.Done():
			return timmy.Answer{}, ctx.Err()
		}
	}
}

// Excludes memory without end under load: the desk says that it is full.
func TestFullDeskRefuses(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.SessionAccount("s"), 1000*timmy.Sat)
		r.model.work = slowWork(time.Minute)
		go func() { _, _ = r.desk.Do(t.Context(), rest("a", "hello")) }()
		synctest.Wait()
		if _, err := r.desk.Do(t.Context(), rest("b", "hello")); timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("Do: %v", err)
		}
		answer(t, r, "a")
	}, func(c *DeskConfig) { c.Direct = 1 })
}
