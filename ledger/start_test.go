package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/timmy-tower/timmy"
)

// Excludes: a request by a credential that is another generation's, one that is kept
// although it was refused, a use that is not noted, and a bound session whose request
// nobody asked.
func TestACredentialIsCheckedWhereItsRequestStarts(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(5)
	_, err := Sessions{f.Ledger}.Open(ctx, "s", k, "")
	f.ok(err)
	top := timmy.TopUp{Account: timmy.SessionAccount("s"), Purpose: timmy.ForDeposit, Amount: 100 * sat}
	f.credit(f.invoice(top, timmy.Lease{}), timmy.CreditApplied)

	r := call("a", "s", timmy.PubKey{})
	r.Bearer = 2
	_, ok, err := f.Start(ctx, &r, quote(10*sat, 0))
	f.is(err, timmy.Unauthorized)
	if _, _, err := f.Reply(ctx, "a"); ok || timmy.CodeOf(err) != timmy.NotFound {
		t.Errorf("a refused request was kept: %v", err)
	}
	if s := f.state("s", timmy.SessionActive); s.Used || s.Available != 100*sat {
		t.Errorf("a refused credential left its mark: %+v", s)
	}
	r.Bearer = 1
	j, ok, err := f.Start(ctx, &r, quote(10*sat, 0))
	f.ok(err)
	if !ok || j.From != k || !j.First || j.Standing.Key != k || j.Standing.FirstSeen.IsZero() {
		t.Errorf("got %v %+v", ok, j)
	}
	if s := f.state("s", timmy.SessionActive); !s.Used || s.Available != 90*sat {
		t.Errorf("after the start: %+v", s)
	}
	_, err = f.Finish(ctx, j, complete(10*sat, 0))
	f.ok(err)
	if list, err := f.Requests(ctx, k, 10); err != nil || len(list) != 1 || list[0].Request != "a" {
		t.Errorf("the key's requests: %+v, %v", list, err)
	}
	r = call("b", "s", timmy.PubKey{})
	j, _, err = f.Start(ctx, &r, quote(10*sat, 0))
	if f.ok(err); j.First {
		t.Error("a second request is its key's first")
	}
	gone := call("c", "nowhere", timmy.PubKey{})
	gone.Bearer = 1
	_, _, err = f.Start(ctx, &gone, quote(0, 0))
	f.is(err, timmy.NotFound)
	f.verify()
}

// Excludes: two starts of one request at the same time that both run it, or reserve twice.
func TestOfTwoStartsOfARequestOneRunsIt(t *testing.T) {
	f := newFix(t)
	k := key(6)
	f.give(timmy.UserAccount(k), 1000*sat)
	var started atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			r := call(fmt.Sprint(i/8), "", k)
			r.Payer = timmy.UserAccount(k)
			_, ok, err := f.Start(t.Context(), &r, quote(10*sat, 0))
			if err != nil {
				t.Error(err)
			}
			if ok {
				started.Add(1)
			}
		})
	}
	wg.Wait()
	b, err := f.Balance(t.Context(), timmy.UserAccount(k))
	if f.ok(err); started.Load() != 8 || b.Held != 80*sat {
		t.Errorf("%d of 8 requests run, %v is held", started.Load(), b.Held)
	}
}

// Excludes: a queued request that nobody looks for when its asker has a place again, and
// lanes that are woken by each request's end for nothing.
func TestTheQueueIsLookedAtWhenSomethingIsInIt(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(7)
	f.give(timmy.UserAccount(k), 1000*sat)
	next := func() (timmy.Job, bool) {
		t.Helper()
		j, ok, err := f.Start(ctx, nil, quote(5*sat, 0))
		f.ok(err)
		return j, ok
	}
	end := func(j timmy.Job) (woken bool) {
		t.Helper()
		select {
		case <-f.Queued():
		default:
		}
		_, err := f.Finish(ctx, j, complete(5*sat, 0))
		f.ok(err)
		select {
		case <-f.Queued():
			return true
		default:
			return false
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		f.accept(dm(id, k))
	}
	a, _ := next()
	b, _ := next()
	if _, ok := next(); ok {
		t.Fatal("three requests of one key run")
	}
	if !end(a) {
		t.Error("a place is free, and nobody was woken")
	}
	c, ok := next()
	if !ok {
		t.Fatal("the third did not start")
	}
	if _, ok := next(); ok || end(b) {
		t.Error("woken for nothing")
	}
	f.accept(dm("d", k))
	if !end(c) {
		t.Error("one was queued since, and nobody was woken")
	}
}
