package relay

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
)

// DialOptions is how to reach a relay. The zero value reaches public relays over
// TLS and never identifies itself.
type DialOptions struct {
	AllowPrivate bool                                                // also ws:// and addresses that are not on the open internet
	Auth         func(relay, challenge string) (*nostr.Event, error) // signs NIP-42 answers; nil: never
	RootCAs      *x509.CertPool                                      // nil: the system's
	Now          func() time.Time                                    // nil: time.Now
	Log          *slog.Logger                                        // nil: nothing is logged
	closed       func()                                              // called once when the connection is gone
}

// The errors of a connection.
var (
	// ErrClosed says that the connection is gone. What was published without an
	// OK may or may not have arrived: publish the same event again.
	ErrClosed = errors.New("relay connection closed")
	// ErrHostile says that a relay sent too much that was broken, forged or not
	// asked for.
	ErrHostile = errors.New("relay sent too many bad messages")
	// ErrNoAuth says that a relay wants to know who we are and we do not tell.
	ErrNoAuth = errors.New("relay wants authentication")
)

// Refusal is a relay's OK false or CLOSED, in its own words.
type Refusal struct{ Relay, Reason string }

// Error names the relay and what it said.
func (r *Refusal) Error() string { return "relay " + r.Relay + " refused: " + r.Reason }

// Permanent reports whether the same event will be refused again (NIP-01
// prefixes): invalid, blocked, restricted, pow. Anything else may pass later.
func (r *Refusal) Permanent() bool {
	switch prefix, _, _ := strings.Cut(r.Reason, ":"); prefix {
	case "invalid", "blocked", "restricted", "pow", "auth-required":
		return true
	}
	return false
}

// needsAuth reports whether authenticating may change the relay's mind.
func needsAuth(reason string) bool { return strings.HasPrefix(reason, "auth-required:") }

// Conn is one connection to a relay. Its methods may be called from several
// goroutines. Its own goroutines end with Close or with the connection.
type Conn struct {
	url  string
	opts DialOptions
	born time.Time
	ws   *websocket.Conn

	ctx      context.Context // ends with the connection; its cause says why
	end      context.CancelCauseFunc
	once     sync.Once
	auth     chan struct{} // one AUTH at a time
	verified *seenIDs      // ids whose signature was checked on this connection

	mu        sync.Mutex
	waits     map[string][]chan relayMsg
	subs      map[string]*connSub
	next      int
	bad       int
	challenge string
	fresh     chan struct{} // closed and replaced when a challenge comes
	authed    string        // the challenge that was answered and accepted
	authAt    time.Time
}

// connSub is a subscription's queue. The reader waits when it is full, so a slow
// subscriber slows its relay down and nobody's memory grows.
type connSub struct {
	queue chan relayMsg
	done  chan struct{}
}

// Dial connects to a relay after checking its address, see [CleanRelayURL].
func Dial(ctx context.Context, url string, o DialOptions) (*Conn, error) {
	clean, err := CleanRelayURL(url, o.AllowPrivate)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dialling, cancel := context.WithTimeout(ctx, clientDialTimeout)
	defer cancel()
	ws, _, err := websocket.Dial(dialling, clean, &websocket.DialOptions{HTTPClient: handshakeClient(o)})
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", clean, err)
	}
	ws.SetReadLimit(clientMaxFrame)
	c := &Conn{
		url: clean, opts: o, ws: ws, born: o.Now(), auth: make(chan struct{}, 1), verified: newSeenIDs(clientSeen),
		waits: make(map[string][]chan relayMsg), subs: make(map[string]*connSub), fresh: make(chan struct{}),
	}
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	go c.read()
	go c.ping()
	return c, nil
}

// URL is the relay's address in its clean form.
func (c *Conn) URL() string { return c.url }

// Done is closed when the connection is gone; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Err is nil while the connection lives.
func (c *Conn) Err() error { return context.Cause(c.ctx) }

// Close hangs up. It may be called more than once.
func (c *Conn) Close() error {
	c.hangUp(ErrClosed)
	return nil
}

func (c *Conn) hangUp(why error) {
	c.once.Do(func() {
		c.end(why)
		_ = c.ws.CloseNow()
		if c.opts.closed != nil {
			c.opts.closed()
		}
	})
}

// read hands messages on until the connection breaks.
func (c *Conn) read() {
	for {
		kind, data, err := c.ws.Read(c.ctx)
		if err != nil {
			c.hangUp(fmt.Errorf("%w: %w", ErrClosed, err))
			return
		}
		if kind != websocket.MessageText {
			c.penalise()
			continue
		}
		c.receive(data)
	}
}

// ping notices a peer that is gone without a word.
func (c *Conn) ping() {
	t := time.NewTicker(clientPing)
	defer t.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(c.ctx, clientPingWait)
		err := c.ws.Ping(ctx)
		cancel()
		if err != nil {
			c.hangUp(fmt.Errorf("%w: no pong", ErrClosed))
			return
		}
	}
}

// receive routes one message. A panic in it costs the relay its connection and
// nobody else anything.
func (c *Conn) receive(data []byte) {
	defer func() {
		if r := recover(); r != nil {
			c.opts.Log.Error("relay message panicked", "relay", c.url, "panic", fmt.Sprint(r))
			c.hangUp(ErrHostile)
		}
	}()
	m, err := parseRelayMsg(data)
	if err != nil {
		c.penalise()
		return
	}
	switch m.Label {
	case "OK":
		c.answered(m)
	case "AUTH":
		c.challenged(m.Text)
	case "EVENT", "EOSE", "CLOSED":
		c.queue(m)
	case "NOTICE":
		c.opts.Log.Debug("relay notice", "relay", c.url, "notice", m.Text)
	}
}

// penalise counts what a good relay does not send.
func (c *Conn) penalise() {
	c.mu.Lock()
	c.bad++
	bad := c.bad
	c.mu.Unlock()
	if bad >= clientMaxBad {
		c.hangUp(ErrHostile)
	}
}

// answered passes an OK to those who wait for it; one that nobody waits for is
// ignored: it may be late.
func (c *Conn) answered(m relayMsg) {
	c.mu.Lock()
	waits := c.waits[m.ID]
	delete(c.waits, m.ID)
	c.mu.Unlock()
	for _, w := range waits {
		w <- m // has room for its one answer
	}
}

func (c *Conn) queue(m relayMsg) {
	c.mu.Lock()
	s := c.subs[m.Sub]
	c.mu.Unlock()
	if s == nil {
		return // closed a moment ago
	}
	select {
	case s.queue <- m:
	case <-s.done:
	case <-c.ctx.Done():
	}
}

// write sends one message. A writer that is stuck ends at ctx's deadline, ten
// seconds at the most, and takes the connection with it. ctx being cancelled does
// not end a write that has begun: half a frame would cost everybody who shares the
// connection, and the answer that a caller had waited for may come before the
// write that asked for it has returned.
func (c *Conn) write(ctx context.Context, parts ...any) error {
	data, err := json.Marshal(parts)
	if err != nil {
		return fmt.Errorf("writing to %s: %w", c.url, err)
	}
	if ctx.Err() != nil {
		return c.broken(ctx, ctx.Err())
	}
	last := time.Now().Add(clientPublishTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(last) {
		last = deadline
	}
	whole, cancel := context.WithDeadline(context.WithoutCancel(ctx), last)
	defer cancel()
	if err := c.ws.Write(whole, websocket.MessageText, data); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// broken prefers the reason why the connection or the caller ended.
func (c *Conn) broken(ctx context.Context, err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("relay %s: %w", c.url, ctx.Err())
	}
	return fmt.Errorf("relay %s: %w: %w", c.url, ErrClosed, err)
}

// exchange sends an event and waits for the OK with its id: no other answer, and
// no broken connection, is success.
func (c *Conn) exchange(ctx context.Context, label string, ev *nostr.Event) (relayMsg, error) {
	w := make(chan relayMsg, 1)
	c.mu.Lock()
	c.waits[ev.ID] = append(c.waits[ev.ID], w)
	c.mu.Unlock()
	defer c.forget(ev.ID, w)
	if err := c.write(ctx, label, ev); err != nil {
		return relayMsg{}, err
	}
	select {
	case m := <-w:
		return m, nil
	case <-ctx.Done():
		return relayMsg{}, fmt.Errorf("relay %s: no OK: %w", c.url, ctx.Err())
	case <-c.ctx.Done():
		select {
		case m := <-w: // it came just before the end
			return m, nil
		default:
			return relayMsg{}, context.Cause(c.ctx)
		}
	}
}

func (c *Conn) forget(id string, w chan relayMsg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.waits[id][:0]
	for _, o := range c.waits[id] {
		if o != w {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		delete(c.waits, id)
		return
	}
	c.waits[id] = rest
}

// Publish sends an event and returns nil when the relay said OK true for its id,
// or that it has it already. A relay that asks for authentication gets it, and
// the event once more.
func (c *Conn) Publish(ctx context.Context, ev *nostr.Event) error {
	ctx, cancel := context.WithTimeout(ctx, clientPublishTimeout)
	defer cancel()
	m, err := c.exchange(ctx, "EVENT", ev)
	if err == nil && !m.OK && needsAuth(m.Text) {
		if err = c.Auth(ctx); err == nil {
			m, err = c.exchange(ctx, "EVENT", ev)
		}
	}
	if err != nil {
		return err
	}
	if !m.OK && !strings.HasPrefix(m.Text, "duplicate:") {
		return &Refusal{Relay: c.url, Reason: m.Text}
	}
	return nil
}

// open makes the next subscription of this connection.
func (c *Conn) open() (string, *connSub, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subs) >= clientSubs {
		return "", nil, fmt.Errorf("relay %s: more than %d subscriptions", c.url, clientSubs)
	}
	c.next++
	id := "t" + strconv.Itoa(c.next)
	s := &connSub{queue: make(chan relayMsg, clientQueue), done: make(chan struct{})}
	c.subs[id] = s
	return id, s, nil
}

func (c *Conn) shut(id string, s *connSub) {
	c.mu.Lock()
	delete(c.subs, id)
	c.mu.Unlock()
	close(s.done)
}
