package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// scripted is a relay that does what a test tells it.
type scripted struct {
	url   string
	dials atomic.Int64
}

// foreignPeer is one client of a scripted relay.
type foreignPeer struct {
	ctx context.Context
	ws  *websocket.Conn
}

// next reads a frame of the client; nil when it is gone.
func (p foreignPeer) next() []json.RawMessage {
	_, data, err := p.ws.Read(p.ctx)
	var parts []json.RawMessage
	if err != nil || json.Unmarshal(data, &parts) != nil {
		return nil
	}
	return parts
}

func (p foreignPeer) say(frames ...string) {
	for _, f := range frames {
		if p.ws.Write(p.ctx, websocket.MessageText, []byte(f)) != nil {
			return
		}
	}
}

func (p foreignPeer) ok(id string, ok bool, why string) {
	p.say(fmt.Sprintf(`["OK",%q,%t,%q]`, id, ok, why))
}

func labelOf(parts []json.RawMessage) (s string) {
	if len(parts) > 0 {
		_ = json.Unmarshal(parts[0], &s)
	}
	return s
}

func idOf(parts []json.RawMessage) string {
	var ev nostr.Event
	if len(parts) > 1 {
		_ = json.Unmarshal(parts[1], &ev)
	}
	return ev.ID
}

func script(t testing.TB, serve func(p foreignPeer)) *scripted {
	t.Helper()
	s := &scripted{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.dials.Add(1)
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(1 << 20)
		serve(foreignPeer{r.Context(), ws})
	}))
	t.Cleanup(srv.Close)
	s.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return s
}

// storing is a well-behaved relay that keeps what it is given.
type storing struct {
	*scripted
	mu     sync.Mutex
	events []*nostr.Event
	raw    []string
}

func newStoring(t testing.TB, stored ...*nostr.Event) *storing {
	s := &storing{events: stored}
	s.scripted = script(t, func(p foreignPeer) {
		for parts := p.next(); parts != nil; parts = p.next() {
			switch labelOf(parts) {
			case "EVENT":
				var ev nostr.Event
				_ = json.Unmarshal(parts[1], &ev)
				s.mu.Lock()
				s.events, s.raw = append(s.events, &ev), append(s.raw, string(parts[1]))
				s.mu.Unlock()
				p.ok(ev.ID, true, "")
			case "REQ":
				s.mu.Lock()
				for _, ev := range s.events {
					p.say(fmt.Sprintf(`["EVENT",%s,%s]`, parts[1], ev))
				}
				s.mu.Unlock()
				p.say(fmt.Sprintf(`["EOSE",%s]`, parts[1]))
			}
		}
	})
	return s
}

func (s *storing) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.raw...)
}

func dialTest(t testing.TB, url string, auth func(string, string) (*nostr.Event, error)) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), url, DialOptions{AllowPrivate: true, Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func authAs(k nip.Key) func(string, string) (*nostr.Event, error) {
	return func(url, challenge string) (*nostr.Event, error) { return nip.Auth(k, url, challenge, time.Now()) }
}

// TestPublishSucceedsOnlyWithAnOK excludes the upstream client's false success:
// a connection that died before OK was reported as published.
func TestPublishSucceedsOnlyWithAnOK(t *testing.T) {
	other := strings.Repeat("ab", 32)
	for _, tc := range []struct {
		name  string
		serve func(p foreignPeer, id string)
		want  func(error) bool
	}{
		{"ok true", func(p foreignPeer, id string) { p.ok(id, true, "") }, func(err error) bool { return err == nil }},
		{"duplicate", func(p foreignPeer, id string) { p.ok(id, false, "duplicate: have it") }, func(err error) bool { return err == nil }},
		{"ok without words", func(p foreignPeer, id string) { p.say(`["OK","` + id + `",true]`) }, func(err error) bool { return err == nil }},
		{"hangs up", func(p foreignPeer, id string) { p.ws.CloseNow() }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{"ok for another id", func(p foreignPeer, id string) { p.ok(other, true, ""); p.ws.CloseNow() }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{"refused for good", func(p foreignPeer, id string) { p.ok(id, false, "blocked: no") }, isRefusal(true)},
		{"refused for now", func(p foreignPeer, id string) { p.ok(id, false, "rate-limited: slow down") }, isRefusal(false)},
		{"wants auth, which we do not give", func(p foreignPeer, id string) { p.ok(id, false, "auth-required: who") }, func(err error) bool { return errors.Is(err, ErrNoAuth) }},
		{"junk first", func(p foreignPeer, id string) {
			p.say(`[`, `null`, `["EVENT","x`, `["EVENT"]`, `["OK",1,true,""]`, `["OK","`+id+`","true",""]`, `[["OK"]]`, `["AUTH",""]`, `{}`, ``)
			p.ok(id, true, "")
		}, func(err error) bool { return err == nil }},
		{"too large a frame", func(p foreignPeer, id string) { p.say(`["NOTICE","` + strings.Repeat("x", clientMaxFrame) + `"]`) }, func(err error) bool { return errors.Is(err, ErrClosed) }},
		{"a hundred bad messages", func(p foreignPeer, id string) {
			for range clientMaxBad {
				p.say(`nonsense`)
			}
			p.next()
		}, func(err error) bool { return errors.Is(err, ErrHostile) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := script(t, func(p foreignPeer) {
				id := idOf(p.next())
				tc.serve(p, id)
				p.next()
			})
			err := dialTest(t, s.url, nil).Publish(t.Context(), signed(t, newKey(t), 1, "x"))
			if !tc.want(err) {
				t.Errorf("Publish: %v", err)
			}
		})
	}
}

func isRefusal(permanent bool) func(error) bool {
	return func(err error) bool {
		r, ok := errors.AsType[*Refusal](err)
		return ok && r.Permanent() == permanent
	}
}

// TestPublishEndsWithItsContext excludes a publisher that hangs for as long as a
// relay says nothing.
func TestPublishEndsWithItsContext(t *testing.T) {
	s := script(t, func(p foreignPeer) {
		for p.next() != nil {
		}
	})
	c := dialTest(t, s.url, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.Publish(ctx, signed(t, newKey(t), 1, "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish: %v", err)
	}
	if d := time.Since(began); d > clientPublishTimeout/2 {
		t.Errorf("took %s", d)
	}
}

// TestPublishAuthenticatesAndResends: NIP-42 with the challenge before or after
// the refusal; the upstream client never did, for it compared the wrong prefix.
func TestPublishAuthenticatesAndResends(t *testing.T) {
	for _, early := range []bool{true, false} {
		k := newKey(t)
		s := script(t, func(p foreignPeer) {
			if early {
				p.say(`["AUTH","c1"]`)
			}
			p.ok(idOf(p.next()), false, "auth-required: please")
			if !early {
				p.say(`["AUTH","c1"]`)
			}
			parts := p.next()
			var ev nostr.Event
			if labelOf(parts) != "AUTH" || json.Unmarshal(parts[1], &ev) != nil || ev.PubKey != k.Public().String() ||
				ev.Tags.FindWithValue("challenge", "c1") == nil {
				return
			}
			p.ok(ev.ID, true, "")
			p.ok(idOf(p.next()), true, "")
			p.next()
		})
		if err := dialTest(t, s.url, authAs(k)).Publish(t.Context(), signed(t, k, 1, "x")); err != nil {
			t.Errorf("early=%t: %v", early, err)
		}
	}
}

// TestAChangingChallengeGetsOneSignature excludes being used as a signing
// machine, and an endless exchange.
func TestAChangingChallengeGetsOneSignature(t *testing.T) {
	var auths atomic.Int64
	s := script(t, func(p foreignPeer) {
		for n := 0; ; n++ {
			p.say(fmt.Sprintf(`["AUTH","c%d"]`, n))
			parts := p.next()
			if parts == nil {
				return
			}
			if labelOf(parts) == "AUTH" {
				auths.Add(1)
				p.ok(idOf(parts), true, "")
				continue
			}
			p.ok(idOf(parts), false, "auth-required: again")
		}
	})
	k := newKey(t)
	c := dialTest(t, s.url, authAs(k))
	for range 3 {
		if err := c.Publish(t.Context(), signed(t, k, 1, "x")); err == nil {
			t.Error("published at a relay that only refuses")
		}
	}
	if n := auths.Load(); n != 1 {
		t.Errorf("%d AUTH events sent, want 1", n)
	}
}

// TestForgedCopiesHideNothing: a relay that sends altered copies under a genuine
// id first must not make us drop the genuine event (upstream dedupes first), and
// nothing that fails a check comes through.
func TestForgedCopiesHideNothing(t *testing.T) {
	k := newKey(t)
	good := signed(t, k, 1, "genuine")
	content, sig, unasked := *good, *good, signed(t, k, 7, "+")
	content.Content = "forged"
	sig.Sig = strings.Repeat("00", 64)
	s := script(t, func(p foreignPeer) {
		sub := string(p.next()[1])
		for _, ev := range []*nostr.Event{&content, &sig, unasked, good, good, good} {
			p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, ev))
		}
		p.say(`["EVENT","not-ours",`+good.String()+`]`, fmt.Sprintf(`["EOSE",%s]`, sub))
		p.next()
	})
	c := dialTest(t, s.url, nil)
	got, err := c.Fetch(t.Context(), nostr.Filter{Kinds: []int{1}})
	if err != nil || len(got) != 1 || got[0].Content != "genuine" {
		t.Errorf("Fetch: %v, %v", got, err)
	}
}

// TestSubscribeAuthenticatesWhenClosed: reading wraps needs NIP-42; a CLOSED for
// that reason is asked again, once, and any other is reported.
func TestSubscribeAuthenticatesWhenClosed(t *testing.T) {
	k := newKey(t)
	ev := signed(t, k, 1, "x")
	s := script(t, func(p foreignPeer) {
		p.say(`["AUTH","c"]`)
		p.say(fmt.Sprintf(`["CLOSED",%s,"auth-required: who"]`, p.next()[1]))
		p.ok(idOf(p.next()), true, "")
		sub := p.next()[1]
		p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, ev), fmt.Sprintf(`["CLOSED",%s,"error: bye"]`, sub))
		p.next()
	})
	var got []string
	err := dialTest(t, s.url, authAs(k)).Subscribe(t.Context(), nostr.Filter{Kinds: []int{1}}, func(ev *nostr.Event) { got = append(got, ev.ID) })
	if !isRefusal(false)(err) || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestFetchTwiceOverOneConnection: what was verified once is not verified again,
// but is answered again.
func TestFetchTwiceOverOneConnection(t *testing.T) {
	s := newStoring(t, signed(t, newKey(t), 1, "x"))
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	for range 2 {
		if got, err := c.Fetch(t.Context(), s.url, nostr.Filter{Kinds: []int{1}}); err != nil || len(got) != 1 {
			t.Fatalf("Fetch: %v, %v", got, err)
		}
	}
	if n := s.dials.Load(); n != 1 {
		t.Errorf("%d connections for two calls", n)
	}
}

// TestRedirectsAndSelfSignedAreRefused excludes a public relay that sends us to a
// private address, and one that cannot prove its name.
func TestRedirectsAndSelfSignedAreRefused(t *testing.T) {
	var sunk atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sunk.Add(1) }))
	defer sink.Close()
	redirect := httptest.NewServer(http.RedirectHandler(sink.URL, http.StatusFound))
	defer redirect.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	for _, url := range []string{"ws" + strings.TrimPrefix(redirect.URL, "http"), "wss" + strings.TrimPrefix(tls.URL, "https")} {
		if c, err := Dial(t.Context(), url, DialOptions{AllowPrivate: true}); err == nil {
			c.Close()
			t.Errorf("%s: connected", url)
		}
	}
	if sunk.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// TestHostileURLsMakeNoConnection is threat C6: a stranger's relay list must not
// make us knock at loopback, private or metadata addresses, by name or number.
func TestHostileURLsMakeNoConnection(t *testing.T) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	var knocks atomic.Int64
	go func() {
		for {
			c, err := sink.Accept()
			if err != nil {
				return
			}
			knocks.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(sink.Addr().String())
	hostile := []string{
		"wss://127.0.0.1", "wss://127.0.0.1:" + port, "wss://localhost:" + port, "wss://[::1]", "wss://[::ffff:127.0.0.1]",
		"wss://10.0.0.1", "wss://192.168.1.1", "wss://172.16.0.1", "wss://169.254.169.254", "wss://100.64.0.1", "wss://0.0.0.0",
		"wss://[fe80::1]", "wss://[fd00:ec2::254]", "wss://[64:ff9b::7f00:1]", "wss://[2002:7f00:1::]", "wss://224.0.0.1",
		"wss://255.255.255.255", "ws://relay.example.com", "http://relay.example.com", "wss://relay.example.com:5432",
		"wss://relay.example.com:22", "wss://user:pw@relay.example.com", "wss://x.onion", "wss://x.local", "wss://metadata.google.internal",
		"wss://intranet", "wss://relay.example.com#f", "wss://", "", "file:///etc/passwd", "wss://" + strings.Repeat("a", 300) + ".com",
	}
	c := NewClient(ClientConfig{})
	for _, url := range hostile {
		if err := c.Publish(t.Context(), url, signed(t, newKey(t), 1, "x")); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if knocks.Load() != 0 || c.Stats().Dialled != 0 {
		t.Errorf("%d connections", knocks.Load())
	}
}

// TestDialledAddressIsChecked is the same for names: what counts is the address
// that is connected to, not the one that was resolved before.
func TestDialledAddressIsChecked(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:443": false, "[::1]:443": false, "10.1.2.3:443": false, "169.254.169.254:80": false,
		"[::ffff:10.0.0.1]:443": false, "8.8.8.8:443": true, "[2606:4700::1111]:443": true, "nonsense": false,
	} {
		if err := checkDialled("tcp", addr, nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
