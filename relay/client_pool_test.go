package relay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// TestAFailingRelayIsLeftAlone excludes hammering a relay that is down, and
// checks that the wait ends.
func TestAFailingRelayIsLeftAlone(t *testing.T) {
	s := script(t, func(p foreignPeer) { p.next() })
	var skew atomic.Int64
	c := NewClient(ClientConfig{DialOptions: DialOptions{
		AllowPrivate: true,
		Now:          func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
	}})
	ev := signed(t, newKey(t), 1, "x")
	if err := c.Publish(t.Context(), s.url, ev); !errors.Is(err, ErrClosed) {
		t.Fatalf("first: %v", err)
	}
	for range 5 {
		if err := c.Publish(t.Context(), s.url, ev); !errors.Is(err, ErrBackoff) {
			t.Fatalf("while backed off: %v", err)
		}
	}
	if n := s.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
	skew.Store(int64(clientBackoff + time.Second))
	if err := c.Publish(t.Context(), s.url, ev); errors.Is(err, ErrBackoff) {
		t.Error("never tried again")
	}
}

// TestALiarIsBanned: a hundred forged events and the relay is not called for an
// hour.
func TestALiarIsBanned(t *testing.T) {
	forged := signed(t, newKey(t), 1, "x")
	forged.Content = "y"
	s := script(t, func(p foreignPeer) {
		sub := string(p.next()[1])
		for range clientMaxBad + 1 {
			p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, forged))
		}
		p.next()
	})
	var skew atomic.Int64
	c := NewClient(ClientConfig{DialOptions: DialOptions{
		AllowPrivate: true,
		Now:          func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
	}})
	if got, err := c.Fetch(t.Context(), s.url, nostr.Filter{Kinds: []int{1}}); !errors.Is(err, ErrHostile) || len(got) != 0 {
		t.Fatalf("Fetch: %v, %v", got, err)
	}
	skew.Store(int64(clientBan - time.Minute))
	if _, err := c.Fetch(t.Context(), s.url, nostr.Filter{}); !errors.Is(err, ErrBackoff) {
		t.Errorf("within the hour: %v", err)
	}
}

// TestAClosedKeptConnectionIsReplaced: relays close idle connections; the next
// publish must not fail, nor count as the relay's failure.
func TestAClosedKeptConnectionIsReplaced(t *testing.T) {
	s := script(t, func(p foreignPeer) { // serves one event, then hangs up on the next
		p.ok(idOf(p.next()), true, "")
		p.next()
	})
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	for range 3 {
		if err := c.Publish(t.Context(), s.url, signed(t, newKey(t), 1, "x")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConnectionsAreBounded: many relays at once never hold more than the named
// number of connections, and idle ones make room.
func TestConnectionsAreBounded(t *testing.T) {
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	ev := signed(t, newKey(t), 1, "x")
	for range clientConns + 4 {
		if err := c.Publish(t.Context(), newStoring(t).url, ev); err != nil {
			t.Fatal(err)
		}
		if n := c.Stats().Connections; n > clientConns {
			t.Fatalf("%d connections", n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().Connections; n != 0 {
		t.Errorf("%d connections after the end", n)
	}
}

// TestSubscriptionSurvivesItsRelay: when the connection breaks the client asks
// again with the same filter, so that a wrap dated two days back is not lost
// (upstream moves since to now), whatever the relay says meanwhile.
func TestSubscriptionSurvivesItsRelay(t *testing.T) {
	ev := signed(t, newKey(t), 1059, "x")
	ev.CreatedAt -= 2 * 24 * 3600
	k := newKey(t)
	if err := k.Sign(ev); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	s := script(t, func(p foreignPeer) {
		sub := p.next()[1]
		if calls.Add(1) == 1 {
			p.say(fmt.Sprintf(`["CLOSED",%s,"rate-limited: later"]`, sub))
			return
		}
		p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, ev))
		p.next()
	})
	var skew atomic.Int64
	c := NewClient(ClientConfig{DialOptions: DialOptions{
		AllowPrivate: true,
		Now:          func() time.Time { return time.Now().Add(time.Duration(skew.Add(int64(time.Minute)))) },
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	since := nostr.Now() - 3*24*3600
	got := false
	_ = c.Subscribe(ctx, s.url, nostr.Filter{Kinds: []int{1059}, Since: &since}, func(*nostr.Event) { got = true; cancel() })
	if !got {
		t.Error("the back-dated wrap was lost")
	}
}
