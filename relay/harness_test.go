package relay

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/nip"
)

const testURL = "wss://relay.example/nostr"

// clock is a time that a test may move.
type clock struct {
	mu  sync.Mutex
	at  time.Time // where it stands still; zero: it goes
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() {
		return c.at.Add(c.off)
	}
	return time.Now().Add(c.off)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// site is a relay that listens.
type site struct {
	*Relay
	url   string
	clock *clock
	self  nip.Key
	stop  func() // drains, as a signal would
	done  chan error
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	s := &site{clock: &clock{}, self: newKey(t), done: make(chan error, 1)}
	c := Config{
		URL: testURL, Name: "test", Self: s.self.Public(), Now: s.clock.now,
		Limits: Limits{Connections: 2_000, PerAddress: 2_000},
	}
	for _, f := range change {
		f(&c)
	}
	if c.DB == nil {
		c.DB = dbtest.Open(t, newPlace(t))
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.Relay = r
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.done <- r.Run(ctx) }()
	srv := httptest.NewServer(r)
	s.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		cancel()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return s
}

func newKey(t testing.TB) nip.Key {
	t.Helper()
	k, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signed makes an event; tags are given as "name value value".
func signed(t testing.TB, k nip.Key, kind int, content string, tags ...nostr.Tag) *nostr.Event {
	t.Helper()
	return signedAt(t, k, time.Now(), kind, content, tags...)
}

func signedAt(t testing.TB, k nip.Key, at time.Time, kind int, content string, tags ...nostr.Tag) *nostr.Event {
	t.Helper()
	ev := &nostr.Event{Kind: kind, Content: content, CreatedAt: nostr.Timestamp(at.Unix()), Tags: tags}
	if ev.Tags == nil {
		ev.Tags = nostr.Tags{}
	}
	if err := k.Sign(ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// peer is a client that speaks raw frames.
type peer struct {
	t         testing.TB
	ws        *websocket.Conn
	challenge string
}

func (s *site) dial(t testing.TB) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { _ = ws.CloseNow() })
	p := &peer{t: t, ws: ws}
	var first []string
	if err := json.Unmarshal([]byte(p.read()), &first); err != nil || len(first) != 2 || first[0] != "AUTH" || len(first[1]) != 64 {
		t.Fatalf("want a challenge first, got %v (%v)", first, err)
	}
	p.challenge = first[1]
	return p
}

func (p *peer) send(frame string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		p.t.Fatalf("sending %.60s: %v", frame, err)
	}
}

func (p *peer) next(wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, b, err := p.ws.Read(ctx)
	return string(b), err
}

func (p *peer) read() string {
	p.t.Helper()
	s, err := p.next(time.Minute)
	if err != nil {
		p.t.Fatalf("reading: %v", err)
	}
	return s
}

func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.read(); got != w {
			p.t.Fatalf("got  %.300s\nwant %.300s", got, w)
		}
	}
}

// closed expects the connection to be closed with that code.
func (p *peer) closed(code websocket.StatusCode) {
	p.t.Helper()
	for {
		s, err := p.next(time.Minute)
		if err == nil {
			p.t.Logf("before the end: %.100s", s)
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			p.t.Fatalf("closed with %v (%v), want %v", got, err, code)
		}
		return
	}
}

func frame(t testing.TB, parts ...any) string {
	t.Helper()
	b, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// publish sends an event and returns the answer's verdict and text.
func (p *peer) publish(ev *nostr.Event) (bool, string) {
	p.t.Helper()
	p.send(frame(p.t, "EVENT", ev))
	return p.ok(ev.ID)
}

// ok reads until the OK for an id.
func (p *peer) ok(id string) (bool, string) {
	p.t.Helper()
	for {
		var parts []json.RawMessage
		s := p.read()
		if err := json.Unmarshal([]byte(s), &parts); err != nil {
			p.t.Fatal(err)
		}
		if len(parts) != 4 || string(parts[0]) != `"OK"` || string(parts[1]) != fmt.Sprintf("%q", id) {
			continue
		}
		text, _ := text(parts[3])
		return string(parts[2]) == "true", text
	}
}

func (p *peer) mustPublish(ev *nostr.Event) {
	p.t.Helper()
	if ok, why := p.publish(ev); !ok || why != "" {
		p.t.Fatalf("kind %d: OK %v %q", ev.Kind, ok, why)
	}
}

func (p *peer) auth(k nip.Key) {
	p.t.Helper()
	ev, err := nip.Auth(k, testURL, p.challenge, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(frame(p.t, "AUTH", ev))
	if ok, why := p.ok(ev.ID); !ok {
		p.t.Fatalf("AUTH: %s", why)
	}
}

// query sends a REQ and returns the ids that came before EOSE, or the text of
// CLOSED.
func (p *peer) query(id string, filters ...string) (ids []string, closed string) {
	p.t.Helper()
	p.send(fmt.Sprintf(`["REQ",%q,%s]`, id, strings.Join(filters, ",")))
	return p.stored(id)
}

func (p *peer) stored(id string) (ids []string, closed string) {
	p.t.Helper()
	for {
		var parts []json.RawMessage
		if err := json.Unmarshal([]byte(p.read()), &parts); err != nil {
			p.t.Fatal(err)
		}
		label, _ := text(parts[0])
		if of, _ := text(parts[1]); of != id {
			continue
		}
		switch label {
		case "EVENT":
			var ev nostr.Event
			if err := json.Unmarshal(parts[2], &ev); err != nil {
				p.t.Fatal(err)
			}
			ids = append(ids, ev.ID)
		case "EOSE":
			return ids, ""
		case "CLOSED":
			closed, _ = text(parts[2])
			return ids, closed
		}
	}
}

// silent expects nothing more: it asks for a NOTICE and reads it.
func (p *peer) silent() {
	p.t.Helper()
	p.send(`["PING"]`)
	p.expect(`["NOTICE","unsupported: PING"]`)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
