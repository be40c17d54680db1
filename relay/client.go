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
)

// ErrBackoff refuses to call a relay that failed a moment ago. It is wrapped
// with the time at which it may be tried again.
var ErrBackoff = errors.New("relay is backed off")

// ClientConfig is what a [Client] needs.
type ClientConfig struct {
	DialOptions
	MaxBackoff time.Duration // longest wait after failures; 0: ten minutes
}

// Client talks to other people's relays over a bounded set of connections that
// are shared, verified and closed when idle. A relay that fails is left alone
// for a while; one that lies, for an hour.
type Client struct {
	opts  DialOptions
	most  time.Duration // to leave a relay alone that failed
	slots chan struct{} // one for each connection

	mu     sync.Mutex
	relays map[string]*foreign
	over   bool // Run has ended: no connection is kept

	dialled, failed, published, refused atomic.Int64
}

// foreign is what is known of one relay.
type foreign struct {
	key   string        // lane and address
	dial  chan struct{} // one dial at a time
	conn  *Conn         // nil: none
	busy  int           // calls that use conn
	used  time.Time
	fails int
	until time.Time // not to be called before
}

// The lanes: a relay has one connection for calls and one for subscriptions.
const (
	laneCalls = "calls "
	laneSubs  = "subs "
)

// ClientStats counts what a [Client] did.
type ClientStats struct {
	Connections                         int
	Dialled, Failed, Published, Refused int64
}

// NewClient makes a client. Without Run it works but never closes idle
// connections.
func NewClient(cfg ClientConfig) *Client {
	o := cfg.DialOptions
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	most := cfg.MaxBackoff
	if most <= 0 {
		most = clientMaxBackoff
	}
	return &Client{opts: o, most: most, slots: make(chan struct{}, clientConns), relays: make(map[string]*foreign)}
}

// Run closes idle connections until ctx ends, and then all of them.
func (c *Client) Run(ctx context.Context) error {
	t := time.NewTicker(clientIdle / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			c.mu.Lock()
			c.over = true
			c.mu.Unlock()
			c.closeIdle(func(*foreign) bool { return true })
			return nil
		case <-t.C:
			old := c.opts.Now().Add(-clientIdle)
			c.closeIdle(func(f *foreign) bool { return f.busy == 0 && f.used.Before(old) })
		}
	}
}

// Stats reads the counters.
func (c *Client) Stats() ClientStats {
	return ClientStats{
		Connections: len(c.slots),
		Dialled:     c.dialled.Load(), Failed: c.failed.Load(),
		Published: c.published.Load(), Refused: c.refused.Load(),
	}
}

// Publish sends an event to a relay and returns nil when the relay said that it
// has it. Ten seconds are the most it takes.
func (c *Client) Publish(ctx context.Context, url string, ev *nostr.Event) error {
	ctx, cancel := context.WithTimeout(ctx, clientPublishTimeout)
	defer cancel()
	err := c.with(ctx, laneCalls, url, func(conn *Conn) error { return conn.Publish(ctx, ev) })
	if err == nil {
		c.published.Add(1)
	} else {
		c.refused.Add(1)
	}
	return err
}

// Fetch returns a relay's stored events that match f, verified.
func (c *Client) Fetch(ctx context.Context, url string, f nostr.Filter) ([]*nostr.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, clientPublishTimeout)
	defer cancel()
	var found []*nostr.Event
	err := c.with(ctx, laneCalls, url, func(conn *Conn) (err error) {
		found, err = conn.Fetch(ctx, f)
		return err
	})
	return found, err
}

// Subscribe keeps a subscription at a relay until ctx ends, whatever the relay
// does: it dials again, with back-off, and asks again with the same filter, so
// that an event dated before the break is not lost. each sees an event once for
// each connection and must not mind seeing it again.
func (c *Client) Subscribe(ctx context.Context, url string, f nostr.Filter, each func(*nostr.Event)) error {
	return c.Follow(ctx, url, func(ctx context.Context, conn *Conn) error { return conn.Subscribe(ctx, f, each) })
}

// Follow is Subscribe for who has more to do with a connection: read is called for
// each one, and when it returns there is another, after a pause.
func (c *Client) Follow(ctx context.Context, url string, read func(context.Context, *Conn) error) error {
	for ctx.Err() == nil {
		err := c.with(ctx, laneSubs, url, func(conn *Conn) error { return read(ctx, conn) })
		if errors.Is(err, ErrAddress) {
			return err
		}
		c.opts.Log.Debug("relay subscription ended", "relay", url, "error", err)
		wait := time.NewTimer(c.wait(url))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
	return ctx.Err()
}

// wait is how long to leave a relay alone now: its back-off, or a breath.
func (c *Client) wait(url string) time.Duration {
	clean, _ := CleanRelayURL(url, c.opts.AllowPrivate)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.relays[laneSubs+clean]; f != nil {
		return max(f.until.Sub(c.opts.Now()), time.Second)
	}
	return time.Second
}

// with lends a connection to do. What do reports decides about the back-off: a
// refusal is an answer, anything else but our own caller's end is a failure. A
// kept connection that turns out to be dead is replaced once. Connections of
// different lanes are not shared, so that a slow subscriber holds up nobody's OK.
func (c *Client) with(ctx context.Context, lane, url string, do func(*Conn) error) error {
	clean, err := CleanRelayURL(url, c.opts.AllowPrivate)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		l, err := c.borrow(ctx, lane, clean)
		if err != nil {
			return err
		}
		err = do(l.conn)
		if first && l.kept && errors.Is(err, ErrClosed) && ctx.Err() == nil {
			c.drop(l)
			continue
		}
		c.giveBack(l, err)
		return err
	}
}

// loan is a connection in use. kept: it was open before.
type loan struct {
	of   *foreign
	conn *Conn
	kept bool
}

// borrow finds or makes the relay's connection and marks it busy.
func (c *Client) borrow(ctx context.Context, lane, url string) (loan, error) {
	f, err := c.lookup(lane, url)
	if err != nil {
		return loan{}, err
	}
	select {
	case f.dial <- struct{}{}:
		defer func() { <-f.dial }()
	case <-ctx.Done():
		c.release(f)
		return loan{}, fmt.Errorf("relay %s: %w", url, ctx.Err())
	}
	c.mu.Lock()
	if f.conn != nil && errors.Is(f.conn.Err(), ErrHostile) {
		f.conn, f.until = nil, c.opts.Now().Add(clientBan) // nobody was looking when it hung up on itself
	}
	conn, until := f.conn, f.until
	c.mu.Unlock()
	if conn != nil && conn.Err() == nil {
		return loan{of: f, conn: conn, kept: true}, nil
	}
	if c.opts.Now().Before(until) {
		c.release(f)
		return loan{}, fmt.Errorf("relay %s: %w until %s", url, ErrBackoff, until.UTC().Format(time.RFC3339))
	}
	conn, err = c.connect(ctx, url)
	if err != nil {
		c.giveBack(loan{of: f}, err)
		return loan{}, err
	}
	c.mu.Lock()
	f.conn = conn
	c.mu.Unlock()
	return loan{of: f, conn: conn}, nil
}

// lookup finds the relay's entry, counts the caller in, and keeps the table
// bounded.
func (c *Client) lookup(lane, url string) (*foreign, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := lane + url
	f := c.relays[key]
	if f == nil {
		if len(c.relays) >= clientRelays && !c.forgetOne() {
			return nil, fmt.Errorf("relay %s: %w: too many relays at once", url, ErrBackoff)
		}
		f = &foreign{key: key, dial: make(chan struct{}, 1)}
		c.relays[key] = f
	}
	f.busy++
	f.used = c.opts.Now()
	return f, nil
}

// forgetOne drops the entry that was used longest ago and holds no connection.
func (c *Client) forgetOne() bool {
	var oldest *foreign
	for _, f := range c.relays {
		if f.busy == 0 && f.conn == nil && (oldest == nil || f.used.Before(oldest.used)) {
			oldest = f
		}
	}
	if oldest != nil {
		delete(c.relays, oldest.key)
	}
	return oldest != nil
}

// connect waits for a free slot, closing the longest idle connection if it must,
// and dials.
func (c *Client) connect(ctx context.Context, url string) (*Conn, error) {
	for tries := 0; ; tries++ {
		select {
		case c.slots <- struct{}{}:
			o := c.opts
			o.closed = func() { <-c.slots }
			conn, err := Dial(ctx, url, o)
			if err != nil {
				<-c.slots
				return nil, err
			}
			c.dialled.Add(1)
			return conn, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("relay %s: waiting for a connection: %w", url, ctx.Err())
		case <-time.After(time.Duration(min(tries, 1)) * 50 * time.Millisecond):
			c.closeOldest()
		}
	}
}

// giveBack ends a loan. err is what happened with it.
func (c *Client) giveBack(l loan, err error) {
	refusal, refused := errors.AsType[*Refusal](err)
	failed := err != nil && !refused && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNoAuth) &&
		!errors.Is(err, errIdle) && !errors.Is(err, ErrSilent)
	f, gone := l.of, l.conn != nil && l.conn.Err() != nil
	c.mu.Lock()
	now := c.opts.Now()
	f.busy--
	f.used = now
	switch {
	case gone && errors.Is(l.conn.Err(), ErrHostile):
		f.until = now.Add(clientBan)
	case failed && gone && now.Sub(l.conn.born) > clientIdle:
		f.fails, f.until = 0, now.Add(time.Second) // it served us well: relays restart
	case failed:
		f.fails++
		f.until = now.Add(min(c.most, backoff(f.fails)))
		c.failed.Add(1)
	case refused && !refusal.Permanent():
		f.until = now.Add(min(c.most, clientBackoff)) // heeded by the next dial and by Subscribe
	case err == nil:
		f.fails = 0
	}
	drop := l.conn != nil && (failed || gone || c.over)
	if drop && f.conn == l.conn {
		f.conn = nil
	}
	c.mu.Unlock()
	if drop {
		l.conn.hangUp(ErrClosed)
	}
}

// drop ends a loan whose kept connection had died meanwhile: nobody's failure.
func (c *Client) drop(l loan) {
	c.mu.Lock()
	l.of.busy--
	if l.of.conn == l.conn {
		l.of.conn = nil
	}
	c.mu.Unlock()
	l.conn.hangUp(ErrClosed)
}

// release ends a loan that never had a connection and says nothing about the
// relay.
func (c *Client) release(f *foreign) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.busy--
}

// errIdle is why an idle connection was closed; it is no failure.
var errIdle = errors.New("idle relay connection closed")

func (c *Client) closeIdle(which func(*foreign) bool) {
	var conns []*Conn
	c.mu.Lock()
	for _, f := range c.relays {
		if f.conn != nil && which(f) {
			conns = append(conns, f.conn)
			f.conn = nil
		}
	}
	c.mu.Unlock()
	for _, conn := range conns {
		conn.hangUp(errIdle)
	}
}

func (c *Client) closeOldest() {
	var oldest *foreign
	c.mu.Lock()
	for _, f := range c.relays {
		if f.conn != nil && f.busy == 0 && (oldest == nil || f.used.Before(oldest.used)) {
			oldest = f
		}
	}
	c.mu.Unlock()
	c.closeIdle(func(f *foreign) bool { return f == oldest && f.busy == 0 })
}

// backoff doubles from [clientBackoff] to [clientMaxBackoff].
func backoff(fails int) time.Duration {
	d := clientBackoff
	for range fails - 1 {
		if d *= 2; d >= clientMaxBackoff {
			return clientMaxBackoff
		}
	}
	return d
}
