package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"

	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

var (
	errShutdown = errors.New("error: shutting down")
	errStore    = errors.New("error: could not store")
	errHave     = fmt.Errorf("already have this event: %w", eventstore.ErrDupEvent)
)

func isDuplicate(err error) bool { return errors.Is(err, eventstore.ErrDupEvent) }

// passage is one event on its way through khatru, which is shown a copy.
type passage struct {
	ev  *nostr.Event
	raw []byte
	err error // why it was not stored, in full
}

type passageKey struct{}

// pipeline is khatru as far as it is used: the order of the hooks around storing.
// Its socket, its listeners, its deletions and its NIP-86 are never reached.
func (r *Relay) pipeline() *khatru.Relay {
	k := khatru.NewRelay()
	k.ServiceURL = r.cfg.URL
	k.Log = log.New(io.Discard, "", 0)
	k.RejectEvent = append(k.RejectEvent, func(_ context.Context, ev *nostr.Event) (bool, string) {
		if err := r.policy(ev); err != nil {
			return true, err.Error()
		}
		return false, ""
	})
	keep := func(ctx context.Context, _ *nostr.Event) error {
		p, ok := ctx.Value(passageKey{}).(*passage)
		if !ok {
			return errStore
		}
		return r.keep(ctx, p)
	}
	k.StoreEvent = append(k.StoreEvent, keep)
	k.ReplaceEvent = append(k.ReplaceEvent, keep)
	k.QueryEvents = append(k.QueryEvents, func(context.Context, nostr.Filter) (chan *nostr.Event, error) {
		// Only khatru itself asks here: for deletions by strangers, which it
		// believes, and for all events, to find expired ones. Both are the store's.
		none := make(chan *nostr.Event)
		close(none)
		return none, nil
	})
	return k
}

func (r *Relay) keep(ctx context.Context, p *passage) error {
	p.err = r.store.save(ctx, p.ev, p.raw)
	switch {
	case p.err == nil:
		return nil
	case isDuplicate(p.err):
		return eventstore.ErrDupEvent
	case errors.Is(p.err, errDeleted), errors.Is(p.err, errExpired):
		return p.err
	}
	r.log.Error("event could not be stored", "kind", p.ev.Kind, "err", p.err)
	p.err = errStore
	return errStore
}

// add stores a verified event, unless it is ephemeral, and shows it to whoever
// listens. An eventstore.ErrDupEvent says that it, or a newer one, is there.
func (r *Relay) add(ctx context.Context, ev *nostr.Event) error {
	raw, err := ev.MarshalJSON()
	if err != nil {
		return errors.New("invalid: event cannot be encoded")
	}
	r.live.landing.Store(ev.ID, struct{}{})
	defer r.live.landing.Delete(ev.ID)
	p := &passage{ev: ev, raw: raw}
	shown := *ev
	// khatru keeps every expiring id in a list without bound.
	shown.Tags = slices.DeleteFunc(slices.Clone(ev.Tags), func(t nostr.Tag) bool {
		return len(t) == 0 || t[0] == "expiration"
	})
	skip, err := r.pipe.AddEvent(context.WithValue(ctx, passageKey{}, p), &shown)
	if p.err != nil {
		return p.err
	}
	if err != nil {
		return err
	}
	if !skip {
		r.live.broadcast(ev, raw)
	}
	return nil
}

// policy refuses what no key may publish here. It is asked before the inbox sees
// an event, and again by khatru before anything is stored.
func (r *Relay) policy(ev *nostr.Event) error {
	for _, t := range ev.Tags {
		if len(t) == 0 || len(t) == 1 && t[0] != "-" {
			return errors.New("invalid: tag")
		}
	}
	now := r.cfg.Now()
	at := ev.CreatedAt.Time()
	switch {
	case ev.Kind == nostr.KindClientAuthentication, ev.Kind == nostr.KindHTTPAuth:
		// Whoever reads one could use it.
		return errors.New("invalid: auth events are not accepted here")
	case ev.Kind == 13, ev.Kind == 14, ev.Kind == 15:
		return fmt.Errorf("invalid: kind %d must be inside a gift wrap", ev.Kind)
	case ev.Kind == kindVanish && !namesRelay(ev):
		return errVanishNobody
	case ev.Kind < 0 || ev.Kind > 65535:
		return errors.New("invalid: kind")
	case at.After(now.Add(maxFuture)):
		return errors.New("invalid: created_at is too far in the future")
	case at.Before(now.Add(-maxPast)):
		return errors.New("invalid: created_at is too old")
	case ev.Kind == nostr.KindDeletion && len(ev.Tags) > maxDeletes:
		return errors.New("invalid: too many tags")
	}
	if e := expiration(ev); e != nil && *e <= now.Unix() {
		return errExpired
	}
	return nil
}

// protected applies NIP-70: an event with the tag ["-"] is taken from its author
// only.
func protected(ev *nostr.Event, keys []string) error {
	for _, t := range ev.Tags {
		if len(t) != 1 || t[0] != "-" {
			continue
		}
		switch {
		case slices.Contains(keys, ev.PubKey):
			return nil
		case len(keys) == 0:
			return errors.New("auth-required: this event may only be published by its author")
		}
		return errors.New("restricted: this event may only be published by its author")
	}
	return nil
}

// forTower reports whether the inbox must have an event before it is answered:
// messages to the tower's key. Jobs (NIP-90) are not offered; they are events like
// any other.
func (r *Relay) forTower(ev *nostr.Event) bool {
	switch ev.Kind {
	case nostr.KindEncryptedDirectMessage, nostr.KindGiftWrap, kindEphemeralWrap:
		return !r.cfg.Self.IsZero() && ev.PubKey != r.cfg.Self.String() && nip.Concerns(ev, r.cfg.Self.String())
	}
	return false
}

// deliver hands an event for the tower to the inbox.
func (r *Relay) deliver(ctx context.Context, ev *nostr.Event) error {
	if r.cfg.Inbox == nil {
		return nil
	}
	err := r.cfg.Inbox.Accept(ctx, ev)
	if err != nil && timmy.CodeOf(err) == timmy.Internal {
		r.log.Error("event for the tower could not be accepted", "kind", ev.Kind, "err", err)
	}
	return worded(err, "error")
}

// worded puts the NIP-01 prefix of an error's code before its message, unless it
// has one.
func worded(err error, other string) error {
	if err == nil {
		return nil
	}
	message := timmy.MessageOf(err)
	if p, _, ok := strings.Cut(message, ": "); ok && slices.Contains(prefixes(), p) {
		return errors.New(message)
	}
	prefix := other
	switch timmy.CodeOf(err) {
	case timmy.Invalid:
		prefix = "invalid"
	case timmy.Limited:
		prefix = "rate-limited"
	case timmy.Unauthorized, timmy.Unpaid:
		prefix = "restricted"
	case timmy.Unavailable, timmy.Internal:
		prefix = "error"
	}
	return errors.New(prefix + ": " + message)
}

// prefixes are the words that NIP-01 and NIP-42 know.
func prefixes() []string {
	return []string{
		"duplicate", "pow", "blocked", "rate-limited", "invalid", "restricted", "mute", "error", "auth-required",
	}
}
