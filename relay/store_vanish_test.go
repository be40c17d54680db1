package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// TestVanishingForgetsAKey is NIP-62: everything of the key and every wrap for it
// up to that time goes, whatever its number, and nothing of it comes back. It
// excludes a deletion that stops after one batch, and one that takes others' events.
func TestVanishingForgetsAKey(t *testing.T) {
	s, _ := newStore(t)
	s.url = "wss://tower.example"
	alice, bob := newKey(t), newKey(t)
	a, at := alice.Public().String(), time.Now().Add(-time.Hour)
	toAlice := nostr.Tag{"p", a}
	var gone []*nostr.Event
	for i := range sweepBatch + 10 {
		gone = append(gone, signedAt(t, alice, at, 1, fmt.Sprint(i)))
	}
	gone = append(gone, signedAt(t, alice, at, 0, "{}"), signedAt(t, alice, at, 5, "x"),
		signedAt(t, newKey(t), at, 1059, "to alice", toAlice))
	later := signedAt(t, alice, at.Add(2*time.Minute), 1, "later")
	kept := []*nostr.Event{
		later, signedAt(t, bob, at, 1, "mentions alice", toAlice),
		signedAt(t, newKey(t), at, 1059, "to bob", nostr.Tag{"p", bob.Public().String()}),
		signedAt(t, newKey(t), at.Add(2*time.Minute), 1059, "to alice, later", toAlice),
	}
	s.mustSave(t, gone...)
	s.mustSave(t, kept...)
	ask := signedAt(t, alice, at.Add(time.Minute), kindVanish, "", nostr.Tag{"relay", "wss://other.example"}, nostr.Tag{"relay", "WSS://Tower.example/"})
	undo := signedAt(t, alice, at.Add(2*time.Minute), 5, "undo", nostr.Tag{"e", ask.ID})
	s.mustSave(t, ask, undo)
	want := []string{ask.ID, undo.ID}
	for _, ev := range kept {
		want = append(want, ev.ID)
	}
	got := s.ids(t, nostr.Filter{})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("left: %d events, want %d", len(got), len(want))
	}
	for _, ev := range gone[sweepBatch:] {
		if err := s.SaveEvent(t.Context(), ev); !errors.Is(err, errDeleted) {
			t.Errorf("kind %d came back: %v", ev.Kind, err)
		}
	}
	earlier := signedAt(t, alice, at, kindVanish, "", nostr.Tag{"relay", allRelays})
	s.mustSave(t, earlier)
	if err := s.SaveEvent(t.Context(), signedAt(t, alice, at.Add(30*time.Second), 1, "x")); !errors.Is(err, errDeleted) {
		t.Fatalf("an older request shortened a newer one: %v", err)
	}
}

// TestOnlyRequestsForThisRelayVanish: others are events like any.
func TestOnlyRequestsForThisRelayVanish(t *testing.T) {
	const own = "wss://tower.example"
	k := newKey(t)
	for _, c := range []struct {
		kind int
		tag  nostr.Tag
		want bool
	}{
		{kindVanish, nostr.Tag{"relay", own}, true},
		{kindVanish, nostr.Tag{"relay", own + "/"}, true},
		{kindVanish, nostr.Tag{"relay", "ALL_RELAYS"}, true},
		{kindVanish, nostr.Tag{"relay", "all_relays"}, false},
		{kindVanish, nostr.Tag{"relay", own + ".evil.example"}, false},
		{kindVanish, nostr.Tag{"relay", ""}, false},
		{kindVanish, nostr.Tag{"r", own}, false},
		{1, nostr.Tag{"relay", "ALL_RELAYS"}, false},
	} {
		if got := vanishes(signed(t, k, c.kind, "", c.tag), own); got != c.want {
			t.Errorf("kind %d %v: %v", c.kind, c.tag, got)
		}
	}
	if vanishes(signed(t, k, kindVanish, "", nostr.Tag{"relay", ""}), "") {
		t.Error("a relay without an address was named by nothing")
	}
}

// TestVanishingOverTheSocket: OK says what was done, a request that names nobody
// is refused, and standing does not keep anybody here.
func TestVanishingOverTheSocket(t *testing.T) {
	k := newKey(t)
	standing := &refuseAll{}
	s := newSite(t, func(c *Config) { c.Standing = standing })
	p := s.dial(t)
	note := signedAt(t, k, time.Now().Add(-time.Minute), 1, "x")
	p.mustPublish(note)
	standing.on.Store(true)
	if ok, why := p.publish(signed(t, k, kindVanish, "")); ok || why != errVanishNobody.Error() {
		t.Fatal(ok, why)
	}
	if ok, why := p.publish(signed(t, k, kindVanish, "", nostr.Tag{"relay", "wss://other.example"})); ok || why != "restricted: no" {
		t.Fatal(ok, why)
	}
	p.mustPublish(signed(t, k, kindVanish, "", nostr.Tag{"relay", "ALL_RELAYS"}))
	standing.on.Store(false)
	if ids, _ := p.query("a", fmt.Sprintf(`{"authors":[%q],"kinds":[1]}`, k.Public().String())); len(ids) != 0 {
		t.Fatal("still served", ids)
	}
	if ok, why := p.publish(note); ok || why != errDeleted.Error() {
		t.Fatal(ok, why)
	}
}

// refuseAll is a Standing that lets nobody write while it is on.
type refuseAll struct{ on atomic.Bool }

func (r *refuseAll) MayWrite(context.Context, timmy.PubKey, int) error {
	if r.on.Load() {
		return &timmy.Error{Code: timmy.Unauthorized, Message: "no"}
	}
	return nil
}
