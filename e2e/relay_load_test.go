package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// TestStalledReadersDelayNobody lets 200 readers subscribe to everything and read
// nothing, and then floods the relay: 99 of 100 honest events are answered within 100 ms
// (or three times what the same load takes with no such reader, where the machine is
// slow), the stalled are closed within 15 s of the flood, and each is counted once.
func TestStalledReadersDelayNobody(t *testing.T) {
	const stalled = 200
	tw := measured(t, "TIMMY_RELAY_FRAMES_PER_SECOND=100000", "TIMMY_RELAY_CONNECTIONS_PER_ADDRESS=1000")
	alone := tw.flooded()
	for range stalled {
		tw.stall(`["REQ","a",{"kinds":[1],"limit":0}]`)
	}
	waitFor(t, "the stalled to subscribe", func() bool { return tw.metric(`timmy_relay_open{what="subscriptions"}`) == stalled })
	beside := tw.flooded()
	over := time.Now()
	waitFor(t, "the stalled to be closed", func() bool { return tw.metric(`timmy_relay_connections_ended{why="stalled"}`) >= stalled })
	if late := time.Since(over); late > 15*time.Second {
		t.Errorf("the last was closed %v after the flood", late)
	}
	if n := tw.metric(`timmy_relay_connections_ended{why="stalled"}`); n != stalled {
		t.Errorf("%v readers counted as stalled", n)
	}
	t.Logf("99 of 100 honest events: %v with no stalled reader, %v beside %d", alone, beside, stalled)
	if beside > max(100*time.Millisecond, 3*alone) {
		t.Errorf("p99 %v", beside)
	}
}

// bulk is the content of events that fill the buffers of who does not read.
var bulk = strings.Repeat("x", 60_000)

// flooded publishes big events, and small ones beside them, and returns how long 99 of
// 100 of the small ones took.
func (tw *tower) flooded() time.Duration {
	tw.t.Helper()
	const honest, each, flood = 4, 300, 250
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	for range honest {
		p := tw.publisher()
		all.Go(func() {
			for n := range each {
				d := p.publish(fmt.Sprint("honest ", n))
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	writer := tw.publisher()
	for n := range flood {
		writer.publish(fmt.Sprint(n, bulk))
		time.Sleep(20 * time.Millisecond) // 200 copies of each are made: the machine is not to be the bound
	}
	all.Wait()
	return p99(took)
}

// TestUnreadAnswersDoNotGrowTheLog lets 20 readers ask for what is stored, again and
// again, and not read it, while 180 MB are written (with TIMMY_SOAK: for ten minutes): the
// write-ahead log is emptied all the same (H8).
func TestUnreadAnswersDoNotGrowTheLog(t *testing.T) {
	const stalled, events = 20, 3_000
	until := time.Now()
	if os.Getenv("TIMMY_SOAK") != "" {
		until = until.Add(10 * time.Minute)
	}
	tw := measured(t, "TIMMY_RELAY_FRAMES_PER_SECOND=100000")
	over := make(chan struct{})
	var all sync.WaitGroup
	for range stalled {
		all.Go(func() {
			for {
				ws := tw.stall(`["REQ","a",{"kinds":[1],"limit":500}]`)
				select {
				case <-over:
					return
				case <-time.After(2 * time.Second):
					ws.CloseNow()
				}
			}
		})
	}
	writer, most := tw.publisher(), int64(0)
	for n := 0; n < events || time.Now().Before(until); n++ {
		writer.publish(fmt.Sprint(n, bulk))
		if wal, err := os.Stat(filepath.Join(tw.data, "events.db-wal")); err == nil {
			most = max(most, wal.Size())
		}
	}
	close(over)
	all.Wait()
	t.Logf("the write-ahead log had at most %d MiB", most>>20)
	if most == 0 || most > 128<<20 {
		t.Errorf("the write-ahead log had %d bytes", most)
	}
}

// TestConnectionsComeAndGo opens 5,000 connections of many addresses, in two waves, each
// with subscriptions; half of them end by cutting the wire. Afterwards the tower has the
// goroutines, descriptors and memory that it had before.
func TestConnectionsComeAndGo(t *testing.T) {
	const waves, addresses, each = 3, 25, 100
	tw := measured(t)
	type state struct{ goroutines, descriptors, memory float64 }
	now := func() state {
		return state{tw.metric("go_goroutines"), tw.metric("process_open_fds"), tw.metric("process_resident_memory_bytes")}
	}
	var before state
	for wave := range waves {
		var open []*websocket.Conn
		for address := range addresses {
			from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(address+1), 0, 1)}}
			for n := range each {
				ws := tw.connect(from)
				tw.say(ws, fmt.Sprintf(`["REQ","a",{"kinds":[%d],"limit":0}]`, 2000+n))
				tw.say(ws, fmt.Sprintf(`["REQ","b",{"#p":["%064x"],"kinds":[1],"limit":0}]`, n))
				open = append(open, ws)
			}
		}
		waitFor(t, "all to subscribe", func() bool { return tw.metric(`timmy_relay_open{what="subscriptions"}`) == 2*addresses*each })
		for i, ws := range open {
			if i%2 == 0 {
				ws.CloseNow()
			} else {
				ws.Close(websocket.StatusNormalClosure, "")
			}
		}
		waitFor(t, "all to be gone", func() bool { return tw.metric(`timmy_relay_open{what="connections"}`) == 0 })
		if wave == 0 { // what is there after the first is what is kept for the next
			time.Sleep(time.Second)
			before = now()
		}
	}
	var after state
	waitFor(t, "goroutines and descriptors to be as before", func() bool {
		after = now()
		return after.goroutines <= before.goroutines+10 && after.descriptors <= before.descriptors+5
	})
	t.Logf("%d connections; before %.0f goroutines, %.0f descriptors, %.0f MiB; after %.0f, %.0f, %.0f", waves*addresses*each,
		before.goroutines, before.descriptors, before.memory/(1<<20), after.goroutines, after.descriptors, after.memory/(1<<20))
	if after.memory > 1.4*before.memory {
		t.Errorf("memory was %.0f and is %.0f bytes", before.memory, after.memory)
	}
}

// measured starts a tower that shows its metrics and takes as much as is sent.
func measured(t *testing.T, env ...string) *tower {
	t.Helper()
	port := freePort(t)
	env = append(env, "TIMMY_RELAY_EVENTS_PER_ADDRESS=0", "TIMMY_RELAY_EVENTS_PER_KEY=0", "TIMMY_LOG_LEVEL=error")
	tw := newTower(t, append(env, fmt.Sprintf("TIMMY_METRICS_LISTEN=127.0.0.1:%d", port))...)
	tw.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	tw.start()
	return tw
}

// metric reads one.
func (tw *tower) metric(name string) float64 {
	tw.t.Helper()
	res, err := http.Get(tw.metrics)
	if err != nil {
		tw.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		tw.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(all)
	if found == nil {
		tw.t.Fatalf("no metric %s", name)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		tw.t.Fatal(err)
	}
	return n
}

// connect opens a websocket from where the dialer says.
func (tw *tower) connect(d *net.Dialer) *websocket.Conn {
	tw.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, tw.relay(), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: d.DialContext}},
	})
	if err != nil {
		tw.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	return ws
}

func (tw *tower) say(ws *websocket.Conn, frame string) {
	if err := ws.Write(context.Background(), websocket.MessageText, []byte(frame)); err != nil {
		tw.t.Error(err)
	}
}

// stall makes a connection that says something and never reads.
func (tw *tower) stall(frame string) *websocket.Conn {
	ws := tw.connect(&net.Dialer{Control: smallReadBuffer})
	tw.say(ws, frame)
	tw.t.Cleanup(func() { ws.CloseNow() })
	return ws
}

// smallReadBuffer keeps the kernel from reading on behalf of who does not.
func smallReadBuffer(_, _ string, c syscall.RawConn) (err error) {
	ctl := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	return errors.Join(err, ctl)
}

// publisher writes notes of a key of its own.
type publisher struct {
	tw  *tower
	ws  *websocket.Conn
	key nip.Key
}

func (tw *tower) publisher() *publisher {
	tw.t.Helper()
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		tw.t.Fatal(err)
	}
	return &publisher{tw: tw, ws: tw.connect(&net.Dialer{}), key: key}
}

// publish publishes a note, and returns how long its OK took.
func (p *publisher) publish(content string) time.Duration {
	ev := nostr.Event{Kind: 1, CreatedAt: nostr.Now(), Content: content, Tags: nostr.Tags{}}
	if err := p.key.Sign(&ev); err != nil {
		p.tw.t.Error(err)
	}
	frame, err := json.Marshal([]any{"EVENT", &ev})
	if err != nil {
		p.tw.t.Error(err)
	}
	began := time.Now()
	p.tw.say(p.ws, string(frame))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, got, err := p.ws.Read(ctx)
		if err != nil {
			p.tw.t.Error(err)
			return time.Since(began)
		}
		if bytes.HasPrefix(got, []byte(`["OK","`+ev.ID)) {
			if !bytes.Contains(got, []byte("true")) {
				p.tw.t.Errorf("refused: %s", got)
			}
			return time.Since(began)
		}
	}
}
