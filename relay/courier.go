package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Own is the tower's own relay, from inside.
type Own interface {
	// Publish stores an event and sends it to who may read it; an event that is
	// there already is no error.
	Publish(ctx context.Context, ev *nostr.Event) error
	Query(ctx context.Context, f nostr.Filter) ([]*nostr.Event, error)
}

// TopUp makes an invoice that fills an account. An error leaves the invoice out.
type TopUp func(context.Context, timmy.Account) (timmy.Invoice, error)

// CourierConfig is what a [Courier] needs.
type CourierConfig struct {
	Key        nip.Key
	Outbox     Outbox
	Own        Own
	Client     *Client // nil: the own relay alone
	Texts      TextConfig
	TopUp      TopUp           // nil: who runs low is told to ask for an invoice
	OwnURL     string          // the own relay as others write it: never called as a foreign one
	Indexers   []string        // relays that keep everybody's relay lists; asked when the own one has none, and told ours
	Inboxes    []string        // relays where the tower takes messages besides its own: told of its lists
	CopyToSelf bool            // keep a sealed copy of each answer for the tower's own key
	Wake       <-chan struct{} // a hint that a parcel was written; nil: polling alone
	Rand       io.Reader       // safe for use by several goroutines
	Now        func() time.Time
	Log        *slog.Logger
}

// Courier empties the outbox: it seals each parcel once, stores the signed
// events, and publishes those bytes until they have arrived. Nobody ever sees two
// different answers to one question.
type Courier struct {
	cfg    CourierConfig
	crypto chan struct{}
	lanes  chan struct{}
	away   chan struct{}
	again  chan struct{}
	left   atomic.Bool // something due was not started
	wg     sync.WaitGroup

	mu    sync.Mutex
	busy  map[timmy.PubKey]bool     // recipients being served
	out   map[int64]bool            // parcels on their way to other relays
	done  map[int64]map[string]bool // relays that have a parcel already
	found map[timmy.PubKey]lookedUp // relay lists asked for

	sealed, delivered, retried, abandoned atomic.Int64
}

// CourierStats counts parcels.
type CourierStats struct{ Sealed, Delivered, Retried, Abandoned int64 }

// NewCourier makes a courier.
func NewCourier(cfg CourierConfig) *Courier {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Courier{
		cfg:    cfg,
		crypto: make(chan struct{}, runtime.GOMAXPROCS(0)),
		lanes:  make(chan struct{}, courierWorkers),
		away:   make(chan struct{}, courierRemotes),
		again:  make(chan struct{}, 1),
		busy:   make(map[timmy.PubKey]bool), out: make(map[int64]bool),
		done: make(map[int64]map[string]bool), found: make(map[timmy.PubKey]lookedUp),
	}
}

// Stats reads the counters.
func (c *Courier) Stats() CourierStats {
	return CourierStats{
		Sealed: c.sealed.Load(), Delivered: c.delivered.Load(),
		Retried: c.retried.Load(), Abandoned: c.abandoned.Load(),
	}
}

// Run delivers until ctx ends, and waits for what is under way.
func (c *Courier) Run(ctx context.Context) error {
	defer c.wg.Wait()
	t := time.NewTicker(courierPoll)
	defer t.Stop()
	for {
		if err := c.sweep(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("reading the outbox failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.cfg.Wake:
		case <-c.again:
		case <-t.C:
		}
	}
}

// sweep starts what is due: the parcels of one recipient one after another, those
// of several side by side. What was under way before the list was read is left
// alone: the list may show it as it was before it was sealed, and sealing it
// again would make a second answer.
func (c *Courier) sweep(ctx context.Context) error {
	c.mu.Lock()
	busy, out := maps.Clone(c.busy), maps.Clone(c.out)
	c.mu.Unlock()
	due, err := c.cfg.Outbox.Due(ctx, c.cfg.Now(), courierBatch)
	if err != nil {
		return fmt.Errorf("listing due parcels: %w", err)
	}
	c.left.Store(len(due) == courierBatch)
	var order []timmy.PubKey
	lanes := make(map[timmy.PubKey][]timmy.Parcel)
	for _, p := range due {
		switch {
		case busy[p.To]:
			c.left.Store(true)
			continue
		case out[p.ID]:
			continue
		case len(lanes[p.To]) == 0:
			order = append(order, p.To)
		}
		lanes[p.To] = append(lanes[p.To], p)
	}
	for _, to := range order {
		if !c.startLane(ctx, to, lanes[to]) {
			c.left.Store(true)
			break
		}
	}
	return nil
}

// startLane serves one recipient in the background; false: all workers are busy.
// A lane that ends has the outbox looked at again if anything was left.
func (c *Courier) startLane(ctx context.Context, to timmy.PubKey, parcels []timmy.Parcel) bool {
	select {
	case c.lanes <- struct{}{}:
	default:
		return false
	}
	c.mu.Lock()
	c.busy[to] = true
	c.mu.Unlock()
	c.wg.Go(func() {
		for _, p := range parcels {
			if ctx.Err() != nil || !c.deliver(ctx, p) {
				break
			}
		}
		c.mu.Lock()
		delete(c.busy, to)
		c.mu.Unlock()
		<-c.lanes
		if c.left.Swap(false) {
			select {
			case c.again <- struct{}{}:
			default:
			}
		}
	})
	return true
}
