package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// gathering is a gatherer that may be started and stopped again and again, as a
// tower is.
type gathering struct {
	cfg  GathererConfig
	desk *memDesk
}

// newGathering makes one whose client's clock runs fast, so that back-off costs no
// time, and that signs in under the address that a test's relay has.
func newGathering(t *testing.T, tower nip.Key, relays ...string) *gathering {
	t.Helper()
	desk := &memDesk{}
	clock := &clock{}
	return &gathering{desk: desk, cfg: GathererConfig{
		Self: tower.Public(), Relays: relays, Inbox: NewInbox(InboxConfig{Key: tower, Desk: desk}),
		Client: NewClient(ClientConfig{DialOptions: DialOptions{
			AllowPrivate: true,
			Now:          func() time.Time { clock.advance(time.Minute); return clock.now() },
			Auth: func(_, challenge string) (*nostr.Event, error) {
				return nip.Auth(tower, testURL, challenge, time.Now())
			},
		}}),
	}}
}

// run gathers until done says so, and stops as a tower would.
func (g *gathering) run(t *testing.T, what string, done func() bool) *Gatherer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ga, ended := NewGatherer(g.cfg), make(chan error, 1)
	go func() { ended <- ga.Run(ctx) }()
	eventually(t, what, done)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return ga
}

// TestBackDatedWrapsAreNotLost is E5 and E6: wraps dated back by up to two days, more
// than a relay gives at once, while the relay cuts connections and the tower is
// restarted ten times. Excluded: since = now on reconnect, one page taken for all,
// reading without signing in.
func TestBackDatedWrapsAreNotLost(t *testing.T) {
	tower, other := newKey(t), newSite(t)
	const wraps = 600
	for i := range wraps {
		asker := newKey(t)
		rumor := &nostr.Event{Kind: 14, CreatedAt: nostr.Now(), Content: "hello", Tags: nostr.Tags{{"p", tower.Public().String()}}}
		at := time.Now().Add(-48 * time.Hour * time.Duration(i) / wraps)
		ev := rewrapAt(t, at, asker, tower, rumor)
		if err := other.store.SaveEvent(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	g := newGathering(t, tower, other.url)
	for i := range 10 {
		g.run(t, "a part of the wraps", func() bool { return len(g.desk.taken()) >= (i+1)*wraps/20 })
	}
	cuts := 0
	g.run(t, "all wraps", func() bool {
		if n := len(g.desk.taken()); cuts < 5 && n > wraps/2 {
			for _, guest := range other.connections() {
				guest.kill(errEnded)
			}
			cuts++
		}
		return len(g.desk.taken()) == wraps
	})
}

// TestLiveMessagesOfSeveralRelaysAreOne: one rumor, wrapped again and again and left
// on three relays, is one request; what comes live needs no stored part.
func TestLiveMessagesOfSeveralRelaysAreOne(t *testing.T) {
	tower, asker := newKey(t), newKey(t)
	sites := []*site{newSite(t), newSite(t), newSite(t)}
	g := newGathering(t, tower, sites[0].url, sites[1].url, sites[2].url)
	rumor := &nostr.Event{Kind: 14, CreatedAt: nostr.Now(), Content: "once", Tags: nostr.Tags{{"p", tower.Public().String()}}}
	ready := false
	ga := g.run(t, "the live message", func() bool {
		if !ready {
			for _, s := range sites {
				if s.Stats().Subscriptions == 0 {
					return false
				}
			}
			ready = true
			for _, s := range sites {
				for range 5 {
					s.dial(t).mustPublish(rewrap(t, asker, tower, rumor))
				}
			}
			sites[1].dial(t).mustPublish(letterTo(t, asker, tower, nip.NIP04, "old", time.Now()))
		}
		return len(g.desk.taken()) >= 2
	})
	if got := g.desk.taken(); len(got) != 2 {
		t.Errorf("%d requests", len(got))
	}
	if s := ga.Stats(); s.Failed != 0 || s.Accepted == 0 {
		t.Errorf("%+v", s)
	}
}

// TestWhatTheInboxCannotTakeIsReadAgain: a ledger that is away for a while costs
// nobody a message.
func TestWhatTheInboxCannotTakeIsReadAgain(t *testing.T) {
	tower, asker, other := newKey(t), newKey(t), newSite(t)
	if err := other.store.SaveEvent(t.Context(), letterTo(t, asker, tower, nip.NIP17, "hello", time.Now())); err != nil {
		t.Fatal(err)
	}
	g := newGathering(t, tower, other.url)
	g.desk.err = errors.New("the ledger is away")
	tries := 0
	g.run(t, "the message", func() bool {
		if tries++; tries == 50 {
			g.desk.mu.Lock()
			g.desk.err = nil
			g.desk.mu.Unlock()
		}
		return len(g.desk.taken()) == 1
	})
}

// TestAFloodElsewhereHoldsNobodyUp: one key fills our inbox on a foreign relay; what
// others left there is read all the same.
func TestAFloodElsewhereHoldsNobodyUp(t *testing.T) {
	tower, bot, asker, other := newKey(t), newKey(t), newKey(t), newSite(t)
	g := newGathering(t, tower, other.url)
	now := &clock{at: time.Now()}
	g.cfg.Inbox = NewInbox(InboxConfig{Key: tower, Desk: g.desk, Now: now.now})
	leave := func(from nip.Key, text string, age time.Duration) {
		rumor := &nostr.Event{Kind: 14, CreatedAt: nostr.Now(), Content: text, Tags: nostr.Tags{{"p", tower.Public().String()}}}
		if err := other.store.SaveEvent(t.Context(), rewrapAt(t, time.Now().Add(-age), from, tower, rumor)); err != nil {
			t.Fatal(err)
		}
	}
	leave(asker, "before the flood", 3*time.Hour)
	for i := range inboxPeerRate + 5 {
		leave(bot, fmt.Sprint(i), 2*time.Hour)
	}
	leave(asker, "behind it", time.Hour)
	g.run(t, "all but the flood", func() bool { return len(g.desk.taken()) == inboxPeerRate+2 })
}
