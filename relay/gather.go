package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// GathererConfig is what a [Gatherer] needs.
type GathererConfig struct {
	Self   timmy.PubKey
	Inbox  Acceptor
	Client *Client  // shared with the courier: its bound on connections holds for both
	Relays []string // at most [gatherRelays]; the own one is not among them
	Now    func() time.Time
	Log    *slog.Logger
}

// Gatherer reads the messages that people leave for the tower on other relays, as
// its kind 10050 invites them to. Every event is verified before anything
// remembers its id, and given to the inbox; a message that comes over several
// relays, in several wraps, is one request by the id of its rumor.
//
// Wraps are dated back by up to two days, so each connection asks for the last three
// again, page by page: nothing is missed, whatever the relay or the tower did in
// between.
type Gatherer struct {
	cfg  GathererConfig
	seen *seenIDs // given to the inbox and durable there, or not for us

	accepted, failed atomic.Int64
}

// GathererStats counts events that were new to the inbox, and those it could not
// take yet.
type GathererStats struct{ Accepted, Failed int64 }

// NewGatherer makes a gatherer.
func NewGatherer(c GathererConfig) *Gatherer {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Gatherer{cfg: c, seen: newSeenIDs(gatherSeen)}
}

// Stats reads the counters.
func (g *Gatherer) Stats() GathererStats {
	return GathererStats{Accepted: g.accepted.Load(), Failed: g.failed.Load()}
}

// Run reads all relays until ctx ends.
func (g *Gatherer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, url := range g.cfg.Relays[:min(len(g.cfg.Relays), gatherRelays)] {
		wg.Go(func() {
			err := g.cfg.Client.Follow(ctx, url, func(ctx context.Context, c *Conn) error { return g.read(ctx, url, c) })
			if ctx.Err() == nil {
				g.cfg.Log.Error("messages on a relay are not read", "relay", url, "error", err)
			}
		})
	}
	wg.Wait()
	return nil
}

// read takes what one connection brings: live events, and beside them the last days.
func (g *Gatherer) read(ctx context.Context, url string, c *Conn) error {
	// Some relays hide from strangers what they have instead of asking who we are.
	if err := c.Auth(ctx); err != nil && !errors.Is(err, ErrNoAuth) {
		g.cfg.Log.Debug("a relay did not let us in", "relay", url, "error", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := g.catchUp(ctx, url); err != nil && ctx.Err() == nil {
			stop(err)
		}
	})
	err := c.Subscribe(ctx, g.filter(), func(ev *nostr.Event) {
		if err := g.take(ctx, ev); err != nil {
			stop(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errGather) {
		err = cause
	}
	stop(nil)
	return err
}

// errGather says that we, not the relay, could not go on.
var errGather = errors.New("the inbox did not take a message")

func (g *Gatherer) filter() nostr.Filter {
	since := nostr.Timestamp(g.cfg.Now().Add(-gatherSince).Unix())
	return nostr.Filter{
		Kinds: []int{nostr.KindEncryptedDirectMessage, nostr.KindGiftWrap, kindEphemeralWrap},
		Tags:  nostr.TagMap{"p": {g.cfg.Self.String()}}, Since: &since,
	}
}

// catchUp reads the stored messages of the last days, newest first, page by page:
// a relay gives no more than its limit at once.
func (g *Gatherer) catchUp(ctx context.Context, url string) error {
	f := g.filter()
	f.Limit = clientFetchMax
	for range gatherPages {
		events, err := g.cfg.Client.Fetch(ctx, url, f)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
		oldest := events[0].CreatedAt
		for _, ev := range events {
			oldest = min(oldest, ev.CreatedAt)
			if err := g.take(ctx, ev); err != nil {
				return err
			}
		}
		// The page may have ended within a second: that second is read again, once.
		if f.Until != nil && oldest >= *f.Until {
			oldest = *f.Until - 1
		}
		f.Until = &oldest
	}
	g.cfg.Log.Warn("a relay has more messages for us than we read", "relay", url)
	return nil
}

// take gives one verified event to the inbox. One that fails is remembered by
// nobody, and read again.
func (g *Gatherer) take(ctx context.Context, ev *nostr.Event) error {
	if g.seen.has(ev.ID) {
		return nil
	}
	switch err := g.cfg.Inbox.Accept(ctx, ev); {
	case errors.Is(err, errPeerRate), errors.Is(err, errFromFuture):
		return nil // who fills our inbox elsewhere must not keep us from what others sent there
	case err != nil:
		if ctx.Err() == nil {
			g.failed.Add(1)
			g.cfg.Log.Error("a message from another relay could not be accepted", "err", err)
		}
		return fmt.Errorf("%w: %w", errGather, err)
	}
	g.accepted.Add(1)
	g.seen.add(ev.ID)
	return nil
}
