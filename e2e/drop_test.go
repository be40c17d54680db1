package e2e

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// drop is where in a call its caller is gone.
type drop struct {
	name string
	sent float64       // part of the call that was sent
	stay time.Duration // after that
	rude bool          // with a reset instead of an end
}

func drops() []drop {
	return []drop{
		{name: "in the header", sent: .4},
		{name: "in the header, reset", sent: .6, rude: true},
		{name: "in the body", sent: .95},
		{name: "at once", sent: 1},
		{name: "at once, reset", sent: 1, rude: true},
		{name: "after 1 ms", sent: 1, stay: time.Millisecond},
		{name: "after 3 ms, reset", sent: 1, stay: 3 * time.Millisecond, rude: true},
		{name: "after 8 ms", sent: 1, stay: 8 * time.Millisecond},
		{name: "after 20 ms, reset", sent: 1, stay: 20 * time.Millisecond, rude: true},
		{name: "with the answer unread", sent: 1, stay: 100 * time.Millisecond},
	}
}

// TestACallerWhoIsGoneLosesNothing drops the connection of a paid request at ten
// points, fifty times each: the work is done and charged once, and the same
// Idempotency-Key gets its answer, as does the request's own address.
func TestACallerWhoIsGoneLosesNothing(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_LOG_LEVEL=warn")
	a := newAPI(t, tw)
	const times = 50
	for _, d := range drops() {
		id, bearer := a.session("5000")
		spent := int64(0)
		for n := range times {
			key := newUUID()
			body := fmt.Sprintf(`{"request":"What is %d*%d?"}`, n+3, n+4)
			path := "/sessions/" + id + "/request"
			if err := tw.hangUp(d, path, body, bearer, key); err != nil {
				t.Fatalf("%s: %v", d.name, err)
			}
			first, ok := until200(a, "POST", path, body, "Authorization", bearer, "Idempotency-Key", key)
			if !ok {
				return
			}
			again := a.call(first.status, "POST", path, body, "Authorization", bearer, "Idempotency-Key", key)
			kept := a.call(200, "GET", path+"s/"+first.str("requestId"), "", "Authorization", bearer)
			want := fmt.Sprint((n + 3) * (n + 4))
			if !strings.Contains(strings.ReplaceAll(first.str("result"), ",", ""), want) || again.raw != first.raw || kept.str("result") != first.str("result") {
				t.Fatalf("%s: first %s\nagain %s\nkept %s", d.name, first.raw, again.raw, kept.raw)
			}
			spent += first.num("debitedSats")
		}
		if left := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); left != 5000-spent {
			t.Errorf("%s: %d sats are left of 5000, and the answers cost %d", d.name, left, spent)
		}
	}
	tw.verifyBooks()
	if code := tw.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if n := readBooks(t, tw, `SELECT count(*) FROM requests`); n != int64(times*len(drops())) {
		t.Errorf("%d requests are in the books, want %d", n, times*len(drops()))
	}
}

// hangUp makes a call by hand and leaves it as d says.
func (tw *tower) hangUp(d drop, path, body, bearer, key string) error {
	c, err := net.Dial("tcp", strings.TrimPrefix(tw.http(), "http://"))
	if err != nil {
		return err
	}
	defer c.Close()
	var call bytes.Buffer
	fmt.Fprintf(&call, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nIdempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, c.RemoteAddr(), bearer, key, len(body), body)
	if _, err := c.Write(call.Bytes()[:int(d.sent*float64(call.Len()))]); err != nil {
		return err
	}
	time.Sleep(d.stay)
	if tcp, ok := c.(*net.TCPConn); ok && d.rude {
		return tcp.SetLinger(0)
	}
	return nil
}
