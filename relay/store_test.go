package relay

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/nip"
)

func newStore(t *testing.T) (*Store, *clock) {
	t.Helper()
	c := &clock{}
	s := NewStore(dbtest.Open(t, newPlace(t)), c.now)
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func (s *Store) mustSave(t *testing.T, list ...*nostr.Event) {
	t.Helper()
	for _, ev := range list {
		if err := s.SaveEvent(t.Context(), ev); err != nil {
			t.Fatalf("kind %d: %v", ev.Kind, err)
		}
	}
}

func (s *Store) ids(t *testing.T, f nostr.Filter) []string {
	t.Helper()
	ch, err := s.QueryEvents(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for ev := range ch {
		if err := nip.Verify(ev); err != nil {
			t.Errorf("what is served does not verify: %v", err)
		}
		ids = append(ids, ev.ID)
	}
	return ids
}

// TestAddressesMatchExactly excludes what LIKE does: "session-1" replacing
// "session-100", "_" and "%" matching anything, "" matching all.
func TestAddressesMatchExactly(t *testing.T) {
	s, _ := newStore(t)
	k := newKey(t)
	names := []string{"", "session-1", "session-10", "session-100", "a_b", "axb", "a%b", "a%", "%", "_", `\`, `a\b`, "a\x00b", "é", "É", "'", `"`, "10", "100"}
	for i := range 200 {
		names = append(names, fmt.Sprint("n", i), strings.Repeat("x", i+1))
	}
	at := time.Now().Add(-time.Minute)
	for _, d := range names {
		s.mustSave(t, signedAt(t, k, at, 30_000, d, nostr.Tag{"d", d}))
	}
	for _, d := range names {
		s.mustSave(t, signedAt(t, k, at.Add(time.Second), 30_000, d, nostr.Tag{"d", d}))
	}
	for _, d := range names {
		ch, err := s.QueryEvents(t.Context(), nostr.Filter{Kinds: []int{30_000}, Tags: nostr.TagMap{"d": {d}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for ev := range ch {
			got = append(got, ev.Content)
		}
		if len(got) != 1 || got[0] != d {
			t.Errorf("d=%q: found %q", d, got)
		}
	}
	if n := len(s.ids(t, nostr.Filter{Kinds: []int{30_000}})); n != len(names) {
		t.Fatalf("%d events of %d are left", n, len(names))
	}
}

// TestReplacingKeepsOne: newest first, the lower id of two equally old.
func TestReplacingKeepsOne(t *testing.T) {
	s, _ := newStore(t)
	k, at := newKey(t), time.Now().Add(-time.Hour)
	for _, kind := range []int{0, 3, 10_002} {
		first, second := signedAt(t, k, at, kind, "a"), signedAt(t, k, at, kind, "b")
		if first.ID > second.ID {
			first, second = second, first
		}
		newer, older := signedAt(t, k, at.Add(time.Second), kind, "c"), signedAt(t, k, at.Add(-time.Second), kind, "d")
		s.mustSave(t, second, first)
		for _, ev := range []*nostr.Event{second, older, first} {
			if err := s.ReplaceEvent(t.Context(), ev); !errors.Is(err, eventstore.ErrDupEvent) {
				t.Errorf("kind %d: %v, want ErrDupEvent", kind, err)
			}
		}
		s.mustSave(t, newer)
		if got := s.ids(t, nostr.Filter{Kinds: []int{kind}}); !slices.Equal(got, []string{newer.ID}) {
			t.Errorf("kind %d: %v", kind, got)
		}
	}
	var rows, tags int
	err := s.db.Read(t.Context(), func(tx *db.Tx) error {
		return errors.Join(tx.Get(&rows, `SELECT count(*) FROM event`), tx.Get(&tags, `SELECT count(*) FROM tag`))
	})
	if err != nil || rows != 3 || tags != 0 {
		t.Fatalf("%d rows, %d tags (%v)", rows, tags, err)
	}
}

// TestDuplicatesAreReported: a store that takes an event twice serves it twice.
func TestDuplicatesAreReported(t *testing.T) {
	s, _ := newStore(t)
	ev := signed(t, newKey(t), 1, "once", nostr.Tag{"t", "x"}, nostr.Tag{"t", "x"})
	s.mustSave(t, ev)
	if err := s.SaveEvent(t.Context(), ev); !errors.Is(err, eventstore.ErrDupEvent) {
		t.Fatal(err)
	}
	if got := s.ids(t, nostr.Filter{}); len(got) != 1 {
		t.Fatal(got)
	}
	if err := s.DeleteEvent(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	s.mustSave(t, ev)
}

// TestQueriesAgreeWithTheFilter compares the SQL with filter.Matches over random
// events and filters: names, exact values, order, limits.
func TestQueriesAgreeWithTheFilter(t *testing.T) {
	s, _ := newStore(t)
	rng := rand.New(rand.NewPCG(1, 2))
	keys := []nip.Key{newKey(t), newKey(t), newKey(t)}
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	values := []string{"a", "b", "aa", "a_", "%", ""}
	pick := func(list []string) []string {
		return []string{list[rng.IntN(len(list))], list[rng.IntN(len(list))]}
	}
	var all []*nostr.Event
	for i := range 400 {
		tags := nostr.Tags{}
		for range rng.IntN(4) {
			tags = append(tags, nostr.Tag{[]string{"t", "x", "ab"}[rng.IntN(3)], values[rng.IntN(len(values))], "second"})
		}
		at := base.Add(time.Duration(rng.IntN(50)) * time.Second)
		all = append(all, signedAt(t, keys[rng.IntN(3)], at, []int{1, 7, 1111}[rng.IntN(3)], fmt.Sprint(i), tags...))
	}
	s.mustSave(t, all...)
	slices.SortFunc(all, func(a, b *nostr.Event) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	for range 500 {
		f := nostr.Filter{Limit: 1 + rng.IntN(60)}
		if rng.IntN(3) == 0 {
			f.Kinds = []int{1, 7, 1111}[:1+rng.IntN(3)]
		}
		if rng.IntN(3) == 0 {
			f.Authors = []string{keys[rng.IntN(3)].Public().String(), keys[0].Public().String()}
		}
		if rng.IntN(8) == 0 {
			f.IDs = []string{all[rng.IntN(len(all))].ID, all[rng.IntN(len(all))].ID}
		}
		for _, name := range []string{"t", "x"} {
			if rng.IntN(3) == 0 {
				if f.Tags == nil {
					f.Tags = nostr.TagMap{}
				}
				f.Tags[name] = pick(values)
			}
		}
		if rng.IntN(4) == 0 {
			since := nostr.Timestamp(base.Unix() + rng.Int64N(50))
			until := since + nostr.Timestamp(rng.IntN(20))
			f.Since, f.Until = &since, &until
		}
		var want []string
		for _, ev := range all {
			if f.Matches(ev) && len(want) < f.Limit {
				want = append(want, ev.ID)
			}
		}
		if got := s.ids(t, f); !slices.Equal(got, want) {
			t.Fatalf("%s: got %d events, want %d", f, len(got), len(want))
		}
	}
}

// TestManyValuesAreOneQuery covers filters that are too wide to be split.
func TestManyValuesAreOneQuery(t *testing.T) {
	s, _ := newStore(t)
	var f nostr.Filter
	var events []*nostr.Event
	for i := range maxScan + 5 {
		k := newKey(t)
		ev := signed(t, k, 1, "x", nostr.Tag{"t", fmt.Sprint(i)})
		events = append(events, ev)
		f.Authors = append(f.Authors, k.Public().String())
	}
	s.mustSave(t, events...)
	if n := len(s.ids(t, f)); n != len(events) {
		t.Fatalf("%d of %d by author", n, len(events))
	}
	g := nostr.Filter{Tags: nostr.TagMap{"t": nil}, Kinds: []int{1, 2}}
	for i := range maxScan + 5 {
		g.Tags["t"] = append(g.Tags["t"], fmt.Sprint(i))
	}
	if n := len(s.ids(t, g)); n != len(events) {
		t.Fatalf("%d of %d by tag", n, len(events))
	}
}

// TestExpiredEventsAreNeverServed is NIP-40, from the very second on, and the
// sweeper deletes them with their tags.
func TestExpiredEventsAreNeverServed(t *testing.T) {
	s, clock := newStore(t)
	k := newKey(t)
	in := func(d time.Duration) nostr.Tag {
		return nostr.Tag{"expiration", fmt.Sprint(clock.now().Add(d).Unix())}
	}
	if err := s.SaveEvent(t.Context(), signed(t, k, 1, "", in(-time.Second))); !errors.Is(err, errExpired) {
		t.Fatal(err)
	}
	const n = sweepBatch + 20
	for i := range n {
		s.mustSave(t, signed(t, k, 1, fmt.Sprint(i), in(time.Minute), nostr.Tag{"t", "x"}))
	}
	keep := signed(t, k, 1, "keep", in(time.Hour), nostr.Tag{"t", "x"})
	s.mustSave(t, keep)
	if got := len(s.ids(t, nostr.Filter{})); got != maxLimit {
		t.Fatalf("%d served before", got)
	}
	clock.advance(time.Minute + time.Second)
	for _, f := range []nostr.Filter{{}, {Tags: nostr.TagMap{"t": {"x"}}}, {Kinds: []int{1}}} {
		if got := s.ids(t, f); !slices.Equal(got, []string{keep.ID}) {
			t.Fatalf("%d served after", len(got))
		}
	}
	swept := 0
	for {
		m, err := s.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if swept += m; m < sweepBatch {
			break
		}
	}
	var tags int
	err := s.db.Read(t.Context(), func(tx *db.Tx) error { return tx.Get(&tags, `SELECT count(*) FROM tag`) })
	if err != nil || swept != n || tags != 1 {
		t.Fatalf("%d swept, %d tags left (%v)", swept, tags, err)
	}
}

// TestStrangersWalkOverPublicEventsOnly looks at the plans: none may read a whole
// table, and an unlimited filter must not pass over everybody's wraps.
func TestStrangersWalkOverPublicEventsOnly(t *testing.T) {
	// PostgreSQL's planner decides by what is stored.
	s := NewStore(dbtest.Open(t, filepath.Join(t.TempDir(), "events.db")), time.Now)
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	k := newKey(t).Public().String()
	for _, f := range []nostr.Filter{
		{},
		{Kinds: []int{1}},
		{Kinds: []int{1, 7}},
		{Kinds: []int{1, 1059}},
		{Authors: []string{k}},
		{IDs: []string{k}},
		{Authors: []string{k, k}, Kinds: []int{1, 2}},
		{Tags: nostr.TagMap{"p": {k}}},
		{Tags: nostr.TagMap{"p": {k}, "t": {"a", "b"}}, Kinds: []int{1}},
	} {
		for _, who := range []reader{{strict: true}, {strict: true, keys: []string{k}}} {
			for _, sc := range scans(f, who, 0, db.SQLite) {
				plan := explain(t, s, sc.keys(), append(sc.args, 10)...)
				if sc.ordered {
					newest := explain(t, s, sc.newest(), append(sc.args, 10)...)
					if slices.ContainsFunc(newest, func(step string) bool { return strings.Contains(step, "TEMP") }) {
						t.Errorf("%s: encodings are sorted: %q", f, newest)
					}
				}
				for _, step := range plan {
					walks := strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "event_public")
					if walks || len(f.Kinds)+len(f.IDs)+len(f.Authors)+len(f.Tags) == 0 && len(who.keys) == 0 && !strings.Contains(step, "event_public") && strings.Contains(step, "INDEX") {
						t.Errorf("%s: %s\n%s", f, step, sc.keys())
					}
					if len(f.Authors) > 0 && strings.HasSuffix(step, "event_kind (kind=?)") {
						t.Errorf("%s: all of a kind is walked over for one author: %s", f, step)
					}
				}
			}
		}
	}
	if list := scans(nostr.Filter{Kinds: []int{1059}}, reader{strict: true}, 0, db.SQLite); len(list) != 0 {
		t.Error("a stranger's question for wraps is asked of the database")
	}
}

// explain is how SQLite would run a query.
func explain(t *testing.T, s *Store, query string, args ...any) (steps []string) {
	t.Helper()
	var plan []struct {
		ID      int    `db:"id"`
		Parent  int    `db:"parent"`
		Notused int    `db:"notused"`
		Detail  string `db:"detail"`
	}
	if err := s.db.Read(t.Context(), func(tx *db.Tx) error { return tx.Select(&plan, "EXPLAIN QUERY PLAN "+query, args...) }); err != nil {
		t.Fatal(err)
	}
	for _, step := range plan {
		steps = append(steps, step.Detail)
	}
	return steps
}
