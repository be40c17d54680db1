package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	slowClients = 200
	honestCalls = 400
)

// TestSlowClientsHoldNobodyUp opens 200 connections that send a header or a body byte
// by byte, send nothing at all, or ask for answers and read none, and meanwhile calls
// the tower as an honest client: 99 of 100 calls are answered within 300 ms (or three
// times what they take with no slow client, where the machine is slow), and who sends no
// whole request is hung up on.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	tw := startTower(t, "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_LOG_LEVEL=warn")
	a := newAPI(t, tw)
	id, bearer := a.session("10000")
	rng := seed(t)
	alone := p99(honest(t, a, id, bearer, rng))
	var slow sync.WaitGroup
	var mu sync.Mutex
	ended := map[string]int{}
	over := make(chan struct{})
	for i := range slowClients {
		kind := []string{"header", "body", "nothing", "reads nothing"}[i%4]
		pace := time.Duration(100+rng.IntN(400)) * time.Millisecond
		slow.Go(func() {
			time.Sleep(time.Duration(i) * 20 * time.Millisecond) // who asks much at once is another matter
			if tw.dawdle(kind, pace, over) {
				mu.Lock()
				ended[kind]++
				mu.Unlock()
			}
		})
	}
	beside := p99(honest(t, a, id, bearer, rng))
	t.Logf("99 of 100 honest calls: %v with no slow client, %v beside %d", alone, beside, slowClients)
	if beside > max(300*time.Millisecond, 3*alone) {
		t.Errorf("p99 %v", beside)
	}
	waitFor(t, "the slow senders to be hung up on", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ended["header"]+ended["body"]+ended["nothing"] == slowClients*3/4
	})
	close(over)
	slow.Wait()
	if !ready(tw) {
		t.Error("the tower is not ready")
	}
}

// p99 is what 99 of 100 do not exceed.
func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// honest reads and asks, and returns how long each call took.
func honest(t *testing.T, a *api, id, bearer string, rng *rand.Rand) []time.Duration {
	var took []time.Duration
	for n := range honestCalls {
		began := time.Now()
		if n%4 == 0 {
			a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 3*3?"}`, "Authorization", bearer)
		} else {
			a.call(200, "GET", "/sessions/"+id, "")
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
	}
	return took
}

// dawdle is one slow client. It reports whether the tower hung up.
func (tw *tower) dawdle(kind string, pace time.Duration, over <-chan struct{}) (hungUp bool) {
	c, err := net.Dial("tcp", strings.TrimPrefix(tw.http(), "http://"))
	if err != nil {
		return false
	}
	defer c.Close()
	head := "POST /sessions HTTP/1.1\r\nHost: tower\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
	text := map[string]string{
		"header":        "GET / HTTP/1.1\r\nHost: tower\r\nX-Slow: " + strings.Repeat("x", 4000),
		"body":          head + strings.Repeat(" ", 4000),
		"nothing":       "",
		"reads nothing": strings.Repeat("GET / HTTP/1.1\r\nHost: tower\r\n\r\n", 2000),
	}[kind]
	sent := 0
	if kind == "body" {
		sent = len(head)
	} else if kind == "reads nothing" {
		sent = len(text)
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
	}
	go func() { // whatever fits: the rest waits for the tower, which waits for us
		_, _ = io.WriteString(c, text[:sent])
		for _, b := range []byte(text[sent:]) {
			select {
			case <-over:
				return
			case <-time.After(pace):
			}
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	if kind == "reads nothing" {
		<-over
		return false
	}
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, c); close(ended) }()
	select {
	case <-ended:
		return true
	case <-over:
		return false
	}
}

// Excludes an address that keeps everybody else's connections from the tower, and
// one that is not told why it gets no more.
func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_RELAY_CONNECTIONS_PER_ADDRESS=8")
	var open []net.Conn
	for range 16 {
		c, err := net.Dial("tcp", strings.TrimPrefix(tw.http(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() string {
		res, err := fresh.Get(tw.http() + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		return fmt.Sprint(res.StatusCode, " ", res.Header.Get("Retry-After"))
	}
	waitFor(t, "the refusal of one connection too many", func() bool { return get() == "503 10" })
	open[0].Close()
	open[1].Close()
	waitFor(t, "a place that was given back", func() bool { return get() == "200 " })
}
