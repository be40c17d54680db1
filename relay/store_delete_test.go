package relay

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// TestOnlyTheAuthorDeletes is NIP-09 with a stranger who wants to censor:
// before, after, by id and by address.
func TestOnlyTheAuthorDeletes(t *testing.T) {
	s, _ := newStore(t)
	alice, eve := newKey(t), newKey(t)
	a, e := alice.Public().String(), eve.Public().String()
	note := signed(t, alice, 1, "note")
	long := signed(t, alice, 30_023, "long", nostr.Tag{"d", "x"})
	s.mustSave(t,
		signed(t, eve, 5, "before", nostr.Tag{"e", note.ID}, nostr.Tag{"a", "30023:" + a + ":x"}, nostr.Tag{"a", "30023:" + e + ":x"}),
		note, long,
		signed(t, eve, 5, "after", nostr.Tag{"e", note.ID}, nostr.Tag{"e", long.ID}, nostr.Tag{"a", "30023:" + a + ":x"}))
	if n := len(s.ids(t, nostr.Filter{Authors: []string{a}})); n != 2 {
		t.Fatalf("%d of 2 events are left", n)
	}
	del := signed(t, alice, 5, "", nostr.Tag{"e", note.ID}, nostr.Tag{"e", "nonsense"}, nostr.Tag{"a", "x:y"}, nostr.Tag{"a", "1:" + a + ":"})
	s.mustSave(t, del)
	if err := s.SaveEvent(t.Context(), note); !errors.Is(err, errDeleted) {
		t.Fatalf("a deleted event came back: %v", err)
	}
	want := []string{del.ID, long.ID}
	got := s.ids(t, nostr.Filter{Authors: []string{a}})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%v", got)
	}
}

// TestDeletingAnAddressEndsAtItsTime: all versions up to the deletion, none after.
func TestDeletingAnAddressEndsAtItsTime(t *testing.T) {
	s, _ := newStore(t)
	k, at := newKey(t), time.Now().Add(-time.Hour)
	version := func(d time.Duration, name string) *nostr.Event {
		return signedAt(t, k, at.Add(d), 30_023, fmt.Sprint(d), nostr.Tag{"d", name})
	}
	address := func(name string) nostr.Tag { return nostr.Tag{"a", "30023:" + k.Public().String() + ":" + name} }
	s.mustSave(t, version(0, "x"), version(0, "xy"), version(0, "a:b"), version(0, ""))
	s.mustSave(t, signedAt(t, k, at.Add(time.Minute), 5, "", address("x"), address("a:b")))
	s.mustSave(t, signedAt(t, k, at.Add(time.Second), 5, "earlier", address("x")))
	for _, d := range []time.Duration{0, time.Second, time.Minute} {
		if err := s.SaveEvent(t.Context(), version(d, "x")); !errors.Is(err, errDeleted) {
			t.Errorf("the version of %v came back: %v", d, err)
		}
	}
	s.mustSave(t, version(2*time.Minute, "x"))
	if n := len(s.ids(t, nostr.Filter{Kinds: []int{30_023}})); n != 3 {
		t.Fatalf("%d events, want x, xy and the empty one", n)
	}
	profile := signedAt(t, k, at, 0, "{}")
	s.mustSave(t, profile, signedAt(t, k, at.Add(time.Minute), 5, "", nostr.Tag{"a", "0:" + k.Public().String() + ":"}))
	if n := len(s.ids(t, nostr.Filter{Kinds: []int{0}})); n != 0 {
		t.Fatal("the profile is still there")
	}
}

// TestDeletionsStay: a deletion of a deletion does nothing.
func TestDeletionsStay(t *testing.T) {
	s, _ := newStore(t)
	k := newKey(t)
	note := signed(t, k, 1, "x")
	first := signed(t, k, 5, "", nostr.Tag{"e", note.ID})
	s.mustSave(t, note, first, signed(t, k, 5, "", nostr.Tag{"e", first.ID}))
	if got := s.ids(t, nostr.Filter{IDs: []string{first.ID}}); len(got) != 1 {
		t.Fatal("the deletion was deleted")
	}
	early := signed(t, k, 5, "early", nostr.Tag{"e", note.ID})
	s.mustSave(t, signed(t, k, 5, "", nostr.Tag{"e", early.ID}), early)
	if err := s.SaveEvent(t.Context(), note); !errors.Is(err, errDeleted) {
		t.Fatal(err)
	}
}

// TestWrapsAreDeletedByTheirReceiver is NIP-59: their author is a key that
// nobody has. Nobody else may.
func TestWrapsAreDeletedByTheirReceiver(t *testing.T) {
	s, _ := newStore(t)
	bob, eve := newKey(t), newKey(t)
	to := nostr.Tag{"p", bob.Public().String()}
	wrap := signed(t, newKey(t), 1059, "x", to)
	dm := signed(t, newKey(t), 4, "x", to)
	s.mustSave(t, wrap, dm, signed(t, eve, 5, "", nostr.Tag{"e", wrap.ID}))
	if n := len(s.ids(t, nostr.Filter{IDs: []string{wrap.ID}})); n != 1 {
		t.Fatal("a stranger deleted it")
	}
	s.mustSave(t, signed(t, bob, 5, "", nostr.Tag{"e", wrap.ID}, nostr.Tag{"e", dm.ID}))
	if got := s.ids(t, nostr.Filter{IDs: []string{wrap.ID, dm.ID}}); !slices.Equal(got, []string{dm.ID}) {
		t.Fatalf("left: %v", got)
	}
	if err := s.SaveEvent(t.Context(), wrap); !errors.Is(err, errDeleted) {
		t.Fatal(err)
	}
}
