package tower

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes a long answer losing its lease on the way.
func TestHeartbeatKeepsTheLease(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(100 * time.Second)
		submit(t, r, dm("q", "hello"))
		if o := answer(t, r, "q").Outcome; o.State != timmy.StateComplete {
			t.Errorf("outcome %+v", o)
		}
		if r.book.extends < 6 {
			t.Errorf("%d heartbeats in 100 s", r.book.extends)
		}
	})
}

// Excludes two charges when a request was taken over: the one that lost its lease
// stops and writes nothing.
func TestLostLeaseStopsTheRun(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(100 * time.Second)
		submit(t, r, dm("q", "hello"))
		synctest.Wait()
		r.book.mu.Lock()
		r.book.rows["q"].token++ // another tower
		r.book.mu.Unlock()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := r.desk.Stats(); s.Running != 0 || s.Complete+s.Failed != 0 {
			t.Errorf("stats %+v", s)
		}
		if s := r.book.state("q"); s != timmy.StateRunning {
			t.Errorf("state %s", s)
		}
	})
}

// Excludes an answer lost because the book was busy when it came.
func TestFinishIsTriedAgain(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		back := time.Now().Add(10 * time.Second)
		r.book.fail(func(method string) error {
			if method == "Finish" && time.Now().Before(back) {
				return errors.New("database is locked")
			}
			return nil
		})
		submit(t, r, dm("q", "hello"))
		if o := answer(t, r, "q").Outcome; o.State != timmy.StateComplete {
			t.Errorf("outcome %+v", o)
		}
	})
}

// Excludes work that is cut off at stop although it would have ended in time (I4).
func TestStopLetsRunningWorkFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		stop := r.start(t)
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(20 * time.Second)
		submit(t, r, dm("q", "hello"))
		submit(t, r, dm("w", "hello"))
		submit(t, r, dm("third", "of one key waits"))
		synctest.Wait()
		stop()
		if r.book.state("q") != timmy.StateComplete || r.book.state("w") != timmy.StateComplete || r.book.state("third") != timmy.StateQueued {
			t.Errorf("states %s %s %s", r.book.state("q"), r.book.state("w"), r.book.state("third"))
		}
		if _, err := r.desk.Do(t.Context(), rest("late", "hello")); timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("Do after the stop: %v", err)
		}
	})
}

// Excludes a stop that hangs, and a request that is lost or charged by it: what
// does not end in time keeps its lease, and the next start answers it once.
func TestStopLeavesTheRestToTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		stop := r.start(t)
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(140 * time.Second)
		submit(t, r, dm("q", "hello"))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if s := r.book.state("q"); s != timmy.StateRunning {
			t.Fatalf("state %s", s)
		}
		next := newRig()
		next.book = r.book
		r.book.recovers = 0
		next.desk.cfg.Book = r.book
		defer next.start(t)()
		if reply := answer(t, next, "q"); reply.Outcome.State != timmy.StateComplete || reply.Tries != 2 {
			t.Errorf("reply %+v", reply)
		}
		if b := r.book.balance(timmy.UserAccount(alice)); b.Posted != 991*timmy.Sat || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
	})
}

// Excludes that a lost hint, or a book that was away, leaves requests lying.
func TestQueueIsPolled(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		if _, err := r.book.Accept(t.Context(), dm("q", "accepted by another tower")); err != nil {
			t.Fatal(err)
		}
		back := time.Now().Add(5 * time.Second)
		r.book.fail(func(string) error {
			if time.Now().Before(back) {
				return errors.New("away")
			}
			return nil
		})
		if reply := answer(t, r, "q"); reply.Outcome.State != timmy.StateComplete {
			t.Errorf("reply %+v", reply)
		}
	})
}

// Excludes that Wait hangs on an unknown id, or leaks its place.
func TestWaitEndsAndCleansUp(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		if _, err := r.desk.Wait(t.Context(), "nobody"); timmy.CodeOf(err) != timmy.NotFound {
			t.Errorf("Wait: %v", err)
		}
		submit(t, r, dm("q", "hello")) // parked: nobody pays
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.desk.Wait(ctx, "q"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v", err)
		}
		if s := r.desk.Stats(); s.Waiting != 0 || len(r.desk.waiters) != 0 {
			t.Errorf("waiters left: %+v", s)
		}
	})
}
