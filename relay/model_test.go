package relay

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"pgregory.net/rapid"

	"github.com/timmy-tower/timmy/nip"
)

// model is NIP-01 said again: what is stored, who has subscribed to what, and what each
// is owed.
type model struct {
	t      *testing.T
	rt     *rapid.T
	keys   []nip.Key
	epoch  time.Time
	stored map[string]*nostr.Event
	known  []*nostr.Event // all that were ever published
	peers  []*peer
	subs   []map[string][]nostr.Filter // by peer, then id
	n      int
}

// newest first, and of one second the lowest id.
func newest(a, b *nostr.Event) int {
	if a.CreatedAt != b.CreatedAt {
		return int(b.CreatedAt - a.CreatedAt)
	}
	return strings.Compare(a.ID, b.ID)
}

// slot is what only one event may have; "": any number.
func slot(ev *nostr.Event) string {
	switch {
	case nostr.IsReplaceableKind(ev.Kind):
		return fmt.Sprint(ev.Kind, ":", ev.PubKey)
	case nostr.IsAddressableKind(ev.Kind):
		return fmt.Sprint(ev.Kind, ":", ev.PubKey, ":", ev.Tags.GetD())
	}
	return ""
}

// fits is whether an event matches a filter, said without the code under test.
func fits(f nostr.Filter, ev *nostr.Event) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	ok := in(f.IDs, ev.ID) && in(f.Authors, ev.PubKey) && (len(f.Kinds) == 0 || slices.Contains(f.Kinds, ev.Kind)) &&
		(f.Since == nil || ev.CreatedAt >= *f.Since) && (f.Until == nil || ev.CreatedAt <= *f.Until)
	for name, values := range f.Tags {
		ok = ok && slices.ContainsFunc(ev.Tags, func(t nostr.Tag) bool { return len(t) > 1 && t[0] == name && slices.Contains(values, t[1]) })
	}
	return ok
}

// answer is the ids that a REQ has to bring before its EOSE.
func (m *model) answer(filters []nostr.Filter) map[string]bool {
	out := map[string]bool{}
	for _, f := range filters {
		all := slices.SortedFunc(maps.Values(m.stored), newest)
		all = slices.DeleteFunc(all, func(ev *nostr.Event) bool { return !fits(f, ev) })
		if f.Limit > 0 || f.LimitZero {
			all = all[:min(len(all), f.Limit)]
		}
		for _, ev := range all {
			out[ev.ID] = true
		}
	}
	return out
}

func (m *model) event() *nostr.Event {
	kind := rapid.SampledFrom([]int{1, 1, 7, 0, 10_002, 30_023, 20_001}).Draw(m.rt, "kind")
	tags := nostr.Tags{}
	for _, name := range []string{"d", "t", "r"} {
		if value := rapid.SampledFrom([]string{"", "x", "y", "none"}).Draw(m.rt, name); value != "none" {
			tags = append(tags, nostr.Tag{name, value})
		}
	}
	m.n++
	at := m.epoch.Add(time.Duration(rapid.IntRange(-5, 5).Draw(m.rt, "at")) * time.Second)
	return signedAt(m.t, rapid.SampledFrom(m.keys).Draw(m.rt, "key"), at, kind, fmt.Sprint(m.n), tags...)
}

func (m *model) filter() (f nostr.Filter) {
	draw := func(name string) bool { return rapid.IntRange(0, 3).Draw(m.rt, name) == 0 }
	if draw("by id") && len(m.known) > 0 {
		f.IDs = []string{rapid.SampledFrom(m.known).Draw(m.rt, "id").ID}
	}
	if draw("by author") {
		f.Authors = []string{rapid.SampledFrom(m.keys).Draw(m.rt, "author").Public().String()}
	}
	if rapid.Bool().Draw(m.rt, "by kind") {
		f.Kinds = rapid.SliceOfNDistinct(rapid.SampledFrom([]int{1, 7, 0, 10_002, 30_023, 20_001}), 1, 3, rapid.ID).Draw(m.rt, "kinds")
	}
	for _, name := range []string{"d", "t", "r"} {
		if draw("by " + name) {
			if f.Tags == nil {
				f.Tags = nostr.TagMap{}
			}
			f.Tags[name] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 1, 2, rapid.ID).Draw(m.rt, name)
		}
	}
	bound := func(name string) *nostr.Timestamp {
		if !draw(name) {
			return nil
		}
		at := nostr.Timestamp(m.epoch.Unix() + int64(rapid.IntRange(-6, 6).Draw(m.rt, name)))
		return &at
	}
	f.Since, f.Until = bound("since"), bound("until")
	if draw("limited") {
		f.Limit = rapid.IntRange(0, 3).Draw(m.rt, "limit")
		f.LimitZero = f.Limit == 0
	}
	return f
}

func (m *model) peer() (int, *peer) {
	n := rapid.IntRange(0, len(m.peers)-1).Draw(m.rt, "peer")
	return n, m.peers[n]
}

func (m *model) subID() string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.rt, "sub") }

// publish publishes a new event or one of before, and holds every peer to what it gets.
func (m *model) publish(*rapid.T) {
	by, p := m.peer()
	ev := m.event()
	if len(m.known) > 0 && rapid.IntRange(0, 5).Draw(m.rt, "again") == 0 {
		ev = rapid.SampledFrom(m.known).Draw(m.rt, "known")
	}
	m.known = append(m.known, ev)
	taken := m.store(ev)
	p.send(frame(m.t, "EVENT", ev))
	for i := range m.peers { // its publisher first: with the OK all others have it
		n := (by + i) % len(m.peers)
		m.peers[n].send(`["PING"]`)
		want := map[string]bool{}
		for id, filters := range m.subs[n] {
			if taken && slices.ContainsFunc(filters, func(f nostr.Filter) bool { return fits(f, ev) }) {
				want[id+" "+ev.ID] = true
			}
		}
		if n == by {
			want["OK "+ev.ID] = true
		}
		m.gets(m.peers[n], want, `"unsupported: PING"`)
	}
}

// store says what becomes of an event.
func (m *model) store(ev *nostr.Event) (taken bool) {
	if m.stored[ev.ID] != nil {
		return false
	}
	if nostr.IsEphemeralKind(ev.Kind) {
		return true
	}
	if s := slot(ev); s != "" {
		for id, old := range m.stored {
			if slot(old) != s {
				continue
			}
			if newest(old, ev) < 0 {
				return false
			}
			delete(m.stored, id)
		}
	}
	m.stored[ev.ID] = ev
	return true
}

// gets reads up to the frame that ends with last, and holds what came to what was owed.
func (m *model) gets(p *peer, want map[string]bool, last string) {
	got := map[string]bool{}
	for {
		s := p.read()
		var parts []json.RawMessage
		if err := json.Unmarshal([]byte(s), &parts); err != nil {
			m.rt.Fatal(err)
		}
		label, _ := text(parts[0])
		about, _ := text(parts[1])
		switch {
		case label == "EVENT":
			var ev nostr.Event
			if err := json.Unmarshal(parts[2], &ev); err != nil {
				m.rt.Fatal(err)
			}
			about += " " + ev.ID
		case label == "OK":
			if string(parts[2]) != "true" {
				m.rt.Fatalf("refused: %s", s)
			}
			about = "OK " + about
		case strings.Contains(s, last):
			if !maps.Equal(got, want) {
				m.rt.Fatalf("connection %d got\n%v, want\n%v, with\n%v", slices.Index(m.peers, p), got, want, m.subs)
			}
			return
		default:
			m.rt.Fatalf("unexpected: %s", s)
		}
		if got[about] {
			m.rt.Fatalf("twice: %s", about)
		}
		got[about] = true
	}
}

// request opens a subscription, or replaces one.
func (m *model) request(*rapid.T) {
	n, p := m.peer()
	id, parts := m.subID(), []any{"REQ"}
	parts = append(parts, id)
	var filters []nostr.Filter
	for range rapid.IntRange(1, 2).Draw(m.rt, "filters") {
		f := m.filter()
		filters = append(filters, f)
		parts = append(parts, f)
	}
	m.subs[n][id] = filters
	want := map[string]bool{}
	for of := range m.answer(filters) {
		want[id+" "+of] = true
	}
	p.send(frame(m.t, parts...))
	m.gets(p, want, fmt.Sprintf(`["EOSE",%q`, id))
}

func (m *model) close(*rapid.T) {
	n, p := m.peer()
	id := m.subID()
	p.send(frame(m.t, "CLOSE", id))
	p.silent()
	delete(m.subs[n], id)
}

// TestSubscriptionsFollowTheNIP opens, replaces and closes subscriptions of three
// connections and publishes regular, replaceable, addressable and ephemeral events in any
// order: each connection gets what NIP-01 owes it, once, and nothing else.
func TestSubscriptionsFollowTheNIP(t *testing.T) {
	keys := []nip.Key{newKey(t), newKey(t)}
	rapid.Check(t, func(rt *rapid.T) {
		s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond = 1_000_000 })
		defer s.stop()
		m := &model{t: t, rt: rt, keys: keys, epoch: time.Now().Add(-time.Minute), stored: map[string]*nostr.Event{}}
		for range 3 {
			p := s.dial(t)
			defer func() { _ = p.ws.CloseNow() }()
			m.peers, m.subs = append(m.peers, p), append(m.subs, map[string][]nostr.Filter{})
		}
		rt.Repeat(map[string]func(*rapid.T){
			"publish": m.publish, "publish more": m.publish, "publish most": m.publish, "request": m.request, "request more": m.request, "close": m.close,
		})
	})
}
