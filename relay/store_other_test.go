package relay

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/eventstore/slicestore"
	"github.com/fiatjaf/eventstore/sqlite3"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/nip"
)

// liar is a store that answers every question with all it has, twice, the oldest first, and
// with what nobody stored.
type liar struct {
	list    []*nostr.Event
	foreign *nostr.Event
}

func (l *liar) Init() error { return nil }
func (l *liar) Close()      {}

func (l *liar) QueryEvents(context.Context, nostr.Filter) (chan *nostr.Event, error) {
	all := append(slices.Clone(l.list), nil, l.foreign)
	ch := make(chan *nostr.Event, 2*len(all))
	for range 2 {
		for _, ev := range all {
			ch <- ev
		}
	}
	close(ch)
	return ch, nil
}

func (l *liar) SaveEvent(_ context.Context, ev *nostr.Event) error {
	l.list = append(l.list, ev)
	return nil
}

func (l *liar) ReplaceEvent(ctx context.Context, ev *nostr.Event) error { return l.SaveEvent(ctx, ev) }
func (l *liar) DeleteEvent(context.Context, *nostr.Event) error         { return nil } // it forgets to

// plugged runs a promise on stores that others wrote, each with the faults it is known for.
func plugged(t *testing.T, promise func(t *testing.T, s *Store, c *clock)) {
	for name, open := range map[string]func(t *testing.T) eventstore.Store{
		"slicestore": func(*testing.T) eventstore.Store { return &slicestore.SliceStore{} },
		"sqlite3": func(t *testing.T) eventstore.Store {
			return &sqlite3.SQLite3Backend{DatabaseURL: filepath.Join(t.TempDir(), "theirs.db")}
		},
		"a liar": func(t *testing.T) eventstore.Store {
			return &liar{foreign: signed(t, newKey(t), 4, "?", nostr.Tag{"p", newKey(t).Public().String()})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, events := &clock{}, open(t)
			s := NewStore(dbtest.Open(t, newPlace(t)), c.now)
			s.url = testURL
			s.Plug(events)
			if err := s.Init(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(events.Close)
			promise(t, s, c)
		})
	}
}

// Excludes what the stores are known for: addresses matched by LIKE, two versions of one,
// duplicates that are no error, expired events, and events that come back.
func TestAPluggedStoreIsCheckedOnTheWayOut(t *testing.T) {
	plugged(t, func(t *testing.T, s *Store, c *clock) {
		k, at := newKey(t), time.Now().Add(-time.Hour)
		versions := map[string]*nostr.Event{}
		for i := range 3 {
			for _, d := range []string{"session-1", "session-10", "a_b", "axb", "%"} {
				ev := signedAt(t, k, at.Add(time.Duration(i)*time.Second), 30_000, fmt.Sprint(d, i), nostr.Tag{"d", d})
				versions[d] = ev
				s.mustSave(t, ev)
			}
		}
		for d, ev := range versions {
			if got := s.ids(t, nostr.Filter{Kinds: []int{30_000}, Tags: nostr.TagMap{"d": {d}}}); !slices.Equal(got, []string{ev.ID}) {
				t.Errorf("address %q has %v, want %s", d, got, ev.ID)
			}
			if err := s.SaveEvent(t.Context(), ev); !errors.Is(err, eventstore.ErrDupEvent) {
				t.Errorf("again: %v", err)
			}
			old := signedAt(t, k, at.Add(-time.Second), 30_000, "old", nostr.Tag{"d", d})
			if err := s.SaveEvent(t.Context(), old); !errors.Is(err, eventstore.ErrDupEvent) {
				t.Errorf("an older version: %v", err)
			}
		}
		soon := signed(t, k, 1, "soon", nostr.Tag{"expiration", fmt.Sprint(time.Now().Add(time.Minute).Unix())})
		gone := signedAt(t, k, at, 1, "gone")
		s.mustSave(t, soon, gone)
		notes := nostr.Filter{Kinds: []int{1}}
		if got := s.ids(t, notes); !slices.Equal(got, []string{soon.ID, gone.ID}) {
			t.Errorf("notes are %v", got)
		}
		s.mustSave(t, signed(t, k, 5, "", nostr.Tag{"e", gone.ID}, nostr.Tag{"a", "30000:" + k.Public().String() + ":a_b"}))
		c.advance(2 * time.Minute)
		if got := s.ids(t, notes); len(got) != 0 {
			t.Errorf("deleted and expired: %v", got)
		}
		if err := s.SaveEvent(t.Context(), gone); !errors.Is(err, errDeleted) && !errors.Is(err, eventstore.ErrDupEvent) {
			t.Errorf("a deleted one again: %v", err)
		}
		if got := s.ids(t, nostr.Filter{Kinds: []int{30_000}}); len(got) != 4 {
			t.Errorf("%d addresses are left, want 4", len(got))
		}
		c.advance(maxPast + maxFuture + time.Hour)
		if _, err := s.sweepTombstones(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.ids(t, notes); len(got) != 0 {
			t.Errorf("shown again once its tombstone was old: %v", got)
		}
	})
}

// Excludes an answer to a stranger that holds mail, a limit that counts what is hidden, and
// a key that vanished and is still shown, or comes back.
func TestAPluggedStoreTellsNobodyOfOthersMail(t *testing.T) {
	plugged(t, func(t *testing.T, s *Store, _ *clock) {
		me, author := newKey(t), newKey(t)
		mine := me.Public().String()
		var want []string
		for i := range 40 {
			at := time.Now().Add(time.Duration(i-100) * time.Second)
			wrap := signedAt(t, newKey(t), at, 1059, "x", nostr.Tag{"p", newKey(t).Public().String()})
			if i%4 == 0 {
				wrap = signedAt(t, newKey(t), at, 1059, "x", nostr.Tag{"p", mine})
				want = append(want, wrap.ID)
			}
			s.mustSave(t, wrap, signedAt(t, author, at, 1, fmt.Sprint(i)))
		}
		slices.Reverse(want)
		ask := func(f nostr.Filter, who reader) []string {
			list, _, err := s.query(t.Context(), f, who)
			if err != nil {
				t.Fatal(err)
			}
			ids := []string{}
			for _, x := range list {
				if nip.Verify(x.ev) != nil {
					t.Error("what is served does not verify")
				}
				ids = append(ids, x.ev.ID)
			}
			return ids
		}
		wraps := nostr.Filter{Kinds: []int{1059}, Limit: 5}
		if got := ask(wraps, reader{strict: true}); len(got) != 0 {
			t.Errorf("a stranger gets %v", got)
		}
		if got := ask(wraps, reader{strict: true, keys: []string{mine}}); !slices.Equal(got, want[:5]) {
			t.Errorf("I get %v, want %v", got, want[:5])
		}
		if got := ask(nostr.Filter{}, reader{strict: true}); len(got) != 40 {
			t.Errorf("a stranger gets %d events, want the 40 notes", len(got))
		}
		s.mustSave(t, signed(t, me, kindVanish, "", nostr.Tag{"relay", allRelays}), signed(t, author, kindVanish, "", nostr.Tag{"relay", testURL}))
		if got := ask(nostr.Filter{Kinds: []int{1, 1059}, Limit: 500}, reader{}); len(got) != 30 {
			t.Errorf("%d events are left of 30 wraps to others", len(got))
		}
		back := signedAt(t, author, time.Now().Add(-time.Hour), 1, "back")
		if err := s.SaveEvent(t.Context(), back); !errors.Is(err, errDeleted) {
			t.Errorf("an old event of a key that vanished: %v", err)
		}
	})
}

// Excludes a relay on a plugged store that does not delete what its operator bans, or does
// not answer as it does on its own.
func TestARelayOnAPluggedStore(t *testing.T) {
	events := &slicestore.SliceStore{}
	s := newSite(t, func(c *Config) { c.Events = events })
	p, q, banned, other := s.dial(t), s.dial(t), newKey(t), newKey(t)
	if ids, _ := q.query("a", `{"kinds":[1]}`); len(ids) != 0 {
		t.Fatalf("stored before: %v", ids)
	}
	first, second := signed(t, banned, 1, "first"), signed(t, other, 1, "second")
	for _, ev := range []*nostr.Event{first, second} {
		p.mustPublish(ev)
		q.expect(frame(t, "EVENT", "a", ev))
	}
	if ok, why := p.publish(first); !ok || why != "duplicate: already have this event" {
		t.Errorf("again: %v %q", ok, why)
	}
	if err := s.rules.set(t.Context(), rule{Subject: aboutKey, Value: banned.Public().String(), Reason: "spam"}); err != nil {
		t.Fatal(err)
	}
	s.sweep(t.Context())
	left, err := s.store.other.all(t.Context(), nostr.Filter{Kinds: []int{1}})
	if err != nil || len(left) != 1 || left[0].ID != second.ID {
		t.Errorf("%d notes are left in the store, %v", len(left), err)
	}
}
