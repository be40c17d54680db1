package relay

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// cork is where a websocket writes: what it writes while more is to follow is sent
// together, for a stored answer of fifty events would be fifty calls of the system.
// Whoever holds it must write once more without holding it, or flush it.
type cork struct {
	net.Conn
	pool *sync.Pool // of *[]byte

	mu      sync.Mutex // pings are written by another goroutine
	holding bool
	held    *[]byte // nil: nothing
}

// hold says whether more follows the next write.
func (c *cork) hold(more bool) { c.mu.Lock(); defer c.mu.Unlock(); c.holding = more }

// Write sends b and what was held before it, or holds it.
func (c *cork) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		if !c.holding {
			return c.Conn.Write(b)
		}
		c.held = c.pool.Get().(*[]byte)
		*c.held = (*c.held)[:0]
	}
	*c.held = append(*c.held, b...)
	if c.holding && len(*c.held) < maxHeld {
		return len(b), nil
	}
	if err := c.send(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush sends what is held, when nothing more will follow.
func (c *cork) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return nil
	}
	return c.send()
}

// send needs the lock.
func (c *cork) send() error {
	_, err := c.Conn.Write(*c.held)
	c.pool.Put(c.held)
	c.held = nil
	return err
}

// corked lets a websocket be made whose writes go through a cork.
type corked struct {
	http.ResponseWriter
	cork *cork
}

// Unwrap is for [http.NewResponseController].
func (w *corked) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is [http.Hijacker].
func (w *corked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.cork.Conn = conn
	rw.Writer.Reset(w.cork)
	return w.cork, rw, nil
}
