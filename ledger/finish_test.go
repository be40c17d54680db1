package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// Excludes: money that moves because a caller said wrongly who holds how much of it.
func TestAJobThatLiesIsRefused(t *testing.T) {
	f := newFix(t)
	k, other := key(1), key(2)
	f.ok(f.Fund(t.Context(), 100*sat))
	f.give(timmy.UserAccount(k), 1000*sat)
	f.give(timmy.UserAccount(other), 1000*sat)
	f.accept(dm("a", k))
	f.accept(dm("b", other))
	j := f.start(quote(300*sat, 10*sat))
	f.start(quote(300*sat, 10*sat)) // so that there is something to take from
	for name, lie := range map[string]func(j *timmy.Job){
		"another payer":     func(j *timmy.Job) { j.Payer = timmy.UserAccount(other) },
		"another request":   func(j *timmy.Job) { j.ID = "b" },
		"more held":         func(j *timmy.Job) { j.Hold.Payer = 301 * sat },
		"less held":         func(j *timmy.Job) { j.Hold.Payer = 299 * sat },
		"more of the pool":  func(j *timmy.Job) { j.Hold.Pool = 11 * sat },
		"an older claim":    func(j *timmy.Job) { j.Lease.Token-- },
		"an owner's share":  func(j *timmy.Job) { j.Payer, j.Drawn = timmy.SessionAccount("s"), 300*sat },
		"a session":         func(j *timmy.Job) { j.Payer = timmy.SessionAccount("s") },
		"nothing but a key": func(j *timmy.Job) { *j = timmy.Job{Request: timmy.Request{From: k, Payer: timmy.UserAccount(k)}} },
	} {
		told := j
		lie(&told)
		_, err := f.Finish(t.Context(), told, complete(0, 0))
		if timmy.CodeOf(err) != timmy.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.verify()
}

// Excludes: what one of two requests at once did to the balance, the standing or the
// conversation, undone by the other, which began when it was not there yet.
func TestRequestsAtOnceSeeEachOther(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	f.give(timmy.UserAccount(k), 1000*sat)
	f.accept(dm("a", k))
	f.accept(dm("b", k))
	a, b := f.start(quote(300*sat, 0)), f.start(quote(300*sat, 0))
	if !a.First || b.First {
		t.Errorf("first: %v and %v", a.First, b.First)
	}
	r, err := f.Finish(ctx, b, complete(100*sat, 0))
	f.ok(err)
	if r.Balance != 900*sat {
		t.Errorf("after the first to end %d are left", r.Balance)
	}
	f.give(timmy.UserAccount(k), 50*sat)
	r, err = f.Finish(ctx, a, complete(100*sat, 0))
	f.ok(err)
	if known, _, err := f.Reply(ctx, "a"); err != nil || r.Balance != 850*sat || known.Balance != r.Balance || !r.First {
		t.Errorf("the last has %d left, and %d is kept, %v", r.Balance, known.Balance, err)
	}
	if s, err := f.Standing(ctx, k); err != nil || s.Completed != 2 || s.Paid != 200*sat || s.Score != 2000 {
		t.Errorf("standing %+v, %v", s, err)
	}
	f.accept(dm("c", k))
	c := f.start(quote(0, 0))
	f.talked(c, "why b", "because", "why a", "because")
	r, err = f.Finish(ctx, c, complete(0, 0))
	f.ok(err)
	if r.Balance != 850*sat {
		t.Errorf("after a free one %d are left", r.Balance)
	}
	f.verify()
}

// talked checks the history that a job came with.
func (f *fix) talked(j timmy.Job, want ...string) {
	f.t.Helper()
	var got []string
	for i, turn := range j.History {
		got = append(got, turn.Text)
		if role := []timmy.Role{timmy.RoleUser, timmy.RoleAssistant}[i%2]; turn.Role != role || turn.Tokens != timmy.Tokens(turn.Text) {
			f.t.Errorf("turn %d: %+v", i, turn)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.t.Errorf("the history is %q, want %q", got, want)
	}
}

// Excludes: a conversation that was forgotten and comes back with the answer of what ran
// meanwhile, however many answers came in between.
func TestWhatIsForgottenStaysForgotten(t *testing.T) {
	for between := range 3 {
		f := newFix(t)
		ctx, k := t.Context(), key(1)
		ask := func(id string) timmy.Job {
			f.accept(dm(id, k))
			return f.start(quote(0, 0))
		}
		answer := func(j timmy.Job) { _, err := f.Finish(ctx, j, complete(0, 0)); f.ok(err) }
		answer(ask("old"))
		runs := ask("runs")
		f.talked(runs, "why old", "because")
		_, err := f.Forget(ctx, runs.Thread, timmy.PubKey{})
		f.ok(err)
		want := []string{}
		for i := range between {
			id := fmt.Sprint("new", i)
			answer(ask(id))
			want = append(want, "why "+id, "because")
		}
		answer(runs)
		f.talked(ask("last"), append(want, "why runs", "because")...)
	}
}

// Excludes: a conversation that an upgrade loses or mixes up, and texts that are cut at
// the wrong place.
func TestConversationsOutliveAnUpgrade(t *testing.T) {
	said := []string{"why?\nuser 3\nno", "günstig 🐢", "", "because"}
	where := booksOf(t, "000[0-4]*.sql", func(tx *db.Tx) error {
		for i, text := range said {
			for n := range 2 {
				thread, role := "dm:"+key(byte(n+1)).String(), []timmy.Role{timmy.RoleUser, timmy.RoleAssistant}[i%2]
				if _, err := tx.Exec(`INSERT INTO turns (thread, role, text, tokens) VALUES (?, ?, ?, ?)`, thread, role, text, timmy.Tokens(text)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	f := &fix{t: t, clock: &clock{t: time.Now()}, path: where}
	f.open()
	defer f.stop()
	for n := range 2 {
		k := key(byte(n + 1))
		for i, id := range []string{"x", "y"} {
			f.accept(dm(fmt.Sprint(id, n), k))
			j := f.start(quote(0, 0))
			f.talked(j, append(said, []string{"why x" + fmt.Sprint(n), "because"}[:2*i]...)...)
			_, err := f.Finish(t.Context(), j, complete(0, 0))
			f.ok(err)
		}
	}
	f.verify()
}

// Excludes: a history of half a row.
func TestAConversationThatIsDamagedIsNotRead(t *testing.T) {
	whole := writeTurns([]timmy.Turn{{Role: timmy.RoleUser, Text: "why?"}, {Role: timmy.RoleAssistant, Text: "because\n"}})
	if turns, err := readTurns(whole); err != nil || len(turns) != 2 || turns[1].Text != "because\n" {
		t.Fatalf("%+v, %v", turns, err)
	}
	for n := 1; n < len(whole); n++ {
		if turns, err := readTurns(whole[:n]); err == nil && len(turns) != 1 {
			t.Errorf("%q is read as %+v", whole[:n], turns)
		}
	}
	for _, bad := range []string{"user -1\n\n", "user x\n", "user 99999999999999999999\na\n", "user 1\nab\n", "\n", "user\n\n"} {
		if turns, err := readTurns(bad); err == nil || !strings.Contains(err.Error(), "stored wrongly") {
			t.Errorf("%q is read as %+v, %v", bad, turns, err)
		}
	}
}
