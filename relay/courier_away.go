package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Kinds of lists of relays.
const (
	kindRelays = 10002 // NIP-65: where somebody reads and writes
	kindInbox  = 10050 // NIP-17: where somebody takes messages
)

// lookedUp is a relay list that was asked for, found or not.
type lookedUp struct {
	relays []string
	at     time.Time
}

// forward sends what the own relay has to where else the recipient reads, in the
// background. A slow relay delays nobody's next answer.
func (c *Courier) forward(ctx context.Context, p timmy.Parcel, events []*nostr.Event) {
	relays, ask := c.readsAt(ctx, p, events)
	if c.cfg.Client == nil || (len(relays) == 0 && !ask) {
		c.arrived(ctx, p)
		return
	}
	select {
	case c.away <- struct{}{}:
	default:
		c.retry(ctx, p, 5*time.Second, errors.New("too many parcels on their way"))
		return
	}
	c.mu.Lock()
	c.out[p.ID] = true
	c.mu.Unlock()
	c.wg.Go(func() {
		defer func() {
			<-c.away
			c.mu.Lock()
			delete(c.out, p.ID)
			c.mu.Unlock()
		}()
		if ask {
			relays = c.ask(ctx, p.To)
		}
		c.settle(ctx, p, c.sendAll(ctx, p, events, relays))
	})
}

// readsAt is where to send a parcel besides the own relay. ask: the own relay
// does not know, others may.
func (c *Courier) readsAt(ctx context.Context, p timmy.Parcel, events []*nostr.Event) (relays []string, ask bool) {
	switch {
	case p.Zap != nil:
		return c.callable(zapRelayList(p.Request), courierZapRelays), false
	case len(events) == 0 || p.Front == timmy.FrontJob:
		return nil, false
	case events[0].Kind == nostr.KindEncryptedDirectMessage:
		return c.callable(readRelays(c.newest(ctx, p.To, kindRelays)), courierRelays), false
	}
	if list := c.newest(ctx, p.To, kindInbox); list != nil {
		return c.callable(nip.InboxRelays(list), courierRelays), false
	}
	return nil, len(c.cfg.Indexers) > 0
}

// callable keeps the relays of a stranger's list that we may call, not ours, at
// most most.
func (c *Courier) callable(list []string, most int) []string {
	if c.cfg.Client == nil {
		return nil
	}
	own, _ := nip.RelayURL(c.cfg.OwnURL)
	var out []string
	for _, raw := range list {
		url, err := CleanRelayURL(raw, c.cfg.Client.opts.AllowPrivate)
		if err == nil && url != own && !slices.Contains(out, url) {
			out = append(out, url)
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// zapRelayList is the relays tag of a zap request.
func zapRelayList(raw []byte) []string {
	ev, err := nip.ParseEvent(raw)
	if err != nil {
		return nil
	}
	if t := ev.Tags.Find("relays"); t != nil {
		return t[1:]
	}
	return nil
}

// readRelays is where the author of a kind 10002 reads (NIP-65).
func readRelays(ev *nostr.Event) []string {
	if ev == nil {
		return nil
	}
	var out []string
	for _, t := range ev.Tags {
		if len(t) >= 2 && t[0] == "r" && (len(t) == 2 || t[2] == "read" || t[2] == "") {
			out = append(out, t[1])
		}
	}
	return out
}

// ask looks for somebody's inbox list at the indexers. Found or not, it is
// remembered for a while.
func (c *Courier) ask(ctx context.Context, who timmy.PubKey) []string {
	now := c.cfg.Now()
	c.mu.Lock()
	known, ok := c.found[who]
	c.mu.Unlock()
	if ok && now.Sub(known.at) < courierLookupKeep {
		return known.relays
	}
	ctx, cancel := context.WithTimeout(ctx, courierLookup)
	defer cancel()
	f := nostr.Filter{Kinds: []int{kindInbox}, Authors: []string{who.String()}, Limit: 1}
	lists := make([][]*nostr.Event, len(c.cfg.Indexers))
	var wg sync.WaitGroup
	for i, url := range c.cfg.Indexers {
		wg.Go(func() { lists[i], _ = c.cfg.Client.Fetch(ctx, url, f) })
	}
	wg.Wait()
	var latest *nostr.Event
	for _, ev := range slices.Concat(lists...) {
		if latest == nil || ev.CreatedAt > latest.CreatedAt {
			latest = ev
		}
	}
	relays := c.callable(nip.InboxRelays(latest), courierRelays)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) >= courierLookups {
		clear(c.found)
	}
	c.found[who] = lookedUp{relays: relays, at: now}
	return relays
}

// sendAll sends the events to each relay that does not have them yet. The copies
// that we sealed to ourselves stay at home.
func (c *Courier) sendAll(ctx context.Context, p timmy.Parcel, events []*nostr.Event, relays []string) error {
	self := c.cfg.Key.Public().String()
	var theirs []*nostr.Event
	for _, ev := range events {
		if p.Zap != nil || p.To == c.cfg.Key.Public() || ev.Tags.FindWithValue("p", self) == nil {
			theirs = append(theirs, ev)
		}
	}
	errs := make([]error, len(relays))
	var wg sync.WaitGroup
	for i, url := range relays {
		if c.has(p.ID, url) {
			continue
		}
		wg.Go(func() {
			if errs[i] = c.send(ctx, url, theirs); errs[i] == nil {
				c.note(p.ID, url)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// send publishes in order. What a relay refuses for good is not tried again: the
// own relay has it.
func (c *Courier) send(ctx context.Context, url string, events []*nostr.Event) error {
	for _, ev := range events {
		err := c.cfg.Client.Publish(ctx, url, ev)
		refusal, refused := errors.AsType[*Refusal](err)
		switch {
		case errors.Is(err, ErrAddress), errors.Is(err, ErrNoAuth), refused && refusal.Permanent():
			c.cfg.Log.Info("a relay does not take a parcel", "relay", url, "error", err)
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

func (c *Courier) has(id int64, url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[id][url]
}

// note remembers that a relay has a parcel. Forgetting it costs a duplicate that
// the relay recognises by its id.
func (c *Courier) note(id int64, url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done[id] == nil {
		if len(c.done) >= courierProgress {
			clear(c.done)
		}
		c.done[id] = make(map[string]bool)
	}
	c.done[id][url] = true
}

// settle ends a parcel that arrived everywhere, or that other relays did not take
// for so long that the own one must do.
func (c *Courier) settle(ctx context.Context, p timmy.Parcel, err error) {
	switch {
	case ctx.Err() != nil: // stopping: tried again at the next start
	case err == nil:
		c.arrived(ctx, p)
	case p.Tries >= courierMaxTries || (p.Tries > 0 && c.cfg.Now().Sub(p.At) > courierKeep):
		c.cfg.Log.Warn("parcel is on the own relay only", "parcel", p.ID, "tries", p.Tries, "error", err)
		c.arrived(ctx, p)
	default:
		c.retry(ctx, p, backoff(p.Tries+1), err)
	}
}

// Announce publishes the tower's own lists (kinds 0, 10002, 10050, 31990) on the
// own relay, and tells the indexers. The error is the own relay's; what the
// indexers say is only logged.
func (c *Courier) Announce(ctx context.Context, events []*nostr.Event) error {
	for _, ev := range events {
		if err := c.publishOwn(ctx, ev); err != nil {
			return fmt.Errorf("announcing kind %d: %w", ev.Kind, err)
		}
	}
	if c.cfg.Client == nil {
		return nil
	}
	var wg sync.WaitGroup
	for _, url := range c.callable(slices.Concat(c.cfg.Indexers, c.cfg.Inboxes), courierZapRelays) {
		wg.Go(func() {
			if err := c.send(ctx, url, events); err != nil {
				c.cfg.Log.Warn("announcing to an indexer failed", "relay", url, "error", err)
			}
		})
	}
	wg.Wait()
	return nil
}
