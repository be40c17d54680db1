package relay

import (
	"context"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

func follows(t *testing.T, k nip.Key, at time.Time, whom ...nip.Key) *nostr.Event {
	t.Helper()
	var tags nostr.Tags
	for _, w := range whom {
		tags = append(tags, nostr.Tag{"p", w.Public().String()})
	}
	return signedAt(t, k, at, nostr.KindFollowList, "", tags...)
}

// TestTheWebIsTwoStepsWide: the operators, whom they follow and whom those follow,
// from the own store and from other relays, newest list first; kept over a restart
// without the relays. Excluded: a web that grows a third step, one that an old list
// or one from the future changes, and one that a relay's silence empties.
func TestTheWebIsTwoStepsWide(t *testing.T) {
	boss, near, nearer, far, further, dropped := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	s := newSite(t)
	now := time.Now()
	if err := s.store.SaveEvent(t.Context(), follows(t, boss, now.Add(-time.Hour), near, nearer)); err != nil {
		t.Fatal(err)
	}
	// A list as people have them is longer than other events may be.
	long := []nip.Key{far}
	for range 50 {
		long = append(long, newKey(t))
	}
	list := follows(t, near, now.Add(-time.Minute), long...)
	for i := range 1500 {
		list.Tags = append(list.Tags, nostr.Tag{"t", string(rune('a' + i%26))})
	}
	if err := near.Sign(list); err != nil {
		t.Fatal(err)
	}
	other := newStoring(
		t, follows(t, boss, now.Add(-2*time.Hour), dropped), list, follows(t, near, now.Add(24*time.Hour), dropped),
		follows(t, far, now, further), follows(t, nearer, now, boss),
	)
	client := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	w := NewWeb(WebConfig{DB: s.cfg.DB, Operators: []timmy.PubKey{boss.Public()}, Relays: []string{other.url}, Client: client})
	check := func(w *Web) {
		t.Helper()
		for name, c := range map[string]struct {
			key nip.Key
			in  bool
		}{
			"operator": {boss, true}, "followed": {near, true}, "followed by those": {far, true}, "a step too far": {further, false},
			"followed once": {dropped, false}, "stranger": {newKey(t), false}, "the fiftieth": {long[50], true},
		} {
			if got := w.Trusts(c.key.Public().String()); got != c.in {
				t.Errorf("%s: trusted %v", name, got)
			}
		}
	}
	// The relay's future list hides its good one from a filter by author: both came.
	w.remake(t.Context(), true)
	check(w)
	if w.Size() != 3+51 || w.Trusts("nobody") {
		t.Errorf("%d keys", w.Size())
	}
	again := NewWeb(WebConfig{DB: s.cfg.DB, Operators: []timmy.PubKey{boss.Public()}, Relays: []string{"ws://127.0.0.1:1"}, Client: client})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- again.Run(ctx) }()
	eventually(t, "the kept web", func() bool { return again.Size() == w.Size() })
	check(again)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// Who is no longer followed is forgotten.
	if err := s.store.SaveEvent(t.Context(), follows(t, boss, now, nearer)); err != nil {
		t.Fatal(err)
	}
	w.remake(t.Context(), true)
	if w.Trusts(near.Public().String()) || w.Trusts(far.Public().String()) || w.Size() != 2 {
		t.Errorf("%d keys after the operator followed fewer", w.Size())
	}
}
