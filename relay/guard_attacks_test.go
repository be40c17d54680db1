package relay

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// TestMutatedEventsHurtNobody throws thousands of events from a grammar at the
// relay: tags of every broken shape, kinds and times out of range. One frame with
// the tag ["d"] ends the process of a khatru that stands alone.
func TestMutatedEventsHurtNobody(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond, c.Limits.BadSignatures = 1_000_000, 1_000_000 })
	rng := rand.New(rand.NewPCG(3, 4))
	k := newKey(t)
	values := []string{
		`[]`, `[["d"]]`, `[["d",""]]`, `[[]]`, `[["-"]]`, `[["e"]]`, `[["a"]]`, `[["expiration"]]`, `[["expiration","x"]]`, `[[""]]`,
		`[["d","x"],["d"]]`, `[["a","30000:` + k.Public().String() + `"]]`, `[["a","::"]]`, `null`, `1`, `"x"`, `{}`, `[1]`, `[[null]]`,
		`-1`, `0`, `3`, `5`, `10000`, `20000`, `30000`, `40000`, `65535`, `65536`, `1e3`, `9223372036854775807`, `1059`, `""`, `"\ud800"`,
	}
	names := []string{"tags", "tags", "tags", "kind", "kind", "content", "created_at", "sig", "pubkey", "id"}
	p := s.dial(t)
	for i := range 2_000 {
		ev := &nostr.Event{Kind: []int{0, 1, 3, 5, 10_000, 30_000, 40_000}[rng.IntN(7)], CreatedAt: nostr.Now(), Tags: nostr.Tags{}}
		if rng.IntN(2) == 0 {
			// Well signed and badly shaped: what a real attacker sends.
			ev.Tags = []nostr.Tags{{{"d"}}, {{}}, {{"-"}}, {{"a", ":"}}, {{"e", ""}}, {{"d", "x"}, {}}}[rng.IntN(6)]
		}
		ev.Content = fmt.Sprint(i)
		if err := k.Sign(ev); err != nil {
			t.Fatal(err)
		}
		b, err := ev.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 {
			m[names[rng.IntN(len(names))]] = json.RawMessage(values[rng.IntN(len(values))])
		}
		p.send(frame(t, "EVENT", m))
		for {
			got := p.read()
			if strings.HasPrefix(got, `["OK"`) || strings.HasPrefix(got, `["NOTICE","invalid`) {
				break
			}
		}
	}
	p.silent()
	if n := s.Stats().Panics; n != 0 {
		t.Fatalf("%d panics", n)
	}
}

// TestStrangersCannotCensor is khatru's belief in any kind 5 that names an id.
func TestStrangersCannotCensor(t *testing.T) {
	s := newSite(t)
	victim, eve := newKey(t), newKey(t)
	p := s.dial(t)
	for i := range 50 {
		ev := signed(t, victim, []int{1, 0, 30_023}[i%3], fmt.Sprint(i), nostr.Tag{"d", fmt.Sprint(i)})
		ev.CreatedAt += nostr.Timestamp(i)
		if err := victim.Sign(ev); err != nil {
			t.Fatal(err)
		}
		p.mustPublish(signed(t, eve, 5, "", nostr.Tag{"e", ev.ID},
			nostr.Tag{"a", fmt.Sprintf("%d:%s:%d", ev.Kind, ev.PubKey, i)}, nostr.Tag{"a", fmt.Sprintf("%d:%s:", ev.Kind, ev.PubKey)}))
		p.mustPublish(ev)
	}
}

// TestRefusedDeletionsDoNothing: a kind 5 that policy refuses must not delete.
func TestRefusedDeletionsDoNothing(t *testing.T) {
	s := newSite(t)
	k := newKey(t)
	ev := signed(t, k, 1, "stays")
	p := s.dial(t)
	p.mustPublish(ev)
	s.cfg.Standing = standing{fmt.Errorf("no")}
	if ok, _ := p.publish(signed(t, k, 5, "", nostr.Tag{"e", ev.ID})); ok {
		t.Fatal("taken")
	}
	s.cfg.Standing = nil
	if ids, _ := p.query("a", `{"ids":["`+ev.ID+`"]}`); len(ids) != 1 {
		t.Fatal("the event is gone")
	}
}

// TestAuthEventsReachNobody: whoever sees one could use it.
func TestAuthEventsReachNobody(t *testing.T) {
	s := newSite(t)
	reader, p, k := s.dial(t), s.dial(t), newKey(t)
	if _, closed := reader.query("a", `{}`); closed != "" {
		t.Fatal(closed)
	}
	for _, kind := range []int{22242, 27235} {
		if ok, _ := p.publish(signed(t, k, kind, "")); ok {
			t.Error(kind)
		}
	}
	p.auth(k)
	reader.silent()
	if ids, _ := p.query("q", `{"authors":["`+k.Public().String()+`"]}`); len(ids) != 0 {
		t.Fatal("stored")
	}
}

// TestUnreadAnswersHoldNoReaders: guests that ask much and read nothing must not
// keep database handles from others.
func TestUnreadAnswersHoldNoReaders(t *testing.T) {
	s := newSite(t)
	k := newKey(t)
	for i := range 200 {
		if err := s.store.SaveEvent(t.Context(), signed(t, k, 1, fmt.Sprint(i, strings.Repeat("x", 20_000)))); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		stall(t, s)
	}
	p := s.dial(t)
	for i := range 20 {
		start := time.Now()
		p.mustPublish(signed(t, k, 1, fmt.Sprint("live", i)))
		if ids, closed := p.query("q", `{"kinds":[1],"limit":3}`); len(ids) != 3 || closed != "" {
			t.Fatal(ids, closed)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("took %v", d)
		}
		p.send(`["CLOSE","q"]`)
	}
}
