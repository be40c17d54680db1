package rest

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// follow opens a stream and returns its lines.
func (d *door) follow(path string, headers ...with) (lines <-chan string, stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		d.t.Fatalf("got %d %s", res.StatusCode, res.Header)
	}
	out := make(chan string, 64)
	go func() {
		defer close(out)
		defer res.Body.Close()
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			if in.Text() != "" {
				out <- in.Text()
			}
		}
	}()
	if first := <-out; first != "retry: 3000" {
		d.t.Fatalf("first line %q", first)
	}
	return out, cancel
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case l, ok := <-lines:
		if !ok {
			t.Fatal("the stream ended")
		}
		return l
	case <-time.After(time.Minute):
		t.Fatal("no event")
		return ""
	}
}

// TestASessionFollowsItsOwn: progress is private. Another session's events, sent
// by a bus that does not filter, must not come through either.
func TestASessionFollowsItsOwn(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	other, otherAuth := d.funded("500")
	lines, stop := d.follow("/sessions/"+id+"/events", auth)
	d.mu.Lock()
	d.follower[0].thread = "" // a bus that sends everything
	d.mu.Unlock()
	d.want(d.call("POST", "/sessions/"+other+"/request", `{"request":"secret"}`, otherAuth), 200, "")
	g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "")
	rid := g.str("requestId")
	for _, want := range []string{
		"event: delta", `data: {"type":"delta","requestId":"` + rid + `","delta":"ans\nwer"}`,
		"event: state", `data: {"type":"state","requestId":"` + rid + `","state":"complete"}`,
		"event: cost:update", `data: {"type":"cost:update","jobId":"` + rid + `","sats":20,"phase":"session","isFinal":true}`,
	} {
		if l := next(t, lines); l != want {
			t.Fatalf("got %s, want %s", l, want)
		}
	}
	stop()
	d.want(d.call("GET", "/sessions/"+id+"/events", ""), 401, msgBearer)
	d.want(d.call("GET", "/sessions/"+id+"/events", "", otherAuth), 401, msgBearer)
	d.want(d.call("GET", "/sessions/"+id+"/events?bearer="+strings.TrimPrefix(auth, "Authorization: Bearer "), ""), 401, msgBearer)
	d.want(d.call("HEAD", "/sessions/"+id+"/events", "", auth), 405, "")
	d.pass(life + time.Second)
	d.want(d.call("GET", "/sessions/"+id+"/events", "", auth), 410, msgExpired)
}

// TestOperatorsSeeWhatIsEarnedAndNoMore: opaque ids, and no text of anybody's.
func TestOperatorsSeeWhatIsEarnedAndNoMore(t *testing.T) {
	d := open(t, func(c *Config, _ *world) { c.Operators = []timmy.PubKey{alice} })
	tok := func(k timmy.PubKey) with { return "X-Nostr-Token: " + d.api.token(k, d.clock().Add(time.Hour)) }
	d.want(d.call("GET", "/events", ""), 401, "")
	d.want(d.call("GET", "/events", "", tok(bob)), 403, "Operators only")
	d.want(d.call("GET", "/events", "", tok(timmy.PubKey{})), 403, "Operators only")
	d.want(d.call("GET", "/events", "", "X-Nostr-Token: garbage"), 401, msgToken)
	id, auth := d.funded("500")
	d.want(d.call("GET", "/events", "", auth), 401, "")
	lines, _ := d.follow("/events", tok(alice))
	g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "")
	if l := next(t, lines); l != "event: cost:update" {
		t.Fatalf("got %s", l)
	}
	if l := next(t, lines); strings.Contains(l, g.str("requestId")) || !strings.Contains(l, `"sats":20`) {
		t.Errorf("got %s", l)
	}
	d.nip98 = func(_, method, url string, _ []byte) bool {
		return method == "GET" && url == "https://tower.example/events?x=1"
	}
	d.follow("/events?x=1", "Authorization: Nostr abc")
}

// TestFollowersAreCounted: each costs a goroutine, so there is a most; one that
// leaves makes room.
func TestFollowersAreCounted(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	var stop func()
	for range maxStreamsEach {
		_, stop = d.follow("/sessions/"+id+"/events", auth)
	}
	d.want(d.call("GET", "/sessions/"+id+"/events", "", auth), 429, "")
	stop()
	for deadline := time.Now().Add(time.Minute); ; {
		d.api.streams.mu.Lock()
		n := d.api.streams.total
		d.api.streams.mu.Unlock()
		if n < maxStreamsEach {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a follower that left still counts")
		}
		time.Sleep(time.Millisecond)
	}
	d.follow("/sessions/"+id+"/events", auth)
}

// TestDrainEndsStreamsAndRefusesWork: a server cannot stop while streams run.
func TestDrainEndsStreamsAndRefusesWork(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	lines, _ := d.follow("/sessions/"+id+"/events", auth)
	d.api.Drain()
	for range lines { // until it ends
	}
	for _, p := range []string{"/sessions", "/sessions/" + id + "/request", "/sessions/" + id + "/topup"} {
		g := d.want(d.call("POST", p, `{"amount_sats":500,"request":"hi"}`, auth), 503, "The tower is shutting down")
		if g.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	d.want(d.call("GET", "/sessions/"+id+"/events", "", auth), 503, "")
	d.want(d.call("GET", "/sessions/"+id, ""), 200, "")
	d.want(d.call("GET", "/readyz", ""), 503, "")
}
