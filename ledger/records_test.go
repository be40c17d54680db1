package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// Excludes: holds that leak when the process dies (A15), a request that is lost
// with it or run by two (H14), and one that kills every process.
func TestARestartTakesRequestsBack(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	f.give(timmy.UserAccount(k), 1000*sat)
	f.ok(f.Fund(ctx, 100*sat))
	f.session("s", k, 100*sat)
	f.accept(dm("a", k))
	r := call("b", "s", k)
	_, _, err := f.Start(ctx, &r, quote(300*sat, 0))
	f.ok(err)
	for try := 1; try <= maxCrashes; try++ {
		f.clock.add(calm)
		j := f.start(quote(200*sat, 40*sat))
		f.ok(f.Extend(ctx, j.Lease))
		if n, err := f.Recover(ctx); err != nil || n != 0 {
			t.Fatalf("took its own requests back: %d %v", n, err)
		}
		f.restart()
		n, err := f.Recover(ctx)
		f.ok(err)
		_, err = f.Finish(ctx, j, complete(100*sat, 0))
		f.is(err, timmy.Conflict)
		f.is(f.Extend(ctx, j.Lease), timmy.Conflict)
		for _, a := range []timmy.Account{timmy.UserAccount(k), timmy.HousePool, timmy.SessionAccount("s")} {
			if b, _ := f.Balance(ctx, a); b.Held != 0 {
				t.Fatalf("%s holds %v after restart %d", a, b.Held, try)
			}
		}
		if s, _ := f.Standing(ctx, k); s.Granted != 0 {
			t.Fatalf("granted %v", s.Granted)
		}
		f.verify()
		if want := map[int]int{1: 2, 2: 1, 3: 1}[try]; n != want {
			t.Fatalf("restart %d took %d back, want %d", try, n, want)
		}
	}
	reply, done, err := f.Reply(ctx, "a")
	f.ok(err)
	if !done || reply.Outcome.State != timmy.StateFailed || reply.Outcome.Cost.Charged != 0 {
		t.Errorf("after three crashes: %+v", reply)
	}
	if ps := f.due(); len(ps) != 1 || ps[0].Reply.Outcome.State != timmy.StateFailed {
		t.Errorf("parcels: %+v", ps)
	}
	j := f.start(quote(10*sat, 0))
	if j.ID != "b" || j.Tries != 2 {
		t.Errorf("next: %s, try %d", j.ID, j.Tries)
	}
	f.clock.add(time.Hour) // its lease runs out under a live process
	if n, err := f.Recover(ctx); err != nil || n != 1 {
		t.Errorf("an expired lease: %d %v", n, err)
	}
	f.verify()
}

// Excludes: a request that fails for the crashes of others, or of a tower that is
// killed again and again; and a suspect that holds the queue up.
func TestOnlyTheCulpritIsBlamed(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	die := func() {
		f.restart()
		if _, err := f.Recover(ctx); err != nil {
			t.Fatal(err)
		}
	}
	culprit, other := dm("culprit", key(1)), dm("other", key(2))
	f.accept(culprit)
	f.accept(other)
	for range suspect {
		f.start(quote(0, 0))
		f.start(quote(0, 0))
		die()
	}
	for range 10 {
		if j, ok, err := f.Start(ctx, nil, quote(0, 0)); err != nil || ok {
			t.Fatalf("a suspect was started at once: %s %v", j.ID, err)
		}
		if j, ok, err := f.Start(ctx, &culprit, quote(0, 0)); err != nil || ok {
			t.Fatalf("a suspect was started by its caller: %s %v", j.ID, err)
		}
		f.clock.add(calm - time.Millisecond)
		die()
	}
	f.clock.add(calm)
	if j := f.start(quote(0, 0)); j.ID != "culprit" {
		t.Fatalf("started %s", j.ID)
	}
	f.accept(dm("next", key(3)))
	if j := f.start(quote(0, 0)); j.ID != "next" {
		t.Fatalf("beside a suspect %s was started", j.ID)
	}
	die()
	f.clock.add(calm)
	f.finished("culprit", timmy.StateFailed)
	for range 2 {
		_, err := f.Finish(ctx, f.start(quote(0, 0)), complete(0, 0))
		f.ok(err)
	}
	f.finished("other", timmy.StateComplete)
	f.finished("next", timmy.StateComplete)
	f.verify()
}

func (f *fix) finished(id timmy.RequestID, want timmy.State) {
	f.t.Helper()
	reply, done, err := f.Reply(f.t.Context(), id)
	f.ok(err)
	if !done || reply.Outcome.State != want {
		f.t.Errorf("%s: %+v, want %s", id, reply, want)
	}
}

// Excludes: one asker that takes all workers, and commands that wait behind work.
func TestTheQueueIsFair(t *testing.T) {
	f := newFix(t)
	for i := range 4 {
		f.accept(dm(fmt.Sprint("a", i), key(1)))
	}
	f.accept(dm("b0", key(2)))
	c := dm("c", key(1))
	c.Command = true
	f.accept(c)
	var got []string
	var jobs []timmy.Job
	for {
		j, ok, err := f.Start(t.Context(), nil, quote(0, 0))
		f.ok(err)
		if !ok {
			break
		}
		got, jobs = append(got, string(j.ID)), append(jobs, j)
	}
	if s := strings.Join(got, " "); s != "c a0 a1 b0" {
		t.Errorf("order: %s", s)
	}
	_, err := f.Finish(t.Context(), jobs[1], complete(0, 0))
	f.ok(err)
	if j := f.start(quote(0, 0)); j.ID != "a2" {
		t.Errorf("next: %s", j.ID)
	}
	again := dm("c2", key(1))
	again.Command = true
	f.accept(again)
	if n, err := f.Cancel(t.Context(), key(1), "x"); err != nil || n != 1 {
		t.Errorf("cancelled %d, %v", n, err)
	}
	if j := f.start(quote(0, 0)); j.ID != "c2" {
		t.Errorf("after it: %s", j.ID)
	}
	rs, err := f.Requests(t.Context(), key(1), 10)
	f.ok(err)
	if len(rs) != 4 || rs[0].Request != "a3" || rs[0].Outcome.Reason != "stopped" {
		t.Errorf("requests: %+v", rs)
	}
}

// Excludes: a window that is longer than documented, out of order, or another's.
func TestHistoryIsTheDocumentedWindow(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	ask := func(id, text string, o timmy.Outcome) timmy.Job {
		r := dm(id, k)
		r.Text = text
		f.accept(r)
		j := f.start(quote(0, 0))
		_, err := f.Finish(ctx, j, o)
		f.ok(err)
		return j
	}
	for i := range 30 {
		o := complete(0, 0)
		o.Text = fmt.Sprint("answer ", i)
		ask(fmt.Sprint(i), fmt.Sprint("question ", i), o)
	}
	ask("refused", "no", timmy.Outcome{State: timmy.StateRejected})
	j := ask("big", strings.Repeat("x", 15_900), complete(0, 0))
	if len(j.History) != 8 || j.History[0].Text != "question 26" || j.History[7].Text != "answer 29" || j.History[7].Role != timmy.RoleAssistant {
		t.Errorf("history: %+v", j.History)
	}
	j = ask("after", "y", complete(0, 0))
	if n := len(j.History); n != 8 || len(j.History[6].Text) != 15_900 { // 3975 tokens and 2, and six small ones
		t.Errorf("history of %d: %+v", n, j.History[0])
	}
	ask("bigger", strings.Repeat("z", 16_001), complete(0, 0))
	if j = ask("last", "w", complete(0, 0)); len(j.History) != 1 {
		t.Errorf("history over the budget: %d", len(j.History))
	}
	n, err := f.Forget(ctx, "dm:"+k.String(), k)
	f.ok(err)
	if n < 30 {
		t.Errorf("forgot %d rows", n)
	}
	r, _, err := f.Reply(ctx, "last")
	f.ok(err)
	if r.Outcome.Text != "" || r.Outcome.State != timmy.StateComplete {
		t.Errorf("after forgetting: %+v", r.Outcome)
	}
	if ps := f.due(); len(ps) == 0 || ps[0].Reply.Outcome.Text == "" {
		t.Error("an answer on its way was forgotten")
	}
}

// Excludes: a parcel that is sent twice with different bytes, or never ends.
func TestAParcelIsSealedOnce(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	f.accept(dm("a", key(1)))
	j := f.start(quote(0, 0))
	_, err := f.Finish(ctx, j, complete(0, 0))
	f.ok(err)
	id := f.due()[0].ID
	f.ok(f.Sealed(ctx, id, [][]byte{[]byte("one"), []byte("two")}))
	f.is(f.Sealed(ctx, id, [][]byte{[]byte("other")}), timmy.Conflict)
	f.ok(f.Retry(ctx, id, f.clock.now().Add(time.Minute), "no relay"))
	if len(f.due()) != 0 {
		t.Error("due too early")
	}
	f.clock.add(time.Minute)
	f.restart()
	p := f.due()[0]
	if p.Tries != 1 || len(p.Signed) != 2 || string(p.Signed[0]) != "one" {
		t.Errorf("parcel: %+v", p)
	}
	f.ok(f.Delivered(ctx, id))
	f.is(f.Delivered(ctx, id), timmy.Conflict)
	f.clock.add(8 * 24 * time.Hour)
	if p, err := f.Prune(ctx, f.clock.now()); err != nil || p.Parcels != 1 {
		t.Errorf("pruned %+v, %v", p, err)
	}
}

// Excludes: a retry that is charged twice, and a key that blocks for ever (A6, D11).
func TestAnIdempotencyKeyRunsOnce(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	body, other := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	expect := func(b [32]byte, want IdemState, subject string) Idem {
		t.Helper()
		i, err := f.Reserve(ctx, "k", b, "subject "+f.boot)
		f.ok(err)
		if i.State != want || (subject != "" && i.Subject != subject) {
			t.Fatalf("got %+v, want %s %s", i, want, subject)
		}
		return i
	}
	first := expect(body, IdemFresh, "").Subject
	expect(body, IdemInFlight, first)
	expect(other, IdemMismatch, "")
	f.restart()
	expect(body, IdemFresh, first)
	f.ok(f.Keep(ctx, "k", 200, []byte("{}")))
	if i := expect(body, IdemDone, first); i.Status != 200 || string(i.Body) != "{}" {
		t.Errorf("kept: %+v", i)
	}
	f.ok(f.Drop(ctx, "k")) // of what is done nothing is dropped
	expect(body, IdemDone, first)
	f.clock.add(8 * 24 * time.Hour)
	expect(other, IdemFresh, "")
	f.ok(f.Drop(ctx, "k"))
	expect(body, IdemFresh, "")
}

// Excludes: a signed call that is replayed, by many at once or after a restart.
func TestOnceIsOnce(t *testing.T) {
	f := newFix(t)
	var fresh atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			ok, err := f.Once(t.Context(), "event", f.clock.now().Add(time.Minute))
			if err != nil {
				t.Error(err)
			}
			if ok {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	f.restart()
	again, err := f.Once(t.Context(), "event", f.clock.now())
	f.ok(err)
	if fresh.Load() != 1 || again {
		t.Errorf("%d fresh, again %v", fresh.Load(), again)
	}
	f.clock.add(time.Hour)
	if p, err := f.Prune(t.Context(), f.clock.now()); err != nil || p.Seen != 1 || f.Stats().Seen != 0 {
		t.Errorf("pruned %+v, %v", p, err)
	}
}

// Excludes: books that drift without anybody noticing (A9), and entries that are
// changed afterwards (A2).
func TestVerifyNamesTheAccountThatIsOff(t *testing.T) {
	f := newFix(t)
	k := key(1)
	f.give(timmy.UserAccount(k), 100*sat)
	f.give(timmy.UserAccount(key(2)), 100*sat)
	f.verify()
	for _, q := range []string{"UPDATE postings SET amount = amount + 1", "DELETE FROM postings"} {
		err := f.write(t.Context(), "tampering", func(tx *txn) error { _, err := tx.Exec(q); return err })
		if err == nil || !strings.Contains(err.Error(), "postings are never") {
			t.Errorf("%s: %v", q, err)
		}
	}
	err := f.write(t.Context(), "tampering", func(tx *txn) error { return tx.post("over", timmy.UserAccount(k), timmy.HouseRevenue, 101*sat) })
	f.is(err, timmy.Unpaid)
	err = f.write(t.Context(), "tampering", func(tx *txn) error { // as somebody with the file in hands could
		if _, err := tx.Exec(map[db.Dialect]string{
			db.SQLite: "DROP TRIGGER postings_no_update", db.Postgres: "DROP TRIGGER postings_no_update ON postings",
		}[tx.Dialect()]); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE postings SET amount = amount + 1 WHERE destination = ?", timmy.UserAccount(k)); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE accounts SET held = 7 WHERE name = ?", timmy.UserAccount(key(2)))
		return err
	})
	f.ok(err)
	drifts, err := f.Verify(t.Context())
	f.ok(err)
	what := map[string]timmy.Account{}
	for _, d := range drifts {
		what[d.What] = d.Account
	}
	if len(drifts) != 3 || what["posted"] != timmy.UserAccount(k) || what["held"] != timmy.UserAccount(key(2)) || what["credited"] == "" {
		t.Errorf("drifts: %v", drifts)
	}
}

// Excludes: a command that opens the books beside the tower and changes them.
func TestAViewOnlyReads(t *testing.T) {
	f := newFix(t)
	f.give(timmy.UserAccount(key(1)), 100*sat)
	open := db.OpenSQLiteReadOnly
	if server != nil {
		open = db.OpenPostgresReadOnly
	}
	d, err := open(t.Context(), f.path)
	f.ok(err)
	defer d.Close()
	v, err := View(t.Context(), d, Options{})
	f.ok(err)
	if b, err := v.Balance(t.Context(), timmy.UserAccount(key(1))); err != nil || b.Posted != 100*sat {
		t.Errorf("%v %v", b, err)
	}
	ps, err := v.Postings(t.Context(), timmy.UserAccount(key(1)), 5)
	f.ok(err)
	if len(ps) != 1 || ps[0].Amount != 100*sat || ps[0].Source != timmy.HouseLightning {
		t.Errorf("postings: %+v", ps)
	}
	f.is(v.Fund(t.Context(), sat), timmy.Unavailable)
}

// Excludes: a call that was cancelled half-way and left half of its writes (H7).
func TestACancelledCallDoesAllOrNothing(t *testing.T) {
	f := newFix(t)
	k := key(1)
	tries := times(200, 4000)
	f.give(timmy.UserAccount(k), timmy.FromSats(int64(5*tries)))
	f.ok(f.Fund(t.Context(), timmy.FromSats(int64(5*tries))))
	for i := range tries {
		f.accept(dm(fmt.Sprint(i), k))
		j := f.start(quote(5*sat, 5*sat))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%200)*2*time.Microsecond)
		_, err := f.Finish(ctx, j, complete(2*sat, 2*sat))
		cancel()
		_, done, e := f.Reply(t.Context(), j.ID)
		f.ok(e)
		if done != (err == nil) {
			t.Fatalf("try %d: %v, done %v", i, err, done)
		}
		if !done {
			_, err := f.Finish(t.Context(), j, complete(2*sat, 2*sat))
			f.ok(err)
		}
	}
	f.posted(timmy.UserAccount(k), timmy.FromSats(int64(3*tries)))
	f.verify()
}

// Excludes: a first greeting for everybody or for nobody, and a standing that
// failures of the operator move.
func TestMeetingAndFailing(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	s, err := f.Meet(ctx, k)
	f.ok(err)
	if s.FirstSeen.IsZero() {
		t.Error("not noted")
	}
	f.accept(dm("a", k))
	r, err := f.Finish(ctx, f.start(quote(0, 0)), timmy.Outcome{State: timmy.StateFailed, Reason: "away"})
	f.ok(err)
	f.accept(dm("b", k))
	r2, err := f.Finish(ctx, f.start(quote(0, 0)), complete(0, 0))
	f.ok(err)
	if !r.First || r2.First {
		t.Errorf("first: %v, %v", r.First, r2.First)
	}
	if s, _ = f.Standing(ctx, k); s.Score != 1000 {
		t.Errorf("score %d after one answer and one failure", s.Score)
	}
}
