package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// Auth answers the relay's latest challenge (NIP-42) and waits for its OK. When
// none has come yet it waits for one a moment. It is called by Publish and
// Subscribe when a relay asks; calling it first saves a round trip.
func (c *Conn) Auth(ctx context.Context) error {
	if c.opts.Auth == nil {
		return fmt.Errorf("relay %s: %w", c.url, ErrNoAuth)
	}
	select {
	case c.auth <- struct{}{}:
		defer func() { <-c.auth }()
	case <-ctx.Done():
		return fmt.Errorf("relay %s: %w", c.url, ctx.Err())
	}
	challenge, err := c.awaitChallenge(ctx)
	if err != nil {
		return err
	}
	if err := c.mayAuth(challenge); err != nil {
		return err
	}
	if c.isAuthed(challenge) {
		return nil
	}
	ev, err := c.opts.Auth(c.url, challenge)
	if err != nil {
		return fmt.Errorf("relay %s: signing AUTH: %w", c.url, err)
	}
	m, err := c.exchange(ctx, "AUTH", ev)
	if err != nil {
		return err
	}
	if !m.OK {
		return &Refusal{Relay: c.url, Reason: m.Text}
	}
	c.mu.Lock()
	c.authed = challenge
	c.mu.Unlock()
	return nil
}

// challenged keeps the latest challenge; earlier ones are void (NIP-42).
func (c *Conn) challenged(challenge string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.challenge = challenge
	close(c.fresh)
	c.fresh = make(chan struct{})
}

func (c *Conn) awaitChallenge(ctx context.Context) (string, error) {
	timeout := time.NewTimer(clientAuthWait)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		challenge, fresh := c.challenge, c.fresh
		c.mu.Unlock()
		if challenge != "" {
			return challenge, nil
		}
		select {
		case <-fresh:
		case <-timeout.C:
			return "", fmt.Errorf("relay %s: %w but sent no challenge", c.url, ErrNoAuth)
		case <-ctx.Done():
			return "", fmt.Errorf("relay %s: %w", c.url, ctx.Err())
		case <-c.ctx.Done():
			return "", context.Cause(c.ctx)
		}
	}
}

func (c *Conn) isAuthed(challenge string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authed == challenge
}

// mayAuth refuses to sign for a relay that changes its challenge all the time.
func (c *Conn) mayAuth(challenge string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authed == challenge {
		return nil
	}
	now := c.opts.Now()
	if !c.authAt.IsZero() && now.Sub(c.authAt) < clientAuthEvery {
		return fmt.Errorf("relay %s: asked to authenticate twice within %s", c.url, clientAuthEvery)
	}
	c.authAt = now
	return nil
}

// Subscribe hands every event that matches f to each, stored ones first, until
// ctx or the connection ends or the relay closes the subscription; the error
// says which. Events are verified (id, signature, filter) and not repeated. each
// is called from one goroutine; while it works the relay waits.
func (c *Conn) Subscribe(ctx context.Context, f nostr.Filter, each func(*nostr.Event)) error {
	return c.subscribe(ctx, f, each, func() bool { return false })
}

// Fetch returns the stored events that match f, at most [clientFetchMax], and
// ends at EOSE. With an error it returns what had come until then.
func (c *Conn) Fetch(ctx context.Context, f nostr.Filter) ([]*nostr.Event, error) {
	most := clientFetchMax
	if f.Limit > 0 {
		most = min(most, f.Limit)
	}
	ctx, cancel := context.WithTimeout(ctx, clientPublishTimeout)
	defer cancel()
	var found []*nostr.Event
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := c.subscribe(ctx, f, func(ev *nostr.Event) {
		if len(found) < most {
			found = append(found, ev)
		}
		if len(found) == most {
			stop(errEnough)
		}
	}, func() bool { return true })
	if err != nil && errors.Is(context.Cause(ctx), errEnough) {
		err = nil
	}
	return found, err
}

// errEnough ends a Fetch that has all it may have.
var errEnough = errors.New("enough events")

// subscribe runs one subscription. stored is called at EOSE; true ends it.
func (c *Conn) subscribe(ctx context.Context, f nostr.Filter, each func(*nostr.Event), stored func() bool) error {
	authed, seen := false, newSeenIDs(clientSeen)
	once := func(ev *nostr.Event) {
		seen.add(ev.ID)
		each(ev)
	}
	for {
		refusal, err := c.follow(ctx, f, seen, once, stored)
		if err != nil || refusal == nil {
			return err
		}
		if authed || !needsAuth(refusal.Reason) {
			return refusal
		}
		if err := c.Auth(ctx); err != nil {
			return err
		}
		authed = true
	}
}

// follow sends the REQ and reads until CLOSED (a refusal), the end of what was
// asked for (nil, nil) or an error.
func (c *Conn) follow(ctx context.Context, f nostr.Filter, seen *seenIDs, each func(*nostr.Event), stored func() bool) (*Refusal, error) {
	id, s, err := c.open()
	if err != nil {
		return nil, err
	}
	defer c.shut(id, s)
	if err := c.write(ctx, "REQ", id, f); err != nil {
		return nil, err
	}
	for {
		if ctx.Err() != nil {
			c.unsubscribe(id)
			return nil, ctx.Err()
		}
		var m relayMsg
		select {
		case m = <-s.queue:
		case <-ctx.Done():
			continue
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		}
		switch m.Label {
		case "EVENT":
			if ev := c.check(m.Event, f, seen); ev != nil {
				each(ev)
			}
		case "EOSE":
			if stored() {
				c.unsubscribe(id)
				return nil, nil
			}
		case "CLOSED":
			return &Refusal{Relay: c.url, Reason: m.Text}, nil
		}
	}
}

// unsubscribe tells the relay; whether it arrives does not matter to us.
func (c *Conn) unsubscribe(id string) {
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	_ = c.write(ctx, "CLOSE", id)
}

// check returns an event that is what it claims to be, what was asked for, and
// new to this subscription, or nil. Only verified ids are remembered, so that a
// forged copy that comes first hides nothing.
func (c *Conn) check(raw json.RawMessage, f nostr.Filter, seen *seenIDs) *nostr.Event {
	parse := nip.ParseEvent
	if slices.Equal(f.Kinds, []int{nostr.KindFollowList}) {
		parse = nip.ParseFollowList
	}
	ev, err := parse(raw)
	if err != nil || !f.Matches(ev) {
		c.penalise()
		return nil
	}
	if seen.has(ev.ID) {
		return nil
	}
	if !ev.CheckID() || (!c.verified.has(ev.ID) && nip.Verify(ev) != nil) {
		c.penalise()
		return nil
	}
	c.verified.add(ev.ID)
	return ev
}

// seenIDs remembers the last ids of between size and twice size events.
type seenIDs struct {
	mu       sync.Mutex
	size     int
	now, old map[string]bool
}

func newSeenIDs(size int) *seenIDs { return &seenIDs{size: size, now: make(map[string]bool)} }

func (s *seenIDs) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now[id] || s.old[id]
}

func (s *seenIDs) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now) >= s.size {
		s.now, s.old = make(map[string]bool), s.now
	}
	s.now[id] = true
}
