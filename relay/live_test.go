package relay

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
)

// TestStalledReaderDelaysNobody excludes the fault of relays that write to their
// readers in the publisher's goroutine: one that stops reading stops them all.
func TestStalledReaderDelaysNobody(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond = 100_000 })
	const stalled = 20
	for range stalled {
		stall(t, s)
	}
	for deadline := time.Now().Add(time.Minute); s.Stats().Subscriptions < stalled; {
		if time.Now().After(deadline) {
			t.Fatal("the stalled readers did not subscribe")
		}
		time.Sleep(time.Millisecond)
	}
	reader, writer := s.dial(t), s.dial(t)
	if _, closed := reader.query("a", `{"kinds":[20001],"limit":0}`); closed != "" {
		t.Fatal(closed)
	}
	k, content := newKey(t), strings.Repeat("x", 40_000)
	var slowest time.Duration
	const n = 300
	for i := range n {
		ev := signed(t, k, 20_001, fmt.Sprint(i, content))
		start := time.Now()
		writer.mustPublish(ev)
		slowest = max(slowest, time.Since(start))
		if got := reader.read(); !strings.Contains(got, ev.ID) {
			t.Fatalf("event %d: got %.100s", i, got)
		}
	}
	if slowest > 5*time.Second {
		t.Errorf("slowest publish took %v", slowest)
	}
	for deadline := time.Now().Add(15 * time.Second); s.Stats().Connections > 2; {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left, want 2", s.Stats().Connections)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := s.Stats().Stalled; got != stalled {
		t.Errorf("%d counted as stalled", got)
	}
}

// stall makes a connection that subscribes to everything and never reads.
func stall(t *testing.T, s *site) {
	t.Helper()
	dialer := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil {
				err = c.(*net.TCPConn).SetReadBuffer(4096)
			}
			return c, err
		},
	}}
	ws, _, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{HTTPClient: dialer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`["REQ","a",{}]`)); err != nil {
		t.Fatal(err)
	}
}

// TestSameIDReplaces: the old filter is dead, and nothing comes three times.
func TestSameIDReplaces(t *testing.T) {
	s := newSite(t)
	p, w, k := s.dial(t), s.dial(t), newKey(t)
	for _, f := range []string{`{"kinds":[1]}`, `{"kinds":[1]},{"kinds":[1],"limit":0}`, `{"kinds":[7]}`} {
		if _, closed := p.query("a", f); closed != "" {
			t.Fatal(closed)
		}
	}
	one, seven := signed(t, k, 1, "x"), signed(t, k, 7, "+")
	w.mustPublish(one)
	w.mustPublish(seven)
	p.expect(`["EVENT","a",` + seven.String() + `]`)
	p.silent()
	if _, closed := p.query("a", `{"kinds":[1]},{"foo":1}`); closed == "" {
		t.Fatal("want CLOSED")
	}
	w.mustPublish(signed(t, k, 7, "-"))
	w.mustPublish(signed(t, k, 1, "y"))
	p.silent()
	if n := s.live.size(); n != 0 {
		t.Fatalf("%d index entries are left", n)
	}
}

// TestNothingFallsBetweenStoredAndLive: while others publish, a reader that comes
// sees each event exactly once.
func TestNothingFallsBetweenStoredAndLive(t *testing.T) {
	s := newSite(t)
	const n = 300
	k, writer := newKey(t), s.dial(t)
	var events []*nostr.Event
	for i := range n {
		events = append(events, signed(t, k, 1, fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, ev := range events {
			writer.mustPublish(ev)
		}
	})
	for range 10 {
		p := s.dial(t)
		p.send(`["REQ","a",{"kinds":[1],"limit":500}]`)
		wg.Go(func() {
			seen := map[string]int{}
			for len(seen) < n {
				if got := p.read(); strings.HasPrefix(got, `["EVENT"`) {
					id := got[strings.Index(got, `"id":"`)+6:][:64]
					if seen[id]++; seen[id] > 1 {
						t.Error("an event came twice")
						return
					}
				}
			}
		})
		time.Sleep(5 * time.Millisecond)
	}
	wg.Wait()
}

// TestIndexFindsWhatMatches compares the index with a look at every
// subscription.
func TestIndexFindsWhatMatches(t *testing.T) {
	l := newLive()
	keys := []string{newKey(t).Public().String(), newKey(t).Public().String()}
	ev := signed(t, newKey(t), 1, "x", nostr.Tag{"t", "a"}, nostr.Tag{"p", keys[0]}, nostr.Tag{"client", "z"})
	filters := []nostr.Filter{
		{},
		{Kinds: []int{1}},
		{Kinds: []int{2, 1}},
		{Kinds: []int{2}},
		{Kinds: []int{}},
		{IDs: []string{ev.ID}},
		{IDs: []string{keys[0]}},
		{Authors: []string{ev.PubKey, keys[0]}},
		{Authors: keys},
		{Tags: nostr.TagMap{"t": {"a", "b"}, "p": {keys[0]}}},
		{Tags: nostr.TagMap{"t": {"b"}}},
		{Tags: nostr.TagMap{"t": {"a"}}, Kinds: []int{2}},
		{Tags: nostr.TagMap{"x": {}}},
	}
	var subs []*sub
	for i, f := range filters {
		s := &sub{serial: int64(i), filters: []nostr.Filter{f, f}}
		subs = append(subs, s)
		l.add(s)
	}
	got := l.candidates(ev)
	for i, s := range subs {
		if s.matches(ev) && !slices.Contains(got, s) {
			t.Errorf("%s was not found", filters[i])
		}
	}
	for _, s := range subs {
		l.remove(s)
	}
	if l.size() != 0 {
		t.Fatalf("%d entries are left", l.size())
	}
}

// TestDispatchUnderRace has connections come, subscribe, publish and go at once;
// it is for the race detector.
func TestDispatchUnderRace(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			k := newKey(t)
			for i := range 8 {
				p := s.dial(t)
				for j := range 3 {
					p.send(fmt.Sprintf(`["REQ","s%d",{"kinds":[%d]},{"authors":[%q]}]`, j, w%3+1, k.Public()))
				}
				p.mustPublish(signed(t, k, w%2+1, fmt.Sprint(i)))
				p.send(`["CLOSE","s1"]`)
				_ = p.ws.CloseNow()
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(time.Minute); s.Stats().Connections > 0 || s.live.size() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("left: %+v", s.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}
