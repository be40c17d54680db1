package relay

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// guest is one connection. Its frames are handled in order by one goroutine,
// which alone owns the fields up to out; what is queued is written by another.
type guest struct {
	r         *Relay
	ws        *websocket.Conn
	ctx       context.Context
	cancel    context.CancelCauseFunc
	addr      netip.Addr
	from      netip.Prefix // around it
	challenge string

	subs     map[string]*sub
	values   int // of all filters of subs
	warned   time.Time
	warnings int
	end      websocket.CloseError // how to close; the zero value is abruptly

	out   *queue
	cork  *cork
	rate  *rate.Limiter
	keys  atomic.Pointer[[]string] // authenticated, in hex
	alive atomic.Bool              // a ping is under way

	pinger atomic.Pointer[time.Timer]
}

// errClose ends a connection; guest.end says how.
var errClose = errors.New("closing")

// accept makes a websocket of a request, and serves it.
func (r *Relay) accept(w http.ResponseWriter, req *http.Request) {
	if r.draining.Load() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	addr := r.doors.client(req)
	if r.rules.blocks(addr) {
		r.count.turned.Add(1)
		http.Error(w, "blocked", http.StatusForbidden)
		return
	}
	if !r.doors.enter(addr) {
		r.count.turned.Add(1)
		http.Error(w, "too many connections", http.StatusTooManyRequests)
		return
	}
	g := r.upgrade(w, req, addr)
	if g == nil {
		r.doors.leave(addr)
		return
	}
	r.count.accepted.Add(1)
	r.enter(g)
	go func() { // what net/http keeps for a call is not kept as long as a connection
		defer r.doors.leave(addr)
		defer r.leave(g)
		g.serve()
	}()
}

// upgrade makes a guest of a request; nil: it was answered otherwise.
func (r *Relay) upgrade(w http.ResponseWriter, req *http.Request, addr netip.Addr) *guest {
	challenge := make([]byte, challengeSz)
	if _, err := io.ReadFull(r.cfg.Rand, challenge); err != nil {
		r.log.Error("no randomness for a challenge", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return nil
	}
	// Any page may connect: Nostr has no cookies to steal.
	frames := rate.NewLimiter(rate.Limit(r.cfg.Limits.FramesPerSecond), r.cfg.Limits.burst())
	out := &cork{pool: &r.frames}
	ws, err := websocket.Accept(&corked{w, out}, req, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { return frames.AllowN(r.cfg.Now(), 1) },
	})
	if err != nil {
		return nil
	}
	ws.SetReadLimit(-1) // read cuts itself, so that it can say why first
	g := &guest{
		r: r, ws: ws, addr: addr, from: prefix(addr), challenge: hex.EncodeToString(challenge),
		subs: map[string]*sub{}, cork: out, rate: frames,
	}
	g.out = newQueue(g.write)
	g.ctx, g.cancel = context.WithCancelCause(context.Background()) // it outlives the call
	return g
}

func (g *guest) serve() {
	g.pingLater()
	err := g.send("AUTH", g.challenge)
	for err == nil {
		err = g.next()
	}
	for _, s := range g.subs {
		g.drop(s)
	}
	g.out.end()
	if errors.Is(err, errStalled) {
		g.kill(errStalled)
	}
	if g.end.Code == 0 {
		g.cancel(errEnded)
	}
	late := time.AfterFunc(writeDeadline, func() { g.kill(errStalled) })
	<-g.out.done
	late.Stop()
	if g.end.Code != 0 {
		_ = g.ws.Close(g.end.Code, g.end.Reason) // the peer may be gone already
	}
	g.cancel(errEnded)
	if errors.Is(context.Cause(g.ctx), errStalled) {
		g.r.count.stalled.Add(1)
	}
	_ = g.ws.CloseNow() // as above
	g.pinger.Load().Stop()
}

// next reads a frame and handles it. A panic ends this connection alone: what
// comes from a stranger must not end the tower.
func (g *guest) next() (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.r.count.panics.Add(1)
			g.r.log.Error("a frame could not be handled", "panic", p)
			err = g.close(websocket.StatusInternalError, "internal error")
		}
	}()
	frame, err := g.read()
	if err != nil {
		return err
	}
	g.r.count.frames.Add(1)
	if !g.rate.AllowN(g.r.cfg.Now(), 1) {
		return g.excess(frame)
	}
	return g.handle(frame)
}

// read returns the next text frame.
func (g *guest) read() ([]byte, error) {
	kind, from, err := g.ws.Reader(g.ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, g.refuse(websocket.StatusUnsupportedData, "invalid: text frames only")
	}
	late := time.AfterFunc(frameWithin, func() { g.kill(errEnded) })
	defer late.Stop()
	frame, err := io.ReadAll(io.LimitReader(from, maxFrame+1))
	if err != nil {
		return nil, err
	}
	if len(frame) > maxFrame {
		return nil, g.refuse(websocket.StatusMessageTooBig, "invalid: message too long")
	}
	return frame, nil
}

// excess answers a frame over the rate. Events are refused by id as far as it is
// seen at a glance, so that an honest client in a hurry does not wait.
func (g *guest) excess(frame []byte) error {
	g.r.count.limited.Add(1)
	if id := glance(frame); id != "" {
		if err := g.send("OK", id, false, "rate-limited: slow down"); err != nil {
			return err
		}
	}
	now := g.r.cfg.Now()
	if now.Sub(g.warned) < warnEvery {
		return nil
	}
	g.warned = now
	if g.warnings++; g.warnings > maxWarnings {
		return g.refuse(websocket.StatusPolicyViolation, "rate-limited: too many messages")
	}
	return g.notice("rate-limited: slow down")
}

// handle answers one frame.
func (g *guest) handle(frame []byte) error {
	items, err := splitFrame(frame)
	if err != nil {
		return g.notice(err.Error())
	}
	if len(items) == 0 {
		return g.notice("invalid: empty message")
	}
	label, ok := text(items[0])
	if !ok {
		return g.notice("invalid: label must be a string")
	}
	switch label {
	case "EVENT":
		return g.event(items)
	case "REQ":
		return g.req(items)
	case "CLOSE":
		return g.unsubscribe(items)
	case "AUTH":
		return g.auth(items)
	case "COUNT":
		return g.unsupported("CLOSED", items)
	case "NEG-OPEN":
		return g.unsupported("NEG-ERR", items)
	}
	return g.notice("unsupported: " + shorten(label, maxLabel))
}

// unsupported answers what has a subscription id and is not offered.
func (g *guest) unsupported(answer string, items []json.RawMessage) error {
	label, _ := text(items[0])
	if len(items) < 2 {
		return g.notice("unsupported: " + label)
	}
	id, _ := subID(items[1])
	return g.send(answer, id, "unsupported: "+label)
}

// shorten cuts s to at most n bytes, between two characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// glance finds the id of an event without parsing the frame.
func glance(frame []byte) string {
	const mark = `"id":"`
	if len(frame) < 9 || string(frame[:9]) != `["EVENT",` {
		return ""
	}
	for i := 9; i+len(mark)+64 < len(frame); i++ {
		if string(frame[i:i+len(mark)]) == mark {
			id := string(frame[i+len(mark) : i+len(mark)+64])
			if hex64(id) {
				return id
			}
			return ""
		}
	}
	return ""
}

// authed lists the keys of this connection. The list is never changed.
func (g *guest) authed() []string {
	if p := g.keys.Load(); p != nil {
		return *p
	}
	return nil
}

// send queues a message for this guest, waiting for room.
func (g *guest) send(parts ...any) error {
	b, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	return g.out.wait(g.ctx, message{head: b})
}

func (g *guest) notice(s string) error { return g.send("NOTICE", s) }

// live queues an event for this guest without waiting. Who is too far behind is
// closed.
func (g *guest) live(m message) {
	if err := g.out.push(m); errors.Is(err, errStalled) {
		g.kill(errStalled)
	}
}

// refuse tells the guest why, and ends the connection.
func (g *guest) refuse(code websocket.StatusCode, why string) error {
	if err := g.notice(why); err != nil {
		return err
	}
	return g.close(code, why)
}

// close ends the connection after what is queued was written.
func (g *guest) close(code websocket.StatusCode, reason string) error {
	g.end = websocket.CloseError{Code: code, Reason: reason}
	return errClose
}

// kill ends the connection at once. It waits for nothing.
func (g *guest) kill(why error) { g.cancel(why) }

// shutdown closes the connection politely from outside, and cuts it if the peer
// does not answer.
func (g *guest) shutdown() {
	late := time.AfterFunc(closeWithin, func() { g.kill(errShutdown) })
	defer late.Stop()
	_ = g.ws.Close(websocket.StatusGoingAway, "shutting down") // it is over either way
}

// write sends what is queued until there is no more. A write that takes too long
// closes the connection.
func (g *guest) write() {
	for {
		m, more := g.out.take()
		if !more {
			return
		}
		if err := g.frame(m); err != nil {
			_ = g.cork.flush() // it may hold the frame that says goodbye; the peer may be gone
			g.kill(err)
			g.out.fail()
			return
		}
		g.r.count.sent.Add(1)
	}
}

// frame writes a message. Its buffer is shared by all connections, for most of them
// are quiet, and an event for many would cost a buffer for each.
func (g *guest) frame(m message) error {
	buf := g.r.frames.Get().(*[]byte)
	defer g.r.frames.Put(buf)
	*buf = append(append((*buf)[:0], m.head...), m.body...)
	if m.body != nil {
		*buf = append(*buf, ']')
	}
	ctx, cancel := context.WithTimeoutCause(g.ctx, writeDeadline, errStalled)
	defer cancel()
	g.cork.hold(!g.out.empty())
	if err := g.ws.Write(ctx, websocket.MessageText, *buf); err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			return errStalled
		}
		return errEnded
	}
	return nil
}

// pingLater pings from time to time, as long as the connection is there.
func (g *guest) pingLater() {
	g.pinger.Store(time.AfterFunc(pingEvery, func() {
		if g.ctx.Err() == nil {
			g.ping()
			g.pingLater()
		}
	}))
}

// ping finds out whether the peer is still there, and keeps proxies from closing
// a quiet connection.
func (g *guest) ping() {
	if !g.alive.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer g.alive.Store(false)
		ctx, cancel := context.WithTimeout(g.ctx, pongWithin)
		defer cancel()
		if g.ws.Ping(ctx) != nil {
			g.kill(errEnded)
		}
	}()
}

// drop takes a subscription out of the live index.
func (g *guest) drop(s *sub) {
	s.close()
	g.r.live.remove(s)
	g.values -= s.values
	delete(g.subs, s.id)
	g.r.count.subs.Add(-1)
}
