package relay

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/nbd-wtf/go-nostr"
)

var errSubID = errors.New("invalid: subscription id must be 1-64 chars")

// subID reads a subscription id. What is none is returned as it can be repeated
// to its sender: as text, and not longer than an id.
func subID(raw json.RawMessage) (string, error) {
	id, ok := text(raw)
	switch {
	case !ok:
		return shorten(string(raw), maxSubID), errors.New("invalid: subscription id must be a string")
	case id == "" || len([]rune(id)) > maxSubID:
		return shorten(id, maxSubID), errSubID
	case strings.ContainsFunc(id, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '"' || c == '\\' }):
		return shorten(id, maxSubID), errors.New("invalid: subscription id has quotes or control characters")
	}
	return id, nil
}

// req answers ["REQ", id, filter, …]: the stored part, EOSE, and live events from
// then on. Nothing goes live unless all filters may.
func (g *guest) req(items []json.RawMessage) error {
	if len(items) < 2 {
		return g.notice("invalid: REQ needs a subscription id")
	}
	id, err := subID(items[1])
	if err != nil {
		return g.send("CLOSED", id, err.Error())
	}
	s, err := g.subscription(id, items[2:])
	if err != nil {
		// NIP-01 replaces the old one by this one, which was refused.
		if old := g.subs[id]; old != nil {
			g.drop(old)
		}
		return g.send("CLOSED", id, err.Error())
	}
	if old := g.subs[id]; old != nil {
		g.drop(old)
	}
	if slices.ContainsFunc(s.filters, func(f nostr.Filter) bool { return !nothing(f) }) {
		g.subs[id] = s
		g.values += s.values
		g.r.live.add(s)
		g.r.count.subs.Add(1)
	}
	return g.stored(s)
}

// subscription checks a REQ as a whole.
func (g *guest) subscription(id string, raw []json.RawMessage) (*sub, error) {
	if len(raw) == 0 {
		return nil, errors.New("invalid: no filters")
	}
	if len(raw) > maxFilters {
		return nil, errors.New("invalid: too many filters")
	}
	head, err := eventHead(id)
	if err != nil {
		return nil, errSubID
	}
	s := &sub{id: id, serial: g.r.count.serial.Add(1), head: head, guest: g}
	for _, b := range raw {
		f, err := parseFilter(b)
		if err != nil {
			return nil, err
		}
		s.filters = append(s.filters, f)
		s.values += size(f)
	}
	keys := g.authed()
	for _, f := range s.filters {
		if err := mayAsk(f, keys); err != nil {
			return nil, err
		}
	}
	return s, g.room(s, len(keys) > 0)
}

// room checks the limits of a connection's subscriptions taken together.
func (g *guest) room(s *sub, authed bool) error {
	most := maxSubs
	if authed {
		most = maxSubsAuthed
	}
	open, values := len(g.subs), g.values
	if old := g.subs[s.id]; old != nil {
		open, values = open-1, values-old.values
	}
	switch {
	case open >= most:
		return errors.New("rate-limited: too many subscriptions")
	case values+s.values > maxValues:
		return errors.New("rate-limited: too many values in all subscriptions")
	}
	return nil
}

// stored sends what is in the store, then EOSE, then what came in meanwhile.
func (g *guest) stored(s *sub) error {
	sent, hint, answer := map[string]struct{}{}, hint{whole: true}, []message(nil)
	for _, f := range s.filters {
		keys := g.authed()
		list, whole, err := g.r.store.query(g.ctx, f, reader{strict: true, keys: keys})
		if err != nil {
			return g.failed(s, err)
		}
		hint.add(f, len(list), whole)
		if err := g.out.waitAll(g.ctx, answer); err != nil { // one filter's answer is in memory at a time
			return err
		}
		answer = answer[:0]
		for _, x := range list {
			if _, known := sent[x.ev.ID]; known || !mayRead(x.ev, keys) || g.r.rules.bans(x.ev.PubKey) || g.r.rules.bansEvent(x.ev.ID) {
				continue
			}
			sent[x.ev.ID] = struct{}{}
			answer = append(answer, message{s.head, x.raw})
		}
	}
	b, err := json.Marshal(append([]any{"EOSE", s.id}, hint.words()...))
	if err != nil {
		return err
	}
	if err := g.out.waitAll(g.ctx, append(answer, message{head: b})); err != nil {
		return err
	}
	s.opened(sent)
	return nil
}

// hint is what EOSE says of the stored part (NIP-67). It is said only where the usual
// reading is wrong, that fewer events than were asked for, or than the relay's limits, are
// all there are: some clients take an EOSE with a third element for none, and wait for ever.
type hint struct {
	whole bool // nothing else is there
	full  bool // as many were sent as the relay's limits let through
	cut   bool // fewer than were asked for, and there is more
}

func (h *hint) add(f nostr.Filter, n int, whole bool) {
	ours := f.Limit == defaultLimit || f.Limit == maxLimit
	h.whole = h.whole && whole
	h.full = h.full || ours && n >= f.Limit
	h.cut = h.cut || !whole && n < f.Limit
}

// words is the third element, if there is one.
func (h *hint) words() []any {
	switch {
	case h.cut:
		return []any{[]string{"more"}}
	case h.whole && h.full:
		return []any{[]string{"finish"}}
	}
	return nil
}

// failed ends a subscription whose stored part could not be read: a part of the
// answer would look like all of it.
func (g *guest) failed(s *sub, err error) error {
	if g.subs[s.id] == s {
		g.drop(s)
	}
	if errors.Is(err, errSlow) {
		return g.send("CLOSED", s.id, errSlow.Error())
	}
	if g.ctx.Err() == nil {
		g.r.log.Error("events could not be read", "err", err)
	}
	return g.send("CLOSED", s.id, "error: could not read")
}

// unsubscribe answers ["CLOSE", id] with silence.
func (g *guest) unsubscribe(items []json.RawMessage) error {
	if len(items) != 2 {
		return g.notice("invalid: CLOSE needs a subscription id and nothing else")
	}
	id, err := subID(items[1])
	if err != nil {
		return g.notice(err.Error())
	}
	if s := g.subs[id]; s != nil {
		g.drop(s)
	}
	return nil
}

// eventHead is what stands before an event in a frame to a subscriber.
func eventHead(id string) ([]byte, error) {
	b, err := json.Marshal([]string{"EVENT", id})
	if err != nil {
		return nil, err
	}
	b[len(b)-1] = ','
	return b, nil
}
