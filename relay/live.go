package relay

import (
	"slices"
	"sync"

	"github.com/nbd-wtf/go-nostr"
)

// live finds the subscriptions that an event may match, without looking at the
// others: each filter is listed under the values of its narrowest member, and
// under rest if it has none.
type live struct {
	mu    sync.RWMutex
	index map[entry]map[*sub]struct{}
	rest  map[*sub]struct{}

	shared bool   // other towers store events, which come live when they were perhaps read before
	fresh  []*sub // opened since it was last looked for those

	landing sync.Map // ids of events on their way from the store to broadcast
}

// entry is one value of one member of a filter: "ids", "authors", "kinds", or
// the name of a tag.
type entry struct {
	member, value string
	kind          int
}

func newLive() *live {
	return &live{index: map[entry]map[*sub]struct{}{}, rest: map[*sub]struct{}{}}
}

// entries says where a filter is listed; none means rest.
func entries(f nostr.Filter) []entry {
	var list []entry
	named := func(member string, values []string) []entry {
		for _, v := range values {
			list = append(list, entry{member: member, value: v})
		}
		return list
	}
	if len(f.IDs) > 0 {
		return named("ids", f.IDs)
	}
	if name, ok := narrowest(f); ok {
		return named(name, f.Tags[name])
	}
	if len(f.Authors) > 0 {
		return named("authors", f.Authors)
	}
	for _, k := range f.Kinds {
		list = append(list, entry{member: "kinds", kind: k})
	}
	return list
}

func (l *live) add(s *sub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range s.filters {
		if nothing(f) {
			continue
		}
		list := entries(f)
		if len(list) == 0 {
			l.rest[s] = struct{}{}
		}
		for _, e := range list {
			if l.index[e] == nil {
				l.index[e] = map[*sub]struct{}{}
			}
			l.index[e][s] = struct{}{}
		}
	}
}

func (l *live) remove(s *sub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.rest, s)
	for _, f := range s.filters {
		for _, e := range entries(f) {
			delete(l.index[e], s)
			if len(l.index[e]) == 0 {
				delete(l.index, e)
			}
		}
	}
}

// size is how many index entries there are.
func (l *live) size() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.index) + len(l.rest)
}

// candidates lists each subscription once that may match.
func (l *live) candidates(ev *nostr.Event) []*sub {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []*sub
	take := func(set map[*sub]struct{}) {
		for s := range set {
			list = append(list, s)
		}
	}
	take(l.rest)
	take(l.index[entry{member: "ids", value: ev.ID}])
	take(l.index[entry{member: "authors", value: ev.PubKey}])
	take(l.index[entry{member: "kinds", kind: ev.Kind}])
	for _, t := range indexed(ev) {
		take(l.index[entry{member: t.name, value: t.value}])
	}
	if len(list) < 2 {
		return list
	}
	slices.SortFunc(list, func(a, b *sub) int { return int(a.serial - b.serial) })
	return slices.Compact(list)
}

// broadcast hands an event, encoded once, to every subscription that matches and
// may read it. It waits for no reader.
func (l *live) broadcast(ev *nostr.Event, raw []byte) {
	for _, s := range l.candidates(ev) {
		s.deliver(ev, raw)
	}
}

// sub is a subscription: live from before its stored part is read, so that no
// event falls between the two.
type sub struct {
	id      string
	serial  int64 // unique in the process
	head    []byte
	filters []nostr.Filter
	values  int // of all filters
	guest   *guest

	mu      sync.Mutex
	open    bool // EOSE was sent
	closed  bool
	pending []found
	sent    map[string]struct{} // stored events that may still come live
	read    map[string]struct{} // the same of those that other towers may have stored
}

func (s *sub) matches(ev *nostr.Event) bool {
	return slices.ContainsFunc(s.filters, func(f nostr.Filter) bool { return matches(f, ev) })
}

func (s *sub) deliver(ev *nostr.Event, raw []byte) {
	if !s.matches(ev) || !mayRead(ev, s.guest.authed()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sent[ev.ID]; known {
		delete(s.sent, ev.ID)
		return
	}
	if _, known := s.read[ev.ID]; known {
		return
	}
	switch {
	case s.closed:
	case s.open:
		s.guest.live(message{s.head, raw})
	case len(s.pending) < maxPending:
		s.pending = append(s.pending, found{ev, raw})
	default:
		// A long stored part on a busy relay: from here on live events come
		// between the stored ones, which NIP-01 allows.
		s.flush(nil)
		s.guest.live(message{s.head, raw})
	}
}

// opened sends what came in while the stored part was read, except what was part
// of it.
//
// An event can be read from the store before it is broadcast. Those are
// remembered, so that they do not come twice.
func (s *sub) opened(sent map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush(sent)
	for id := range sent {
		if _, coming := s.guest.r.live.landing.Load(id); coming {
			if s.sent == nil {
				s.sent = map[string]struct{}{}
			}
			s.sent[id] = struct{}{}
		}
	}
	if s.guest.r.live.shared && len(sent) > 0 {
		s.read = sent
		s.guest.r.live.giveFresh([]*sub{s})
	}
}

func (l *live) giveFresh(list []*sub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = append(l.fresh, list...)
}

func (l *live) takeFresh() []*sub {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.fresh
	l.fresh = nil
	return list
}

// forgetRead: all that was stored when s was opened has come live.
func (s *sub) forgetRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = nil
}

func (s *sub) flush(sent map[string]struct{}) {
	for _, x := range s.pending {
		if _, known := sent[x.ev.ID]; !known && !s.closed {
			s.guest.live(message{s.head, x.raw})
		}
	}
	s.pending, s.open = nil, true
}

// close ends it: nothing is delivered after close returns.
func (s *sub) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.pending, s.sent, s.read = true, nil, nil, nil
}
