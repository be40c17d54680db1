package ledger

import (
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestAClockThatJumpsHoldsUpNoAnswer excludes an answer that was written by a clock which
// ran ahead, and waits until the right one has caught up.
func TestAClockThatJumpsHoldsUpNoAnswer(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	for _, id := range []string{"tried", "fresh"} {
		f.accept(dm(id, key(7)))
		f.clock.add(time.Hour)
		_, err := f.Finish(ctx, f.start(quote(0, 0)), complete(0, 0))
		f.ok(err)
		f.clock.add(-time.Hour)
	}
	all := f.due()
	if len(all) != 2 {
		t.Fatalf("%d answers are due an hour before they were written", len(all))
	}
	f.ok(f.Retry(ctx, all[0].ID, f.clock.now().Add(24*time.Hour), "away"))
	if left := f.due(); len(left) != 1 || left[0].ID != all[1].ID {
		t.Errorf("one was put off, and due are %+v", left)
	}
	f.clock.add(maxPutOff)
	if left := f.due(); len(left) != 2 || left[1].Tries != 0 {
		t.Errorf("later: %+v", left)
	}
}

// TestAClockThatJumpsMovesNoMoney excludes books that follow the wall clock: it
// jumps an hour back and forth between every two steps, and what was asked first
// still runs first, a lease that a jump ended cannot finish, nothing is charged or
// credited twice, and the books add up.
func TestAClockThatJumpsMovesNoMoney(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(7)
	payer := timmy.UserAccount(k)
	f.give(payer, 1000*sat)

	f.accept(dm("first", k))
	f.clock.add(-time.Hour)
	f.accept(dm("second", k))
	old := f.start(quote(100*sat, 0))
	if old.ID != "first" {
		t.Fatalf("%s ran first: the order is the clock's", old.ID)
	}
	f.clock.add(time.Hour)
	if n, err := f.Recover(ctx); err != nil || n != 1 {
		t.Fatalf("a lease that ran out by the jump: %d, %v", n, err)
	}
	f.clock.add(-time.Hour)
	_, err := f.Finish(ctx, old, complete(50*sat, 0))
	f.is(err, timmy.Conflict)
	f.posted(payer, 1000*sat)

	again := f.start(quote(100*sat, 0))
	f.clock.add(-time.Hour)
	_, err = f.Finish(ctx, again, complete(50*sat, 0))
	f.ok(err)
	_, err = f.Finish(ctx, again, complete(50*sat, 0))
	f.is(err, timmy.Conflict)
	f.posted(payer, 950*sat)

	p := f.invoice(timmy.TopUp{Account: payer, Purpose: timmy.ForPay, Amount: 200 * sat}, timmy.Lease{})
	f.clock.add(2 * time.Hour)
	f.credit(p, timmy.CreditApplied)
	f.clock.add(-2 * time.Hour)
	f.credit(p, timmy.CreditReplayed)
	f.posted(payer, 1150*sat)
	f.verify()
}
