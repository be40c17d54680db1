package relay

import (
	"fmt"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/db/dbtest"
)

// TestRetention: what is older than its kind is kept goes and does not come back;
// the tower's own events, replaceable ones and deletions stay.
func TestRetention(t *testing.T) {
	day := 24 * time.Hour
	s := newSite(t, func(c *Config) {
		c.Policy.Retention = []Retention{{Kinds: KindRange{7, 7}, Age: 5 * day}, {Rest: true, Age: 30 * day}}
	})
	k := newKey(t)
	old := time.Now().Add(-29 * day)
	keep := map[string]bool{}
	for _, ev := range []struct {
		ev   *nostr.Event
		stay bool
	}{
		{signedAt(t, k, old, 7, "a reaction"), false},
		{signedAt(t, k, time.Now(), 7, "another"), true},
		{signedAt(t, k, old, 1, "a note"), false},
		{signedAt(t, k, old.Add(2*day), 1, "another"), true},
		{signedAt(t, k, old, 0, "{}"), true},
		{signedAt(t, k, old, 5, "", nostr.Tag{"e", k.Public().String()}), true},
		{signedAt(t, k, old, 30000, "", nostr.Tag{"d", "x"}), false},
		{signedAt(t, s.self, old, 1, "the tower's"), true},
	} {
		if err := s.store.SaveEvent(t.Context(), ev.ev); err != nil {
			t.Fatal(err)
		}
		keep[ev.ev.ID] = ev.stay
	}
	s.clock.advance(2 * day)
	s.sweepOld(t.Context())
	list, err := s.Query(t.Context(), nostr.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, ev := range list {
		left[ev.ID] = true
	}
	for id, stay := range keep {
		if left[id] != stay {
			t.Errorf("%s: stored %v, want %v", id, left[id], stay)
		}
	}
	again := signedAt(t, k, old, 7, "a reaction")
	if ok, why := s.dial(t).publish(again); ok || why != "invalid: created_at is too old: kind 7 is kept for 5 days" {
		t.Error(ok, why)
	}
}

// TestVanishingOfALargeKey: a key with more events than a few batches vanishes
// without holding the writer, is hidden from the first moment, and is gone in the
// end, also when the tower is stopped half-way.
func TestVanishingOfALargeKey(t *testing.T) {
	path := newPlace(t)
	d := dbtest.Open(t, path)
	s := NewStore(d, time.Now)
	s.url = testURL
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	k, events := newKey(t), (vanishBatches+3)*sweepBatch
	hex := k.Public().String()
	at := time.Now().Add(-time.Hour)
	proto := signedAt(t, k, at, 1, "x", nostr.Tag{"t", "y"})
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		for i := range events {
			ev := *proto
			ev.ID = fmt.Sprintf("%064x", i+1) // nothing here looks at signatures
			raw, err := ev.MarshalJSON()
			if err != nil {
				return err
			}
			r, err := newRow(&ev, raw)
			if err != nil {
				return err
			}
			if _, err := r.insert(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	request := signed(t, k, kindVanish, "", nostr.Tag{"relay", testURL})
	if err := s.SaveEvent(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	var left int
	count := func() {
		t.Helper()
		if err := d.Read(t.Context(), func(tx *db.Tx) error { return tx.Get(&left, `SELECT count(*) FROM event WHERE kind = 1`) }); err != nil {
			t.Fatal(err)
		}
	}
	if count(); left != events-vanishBatches*sweepBatch {
		t.Errorf("%d of %d are left after the answer", left, events)
	}
	shown := func(s *Store) int {
		list, _, err := s.query(t.Context(), nostr.Filter{Authors: []string{hex}, Kinds: []int{1}}, reader{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := shown(s); n != 0 {
		t.Errorf("%d are still shown", n)
	}
	// Another process goes on where this one stopped.
	again := NewStore(d, time.Now)
	if err := again.Init(); err != nil {
		t.Fatal(err)
	}
	if n := shown(again); n != 0 {
		t.Errorf("%d are shown after a restart", n)
	}
	for rounds := 0; ; rounds++ {
		n, err := again.sweepVanished(t.Context())
		if err != nil || rounds > 10 {
			t.Fatal(err, rounds)
		}
		if n < sweepBatch {
			break
		}
	}
	if count(); left != 0 || len(again.vanishing()) != 0 {
		t.Errorf("%d are left", left)
	}
	if err := again.SaveEvent(t.Context(), proto); err == nil {
		t.Error("it came back")
	}
	third := NewStore(d, time.Now)
	if err := third.Init(); err != nil || len(third.vanishing()) != 0 {
		t.Error("it is not known to be done", err)
	}
}

// TestTombstonesEndWithWhatTheyRefuse: they are kept as long as the event they are
// for could come back, and no longer, so the tables do not grow for ever.
func TestTombstonesEndWithWhatTheyRefuse(t *testing.T) {
	s := newSite(t)
	k, vanished := newKey(t), newKey(t)
	ev := signed(t, k, 1, "x")
	address := fmt.Sprintf("30000:%s:d", k.Public())
	p := s.dial(t)
	p.mustPublish(signed(t, k, 5, "", nostr.Tag{"e", ev.ID}, nostr.Tag{"a", address}))
	p.mustPublish(signed(t, vanished, kindVanish, "", nostr.Tag{"relay", "ALL_RELAYS"}))
	rows := func() (n int) {
		t.Helper()
		err := s.cfg.DB.Read(t.Context(), func(tx *db.Tx) error {
			return tx.Get(&n, `SELECT (SELECT count(*) FROM tombstone) + (SELECT count(*) FROM address_tombstone) + (SELECT count(*) FROM vanished)`)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.clock.advance(maxPast)
	s.sweepOld(t.Context())
	if n := rows(); n != 3 {
		t.Errorf("%d rows while the event could come back", n)
	}
	s.clock.advance(2 * maxFuture)
	s.sweepOld(t.Context())
	if n := rows(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if ok, why := p.publish(ev); ok || why != "invalid: created_at is too old" {
		t.Error(ok, why)
	}
}
