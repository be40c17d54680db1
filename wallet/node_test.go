package wallet

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// node is what the scripted servers share: a real wallet inside, what was said
// when an invoice was made, and faults that a test scripts.
type node struct {
	t     testing.TB
	fake  *Fake
	clock *clock
	http  *httptest.Server
	calls atomic.Int64

	mu     sync.Mutex
	fault  http.HandlerFunc           // answers instead of everything, if it is set
	broken func(*http.Request) bool   // calls that are cut off
	tamper func(reply map[string]any) // changes a created invoice
	show   func(reply map[string]any) // changes an invoice that is shown
	said   map[timmy.Hash]string      // memo, label or external id
	made   []timmy.Hash               // in order
	wake   chan struct{}              // closed when more is paid, or the stream is cut
	cut    int                        // counts the cuts
	live   int                        // streams that are open
	quit   chan struct{}              // the test is over
}

func newNode(t testing.TB, mux http.Handler, secure func(http.Handler) *httptest.Server) *node {
	c := &clock{at: born}
	n := &node{t: t, clock: c, said: map[timmy.Hash]string{}, wake: make(chan struct{}), quit: make(chan struct{})}
	n.fake = openFake(t, filepath.Join(t.TempDir(), "node.jsonl"), c)
	n.http = secure(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.calls.Add(1)
		n.mu.Lock()
		fault, broken := n.fault, n.broken
		n.mu.Unlock()
		if broken != nil && broken(r) {
			panic(http.ErrAbortHandler)
		}
		if fault != nil {
			fault(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { close(n.quit); n.http.Close() })
	return n
}

func (n *node) set(f func()) { n.mu.Lock(); defer n.mu.Unlock(); f() }

// pem is the server's own certificate.
func (n *node) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.http.Certificate().Raw})
}

// issue makes an invoice and remembers what was said about it.
func (n *node) issue(top timmy.TopUp, said string, life time.Duration) (timmy.Invoice, error) {
	inv, err := n.fake.Issue(context.Background(), "", top, life)
	if err == nil {
		n.set(func() { n.said[inv.Hash] = said; n.made = append(n.made, inv.Hash) })
	}
	return inv, err
}

func (n *node) pay(bolt11 string, received timmy.Msat) {
	if _, err := n.fake.Pay(context.Background(), bolt11, received); err != nil {
		n.t.Error(err)
	}
	n.rouse()
}

// rouse wakes whoever streams or waits.
func (n *node) rouse() { n.set(func() { close(n.wake); n.wake = make(chan struct{}) }) }

// invoice is the wallet's own view.
func (n *node) invoice(h timmy.Hash) (fakeInvoice, string, bool) {
	n.fake.mu.Lock()
	inv, ok := n.fake.invoices[h]
	var out fakeInvoice
	if ok {
		out = *inv
	}
	n.fake.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return out, n.said[h], ok
}

// changed lets a test spoil what is shown.
func (n *node) changed(m map[string]any) map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.show != nil {
		n.show(m)
	}
	return m
}

// follow returns the settlements after seq as they come, until the client or the
// test is gone or the stream is cut.
func (n *node) follow(ctx context.Context, seq int64, each func(timmy.Payment, int64) bool) {
	var cut int
	n.set(func() { cut = n.cut; n.live++ })
	defer n.set(func() { n.live-- })
	for {
		n.mu.Lock()
		wake, now := n.wake, n.cut
		n.mu.Unlock()
		if now != cut {
			return
		}
		for _, p := range n.fake.after(seq) {
			if seq++; !each(p, seq) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.quit:
			return
		case <-wake:
		}
	}
}

// listening waits until somebody follows. What is paid then may be told twice: by the
// stream, and by what the wallet lists when it begins to watch.
func (n *node) listening() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n.mu.Lock()
		live := n.live
		n.mu.Unlock()
		if live > 0 {
			return
		}
	}
	n.t.Error("nobody listens")
}

// cutStreams cuts every stream.
func (n *node) cutStreams() { n.set(func() { n.cut++ }); n.rouse() }

// gather runs Watch and collects what it reports until stop is called, which
// returns the last cursor.
func gather(t *testing.T, w pusher, from timmy.Cursor) (got chan timmy.Payment, stop func() timmy.Cursor) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got = make(chan timmy.Payment, 1024)
	last := from
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil { // as the till does
			_ = w.Watch(ctx, last, func(p timmy.Payment, c timmy.Cursor) error {
				if c != "" {
					last = c
				}
				got <- p
				return nil
			})
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return got, func() timmy.Cursor { cancel(); <-done; return last }
}

// await collects reports until every hash was seen.
func await(t *testing.T, got <-chan timmy.Payment, want map[timmy.Hash]bool) {
	t.Helper()
	left := map[timmy.Hash]bool{}
	for h := range want {
		left[h] = true
	}
	late := time.After(time.Minute)
	for len(left) > 0 {
		select {
		case p := <-got:
			if !p.Settled || !want[p.Hash] {
				t.Fatalf("reported %+v", p)
			}
			delete(left, p.Hash)
		case <-late:
			t.Fatalf("%d of %d payments were not reported", len(left), len(want))
		}
	}
}
