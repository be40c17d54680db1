package relay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db/dbtest"
)

// TestRestartKeepsWhatWasPromised: an event answered OK true is there after a
// restart, a deleted one is not, and stays refused.
func TestRestartKeepsWhatWasPromised(t *testing.T) {
	path := newPlace(t)
	k := newKey(t)
	kept, gone := signed(t, k, 1, "kept", nostr.Tag{"t", "x"}), signed(t, k, 1, "gone")
	run := func(f func(s *site)) {
		t.Run("", func(t *testing.T) { f(newSite(t, func(c *Config) { c.DB = dbtest.Open(t, path) })) })
	}
	run(func(s *site) {
		p := s.dial(t)
		p.mustPublish(kept)
		p.mustPublish(gone)
		p.mustPublish(signed(t, k, 5, "", nostr.Tag{"e", gone.ID}))
	})
	run(func(s *site) {
		p := s.dial(t)
		ids, _ := p.query("a", `{"kinds":[1]}`)
		if len(ids) != 1 || ids[0] != kept.ID {
			t.Errorf("left: %v", ids)
		}
		if ok, why := p.publish(gone); ok || why != errDeleted.Error() {
			t.Errorf("OK %v %q", ok, why)
		}
	})
}

// TestGoroutinesGoBack: 500 connections that come and go leave none behind.
func TestGoroutinesGoBack(t *testing.T) {
	s := newSite(t)
	count := func() int {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine()
	}
	before := count()
	for range 10 {
		var list []*peer
		for i := range 50 {
			p := s.dial(t)
			p.send(fmt.Sprintf(`["REQ","a",{"kinds":[%d]}]`, i))
			list = append(list, p)
		}
		for i, p := range list {
			if i%2 == 0 {
				_ = p.ws.CloseNow()
				continue
			}
			_ = p.ws.Close(websocket.StatusNormalClosure, "")
		}
	}
	for end := time.Now().Add(time.Minute); count() > before+2 || s.Stats().Connections > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", count(), before, b[:runtime.Stack(b, true)])
		}
	}
	if st := s.Stats(); st.Connections != 0 || st.Subscriptions != 0 || st.IndexEntries != 0 {
		t.Fatalf("left: %+v", st)
	}
}

// TestAddressComesFromTheSocket: a header that anybody can write moves nobody out
// of his limit, unless a configured proxy wrote it.
func TestAddressComesFromTheSocket(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct{ remote, header, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "1.1.1.1, 198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "198.51.100.7, 10.0.0.2", "198.51.100.7"},
		{"10.0.0.1:5", "nonsense", "10.0.0.1"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
	} {
		d, err := newDoors(Limits{}.withDefaults(), proxies, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = c.remote
		if c.header != "" {
			req.Header.Set("X-Forwarded-For", c.header)
		}
		if got := d.client(req).String(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	a, b := netip.MustParseAddr("2001:db8:1:2::1"), netip.MustParseAddr("2001:db8:1:2:ffff::9")
	if prefix(a) != prefix(b) {
		t.Error("one IPv6 subscriber counts as many")
	}
}

// TestConnectionsOfAnAddressAreCapped, whatever they say of themselves.
func TestConnectionsOfAnAddressAreCapped(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.PerAddress = 3 })
	var list []*peer
	for range 3 {
		list = append(list, s.dial(t))
	}
	dial := func(i int) error {
		ws, _, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{
			HTTPHeader: http.Header{"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d", i)}},
		})
		if err == nil {
			_ = ws.CloseNow()
		}
		return err
	}
	for i := range 20 {
		if err := dial(i); err == nil || !strings.Contains(err.Error(), "429") {
			t.Fatal(err)
		}
	}
	_ = list[0].ws.CloseNow()
	for end := time.Now().Add(time.Minute); dial(1) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place was not given back")
		}
	}
}

// TestBadConfigIsRefused: AUTH without a URL of its own could be relayed.
func TestBadConfigIsRefused(t *testing.T) {
	d := dbtest.Open(t, newPlace(t))
	for _, c := range []Config{
		{}, {URL: "https://x.example", DB: d}, {URL: "wss://", DB: d}, {URL: "wss://x.example"}, {URL: "::", DB: d},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%q was taken", c.URL)
		}
	}
}
