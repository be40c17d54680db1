package main

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

const (
	// gateTotal is how many connections are open at once: the relay's 4,096, and room
	// for HTTP.
	gateTotal = 6 << 10
	// gateShare is how many of one address, as a multiple of what the relay lets it
	// have: an answer that nobody reads holds its connection for answerTime.
	gateShare = 2
	// answerTime is for an answer to be read, the relay's and a stream's apart, which
	// have deadlines of their own. The longest is a request that waits for its answer.
	answerTime = 4 * time.Minute
	// refusalTime is for the line that says so; it fits the buffer of a new socket.
	refusalTime = 100 * time.Millisecond
)

const gateRefusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n" +
	"Content-Type: application/json; charset=utf-8\r\nContent-Length: 33\r\n\r\n{\"error\":\"Too many connections\"}\n"

// gate is a listener that bounds the open connections, in all and of one address
// (IPv6: /64). One too many is told so and closed. The addresses of trusted proxies
// are bounded by the total alone: behind them are many.
type gate struct {
	net.Listener
	each    int
	proxies timmy.Proxies

	mu   sync.Mutex
	all  int
	open map[netip.Prefix]int
}

func newGate(l net.Listener, each int, proxies timmy.Proxies) *gate {
	return &gate{Listener: l, each: each, proxies: proxies, open: map[netip.Prefix]int{}}
}

// Accept waits for a connection that there is room for.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := g.from(c)
		if g.enter(from) {
			return &gated{Conn: c, leave: sync.OnceFunc(func() { g.leave(from) })}, nil
		}
		_ = c.SetWriteDeadline(time.Now().Add(refusalTime))
		_, _ = c.Write([]byte(gateRefusal))
		_ = c.Close()
	}
}

// from is what a connection is counted by; the zero prefix is counted with no
// address.
func (g *gate) from(c net.Conn) netip.Prefix {
	a := timmy.Proxies(nil).Client(c.RemoteAddr().String(), nil)
	if g.proxies.Has(a) {
		return netip.Prefix{}
	}
	return timmy.Network(a, 32, 64)
}

func (g *gate) enter(from netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= gateTotal || from.IsValid() && g.open[from] >= g.each {
		return false
	}
	g.all++
	if from.IsValid() {
		g.open[from]++
	}
	return true
}

func (g *gate) leave(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if !from.IsValid() {
		return
	}
	if g.open[from]--; g.open[from] == 0 {
		delete(g.open, from)
	}
}

// gated gives its place back when it is closed.
type gated struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *gated) Close() error {
	c.leave()
	return c.Conn.Close()
}
