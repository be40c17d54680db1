package relay

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db/dbtest"
)

// twoTowers are two relays on one PostgreSQL database, or nil while the tests run on
// SQLite, whose file has one tower.
func twoTowers(t *testing.T) (a, b *site) {
	t.Helper()
	if server == nil {
		return nil, nil
	}
	place := newPlace(t)
	on := func(c *Config) { c.DB = dbtest.Open(t, place) }
	return newSite(t, on), newSite(t, on)
}

// Excludes: an event that subscribers of another tower on the database never see, see
// twice, or see although it is not for them.
func TestEventsOfAnotherTowerComeLive(t *testing.T) {
	a, b := twoTowers(t)
	if a == nil {
		return
	}
	author, friend := newKey(t), newKey(t)
	writer, reader, stranger := a.dial(t), b.dial(t), b.dial(t)
	reader.auth(friend)
	if ids, _ := reader.query("mine", fmt.Sprintf(`{"#p":[%q]}`, friend.Public())); len(ids) != 0 {
		t.Fatalf("stored before: %v", ids)
	}
	stranger.query("all", `{"kinds":[1,1059]}`)
	note := signed(t, author, 1, "hello", nostr.Tag{"p", friend.Public().String()})
	wrap := signed(t, newKey(t), 1059, "sealed", nostr.Tag{"p", friend.Public().String()})
	for _, ev := range []*nostr.Event{note, wrap} {
		writer.mustPublish(ev)
		reader.expect(frame(t, "EVENT", "mine", ev))
	}
	stranger.expect(frame(t, "EVENT", "all", note))
	if ids, _ := b.dial(t).query("x", fmt.Sprintf(`{"ids":[%q]}`, note.ID)); len(ids) != 1 {
		t.Errorf("stored at the other: %v", ids)
	}
	reader.silent()
	stranger.silent()
}

// Excludes: an event that is read from the store before its hint comes, and then comes
// live as well; and one of a busy moment that is lost.
func TestEventsOfAnotherTowerComeOnce(t *testing.T) {
	a, b := twoTowers(t)
	if a == nil {
		return
	}
	author := newKey(t)
	const n = 150 // more than are looked for at once
	done := make(chan error, 1)
	events := make([]*nostr.Event, n)
	for i := range events {
		events[i] = signed(t, author, 1, fmt.Sprint(i))
	}
	writer := a.dial(t)
	go func() {
		for _, ev := range events {
			if ok, why := writer.publish(ev); !ok {
				done <- fmt.Errorf("refused: %s", why)
				return
			}
		}
		done <- nil
	}()
	type heard struct {
		p    *peer
		seen map[string]int
	}
	var all []heard
	for i := range 12 {
		p := b.dial(t)
		h := heard{p, map[string]int{}}
		ids, _ := p.query("s", `{"kinds":[1],"limit":500}`)
		for _, id := range ids {
			h.seen[id]++
		}
		all = append(all, h)
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, h := range all {
		for len(h.seen) < n {
			var got []any
			s := h.p.read()
			if err := json.Unmarshal([]byte(s), &got); err != nil || got[0] != "EVENT" {
				t.Fatalf("subscriber %d: %s", i, s)
			}
			h.seen[got[2].(map[string]any)["id"].(string)]++
		}
		h.p.silent()
		for id, times := range h.seen {
			if times != 1 {
				t.Errorf("subscriber %d got %s %d times", i, id, times)
			}
		}
	}
	if left := len(b.store.own); left != 0 {
		t.Errorf("%d events are remembered as the own of a tower that stored none", left)
	}
}

// Excludes: a key that vanishes at one tower and is still shown by another.
func TestVanishingIsHeardByTheOtherTower(t *testing.T) {
	a, b := twoTowers(t)
	if a == nil {
		return
	}
	author := newKey(t)
	at, there := a.dial(t), b.dial(t)
	for i := range 3 {
		at.mustPublish(signedAt(t, author, time.Now().Add(-time.Minute), 1, fmt.Sprint(i)))
	}
	filter := fmt.Sprintf(`{"kinds":[1],"authors":[%q]}`, author.Public())
	if ids, _ := there.query("x", filter); len(ids) != 3 {
		t.Fatalf("the other tower has %v", ids)
	}
	at.mustPublish(signed(t, author, kindVanish, "", nostr.Tag{"relay", allRelays}))
	if ids, _ := there.query("x", filter); len(ids) != 0 {
		t.Errorf("the other tower still has %v", ids)
	}
	old := signedAt(t, author, time.Now().Add(-time.Minute), 1, "again")
	if ok, why := there.publish(old); ok || why != errDeleted.Error() {
		t.Errorf("an old event at the other tower: %v %q", ok, why)
	}
}
