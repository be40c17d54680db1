package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

// Acceptor takes in the events that are for the tower, before they are stored
// and answered with OK. nil means that what the event asks for is durable; it may
// be given the same event again.
type Acceptor interface {
	Accept(ctx context.Context, ev *nostr.Event) error
}

// Config of a [Relay].
type Config struct {
	URL         string // the relay's own, "wss://…" or "ws://…"; AUTH is bound to it. Required
	Name        string // for NIP-11, cut to 29 characters
	Description string
	Contact     string
	Version     string       // of the software, for NIP-11
	Self        timmy.PubKey // the tower's key: events for it go to Inbox
	Icon        string
	Operators   []timmy.PubKey // may manage the relay (NIP-86) and always write; the first is shown in NIP-11
	DB          *db.DB         // of events alone; its writer runs and is closed by the caller. Required

	Events eventstore.Store // keeps the events instead of DB, see [Store.Plug]; nil: DB does

	Inbox          Acceptor       // nil: events for the tower are only stored
	Policy         Policy         // who may write what
	Standing       Standing       // asked about who is no member; nil: Policy decides alone
	Web            Trust          // the web of trust; nil: nobody is in it
	Identity       Identity       // checks management calls; nil: they are not offered
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Limits         Limits

	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand
	Log  *slog.Logger     // nil: silent
}

// Relay is the guard, the pipeline behind it, and the event store. It serves
// HTTP requests that [Relay.Handles] says are its own.
type Relay struct {
	cfg     Config
	path    string // of its URL
	log     *slog.Logger
	store   *Store
	pipe    *khatru.Relay
	live    *live
	others  *others // nil: no other tower uses the database
	doors   *doors
	rates   *rates
	rules   *rules
	members map[string]bool        // those of the settings, in hex
	owners  map[string]bool        // the tower's key and its operators', in hex
	info    atomic.Pointer[[]byte] // the NIP-11 document
	crypto  chan struct{}          // one token for each processor that may verify
	count   counters
	frames  sync.Pool // of *[]byte: what is being written, on any connection

	draining atomic.Bool
	working  sync.RWMutex // held for reading while an EVENT is handled
	mu       sync.Mutex
	guests   map[*guest]struct{}
	gone     chan struct{} // sent to when a connection ends, if anybody waits
}

// New makes a relay and brings the schema of its database up to date.
func New(c Config) (*Relay, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" {
		return nil, fmt.Errorf("relay: the URL %q is not of the form wss://host/path", c.URL)
	}
	if c.DB == nil {
		return nil, errors.New("relay: no database given")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	r := &Relay{
		cfg: c, path: u.Path, log: c.Log, store: NewStore(c.DB, c.Now), live: newLive(),
		crypto: make(chan struct{}, runtime.GOMAXPROCS(0)),
		guests: map[*guest]struct{}{}, gone: make(chan struct{}, 1),
		frames: sync.Pool{New: func() any { return new([]byte) }},
	}
	if r.doors, err = newDoors(c.Limits, c.TrustedProxies, c.Now); err != nil {
		return nil, err
	}
	if r.rates, err = newRates(c.Limits, c.Now); err != nil {
		return nil, err
	}
	r.store.url = c.URL
	if c.Events != nil {
		r.store.Plug(c.Events)
	}
	if err := r.store.Init(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if c.DB.Dialect() == db.Postgres {
		if r.others, err = newOthers(context.Background(), r.store, r.live); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
	}
	r.rules = &rules{db: c.DB, now: c.Now}
	if err := errors.Join(r.rules.load(context.Background()), r.describe()); err != nil {
		return nil, err
	}
	r.members, r.owners = keySets(c)
	r.pipe = r.pipeline()
	return r, nil
}

// keySets are the keys that always may write, and those of them that nobody may
// ban.
func keySets(c Config) (members, owners map[string]bool) {
	members, owners = map[string]bool{}, map[string]bool{}
	for _, k := range append(slices.Clone(c.Operators), c.Self) {
		members[k.String()], owners[k.String()] = true, true
	}
	for _, k := range c.Policy.Members {
		members[k.String()] = true
	}
	return members, owners
}

// Store is the event store, for backup and for tools.
func (r *Relay) Store() *Store { return r.store }

// Query reads stored events without regard to who may read them: it is for the
// tower itself.
func (r *Relay) Query(ctx context.Context, f nostr.Filter) ([]*nostr.Event, error) {
	list, _, err := r.store.query(ctx, f, reader{})
	if err != nil {
		return nil, err
	}
	events := make([]*nostr.Event, 0, len(list))
	for _, x := range list {
		events = append(events, x.ev)
	}
	return events, nil
}

// Publish verifies, stores and broadcasts an event of the tower's own making. It
// does not go to the inbox: a copy that the tower seals to itself is no request.
// An event that is there already is no error.
func (r *Relay) Publish(ctx context.Context, ev *nostr.Event) error {
	r.working.RLock()
	defer r.working.RUnlock()
	if r.draining.Load() {
		return errShutdown
	}
	if err := nip.Verify(ev); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if err := r.policy(ev); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if err := r.add(ctx, ev); err != nil && !isDuplicate(err) {
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

// Run sweeps out what has expired, is too old, vanished or was banned and, when ctx
// ends, drains: events that come are refused, those under way are answered, then
// every connection is closed (1001). The writer of the database must outlive it.
func (r *Relay) Run(ctx context.Context) error {
	tick, rarely := time.NewTicker(sweepEvery), time.NewTicker(sweepOldEvery)
	defer tick.Stop()
	defer rarely.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	if r.others != nil {
		wg.Go(func() { r.others.run(ctx, func(err error) { r.log.Error("live events are late", "err", err) }) })
	}
	r.sweepOld(ctx)
	for {
		r.sweep(ctx)
		select {
		case <-tick.C:
			if err := r.rules.load(ctx); err != nil && ctx.Err() == nil {
				r.log.Error("the relay's rules could not be read", "err", err)
			}
		case <-r.store.swept:
		case <-rarely.C:
			r.sweepOld(ctx)
		case <-ctx.Done():
			return r.drain()
		}
	}
}

func (r *Relay) drain() error {
	r.draining.Store(true)
	done := make(chan struct{})
	go func() {
		r.working.Lock()
		defer r.working.Unlock()
		close(done)
	}()
	end := time.After(drainFor)
	select {
	case <-done:
		if len(r.connections()) > 0 {
			time.Sleep(drainGrace)
		}
	case <-end:
	}
	for _, g := range r.connections() {
		go g.shutdown()
	}
	for len(r.connections()) > 0 {
		select {
		case <-r.gone:
		case <-end:
			for _, g := range r.connections() {
				g.kill(errShutdown)
			}
			return errors.New("relay: connections were cut when shutting down")
		}
	}
	return nil
}

func (r *Relay) connections() []*guest {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*guest, 0, len(r.guests))
	for g := range r.guests {
		list = append(list, g)
	}
	return list
}

func (r *Relay) enter(g *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests[g] = struct{}{}
}

func (r *Relay) leave(g *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.guests, g)
	select {
	case r.gone <- struct{}{}:
	default:
	}
}

// ServeHTTP answers a websocket upgrade or a request for the NIP-11 document.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case isUpgrade(req):
		r.accept(w, req)
	case r.isRPC(req):
		r.serveRPC(w, req)
	default:
		r.serveInfo(w, req)
	}
}
