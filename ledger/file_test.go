package ledger

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// lists are what a key and its account are told they did, and what a scan of the books says
// that it is.
func (f *fix) lists(k timmy.PubKey) (told, scanned []string) {
	f.t.Helper()
	ctx := f.t.Context()
	rs, err := f.Requests(ctx, k, maxList)
	f.ok(err)
	for _, r := range rs {
		told = append(told, string(r.Request))
	}
	ps, err := f.Postings(ctx, timmy.UserAccount(k), maxList)
	f.ok(err)
	for _, p := range ps {
		told = append(told, p.Key)
	}
	f.ok(f.read(ctx, func(q *db.Tx) error {
		var keys []string
		err := q.Select(&scanned, `SELECT id FROM requests WHERE asker = ? AND command = 0 ORDER BY seq DESC`, k.String())
		if err != nil {
			return err
		}
		a := timmy.UserAccount(k)
		err = q.Select(&keys, `SELECT key FROM postings WHERE source = ? OR destination = ? ORDER BY seq DESC`, a, a)
		scanned = append(scanned, keys...)
		return err
	}))
	return told, scanned
}

func (f *fix) listed(k timmy.PubKey) {
	f.t.Helper()
	if told, scanned := f.lists(k); !slices.Equal(told, scanned) {
		f.t.Errorf("told:\n%q\nin the books:\n%q", told, scanned)
	}
}

// ask has a key ask so many questions over HTTP, which are charged.
func (f *fix) ask(k timmy.PubKey, name string, n int) {
	f.t.Helper()
	for i := range n {
		r := call(fmt.Sprintf("%s-%d", name, i), "", k)
		r.Payer, r.Thread = timmy.UserAccount(k), "dm:"+k.String()
		j, _, err := f.Start(f.t.Context(), &r, quote(2*sat, 0))
		f.ok(err)
		_, err = f.Finish(f.t.Context(), j, complete(sat, 0))
		f.ok(err)
	}
}

// Excludes: a request or a posting that is in no list, or in one twice, because it was
// written while others were filed; and a text that stays when its thread is forgotten.
func TestWhatIsFiledAndWhatIsNotIsListed(t *testing.T) {
	f := newFix(t)
	ctx, a, b := t.Context(), key(1), key(2)
	for _, k := range []timmy.PubKey{a, b} {
		f.give(timmy.UserAccount(k), 10_000*sat)
	}
	for round := range 3 {
		f.ask(a, fmt.Sprint("a", round), 4)
		f.ask(b, fmt.Sprint("b", round), 3)
		f.listed(a)
		if round < 2 {
			_, err := f.File(ctx)
			f.ok(err)
		}
		f.listed(a)
		f.listed(b)
	}
	f.accept(dm("waits", a))
	if n, err := f.Cancel(ctx, a, ""); err != nil || n != 1 {
		t.Errorf("%d cancelled, %v", n, err)
	}
	n, err := f.Forget(ctx, "dm:"+a.String(), a)
	if f.ok(err); n != 1+13 {
		t.Errorf("%d rows were emptied", n)
	}
	rs, err := f.Requests(ctx, b, maxList)
	f.ok(err)
	if len(rs) != 9 || rs[0].Outcome.Text == "" {
		t.Errorf("somebody else's were emptied: %+v", rs)
	}
	f.listed(a)
	f.verify()
}

// Excludes: filing that stops at a full batch, goes over its end, or does it again.
func TestFilingGoesOnWhereItWas(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	f.give(timmy.UserAccount(k), 10_000*sat)
	f.failed(k, 2*fileBatch+5)
	passed := 0
	for {
		n, err := f.File(ctx)
		if f.ok(err); n == 0 {
			break
		}
		if passed += n; n > 2*fileBatch {
			t.Errorf("%d at once", n)
		}
		f.listedNewest(k)
	}
	if want := 2*fileBatch + 5 + 1; server == nil && passed != want {
		t.Errorf("%d were filed, want %d", passed, want)
	}
	f.stop()
	f.open()
	f.listedNewest(k)
}

// failed writes so many requests of a key that have failed.
func (f *fix) failed(k timmy.PubKey, n int) {
	f.t.Helper()
	f.ok(f.write(f.t.Context(), "", func(t *txn) error {
		_, err := t.Exec(`INSERT INTO requests (`+askedColumns+`)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT 'r' || i, 'rest', ?, 'w', 'p', 't', 'text', 0, 0, 0, NULL, i, 'failed', i FROM n`, n, k.String())
		return err
	}))
}

// Excludes: texts that stay where they are more than one transaction empties, and those of
// another thread that go.
func TestAllThatAKeySaidIsForgotten(t *testing.T) {
	f := newFix(t)
	const said = 2*maxSweep + 3
	f.failed(key(1), said)
	for thread, want := range map[string]int{"another": 0, "t": said} {
		if n, err := f.Forget(t.Context(), thread, key(1)); err != nil || n != want {
			t.Errorf("forgot %d of %q, %v", n, thread, err)
		}
	}
	if n, err := f.Forget(t.Context(), "t", key(1)); err != nil || n != 0 {
		t.Errorf("forgot %d once more, %v", n, err)
	}
	var left int
	f.ok(f.db.Read(t.Context(), func(q *db.Tx) error {
		return q.Row([]any{&left}, `SELECT COUNT(*) FROM requests WHERE text <> ''`)
	}))
	if left != 0 {
		t.Errorf("%d texts were left", left)
	}
}

// listedNewest is listed for more requests than a list has.
func (f *fix) listedNewest(k timmy.PubKey) {
	f.t.Helper()
	told, scanned := f.lists(k)
	if len(told) != maxList+1 || !slices.Equal(told[:maxList], scanned[:maxList]) {
		f.t.Errorf("%d are told, the first %q, the last %q", len(told), told[0], told[len(told)-1])
	}
}

// Excludes: an upgrade after which nobody finds what was before it.
func TestListsOutliveAnUpgrade(t *testing.T) {
	k := key(7)
	where := booksOf(t, "000[0-6]*.sql", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO requests (`+askedColumns+`)
			VALUES ('old', 'dm', ?, 'w', 'p', 't', 'why', 0, 0, 0, NULL, 1, 'complete', 1)`, k.String())
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO postings (key, source, destination, amount, at) VALUES
			('in', 'house:lightning', ?, 50, 1), ('out', ?, 'house:revenue', 20, 2)`, timmy.UserAccount(k), timmy.UserAccount(k))
		return err
	})
	f := &fix{t: t, clock: &clock{t: time.Now()}, path: where}
	f.open()
	defer f.stop()
	if told, _ := f.lists(k); !slices.Equal(told, []string{"old", "out", "in"}) {
		t.Errorf("got %q", told)
	}
	f.listed(k)
	if b, err := f.Balance(context.Background(), timmy.HouseLightning); err != nil || b.Posted != -50 {
		t.Errorf("%+v, %v", b, err)
	}
	if n, err := f.Forget(context.Background(), "t", k); err != nil || n != 1 {
		t.Errorf("%d rows were emptied, %v", n, err)
	}
}

// Excludes: a number that people are shown and that means no question.
func TestAPartOfAnIDFindsItsRequest(t *testing.T) {
	f := newFix(t)
	k := key(3)
	timed := []timmy.RequestID{"0193a7f0-0000-7000-8000-0000000012ab", "0193a7f0-0001-7000-8000-0000000034cd"}
	for _, id := range timed {
		f.accept(timmy.Request{ID: id, Front: timmy.FrontREST, From: k, Payer: timmy.UserAccount(k)})
	}
	for part, want := range map[string][]timmy.RequestID{
		timed[0].Short():  timed[:1],
		timed[1].Short():  timed[1:],
		string(timed[0]):  timed[:1],
		"0193":            {timed[1], timed[0]},
		"0193a7f0-0001":   timed[1:],
		"ab12":            nil,
		"-0000000034cd":   timed[1:],
		"00000000000034c": nil,
	} {
		for range 2 {
			if ids, err := f.Find(t.Context(), k, part); err != nil || !slices.Equal(ids, want) {
				t.Errorf("%q: %v, %v", part, ids, err)
			}
			_, err := f.File(t.Context())
			f.ok(err)
		}
	}
}
