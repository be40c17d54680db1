package rest

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestUnknownPathsAndMethodsAreJSON: also those that ServeMux would redirect,
// and what lives on the loopback listener only.
func TestUnknownPathsAndMethodsAreJSON(t *testing.T) {
	d := open(t, nil)
	id, _ := d.funded("500")
	for _, p := range []string{
		"/nothing", "/metrics", "/sessions/../metrics", "/sessions/%2e%2e/metrics", "//sessions", "/sessions/", "/sessions/" + id + "/",
		"/api", "/api/", "/api/metrics", "/api/healthz", "/sessions/" + id + "/nothing", "/pay/x", "/page/landing.html",
	} {
		d.want(d.call("GET", p, ""), 404, "Not found")
	}
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/sessions", "POST, OPTIONS"},
		{"DELETE", "/sessions", "POST, OPTIONS"},
		{"POST", "/sessions/" + id, "HEAD, GET, OPTIONS"},
		{"GET", "/sessions/" + id + "/request", "POST, OPTIONS"},
		{"GET", "/sessions/" + id + "/history", "DELETE, OPTIONS"},
		{"PUT", "/api/sessions/" + id, "HEAD, GET, OPTIONS"},
		{"POST", "/", "HEAD, GET, OPTIONS"},
	} {
		if g := d.want(d.call(c.method, c.path, ""), 405, "Method not allowed"); g.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q", c.method, c.path, g.header.Get("Allow"))
		}
	}
	if g := d.call("HEAD", "/sessions/"+id, ""); g.status != 200 || g.body != "" {
		t.Errorf("HEAD: %d %q", g.status, g.body)
	}
}

// TestOtherOriginsHaveNoCredentials: "*", never an echo, never credentials.
func TestOtherOriginsHaveNoCredentials(t *testing.T) {
	d := open(t, nil)
	const evil = "Origin: https://evil.example"
	pre := d.call("OPTIONS", "/sessions/x/request", "", evil, "Access-Control-Request-Method: POST")
	if pre.status != 204 || !strings.Contains(pre.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight %d %v", pre.status, pre.header)
	}
	for _, g := range []got{pre, d.call("POST", "/sessions", `{"amount_sats":500}`, evil), d.call("GET", "/sessions/x", "", evil)} {
		if g.header.Get("Access-Control-Allow-Origin") != "*" || g.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("got %v", g.header)
		}
	}
	if g := d.call("GET", "/", "", evil); g.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a page is open to other origins")
	}
}

// TestEveryAnswerIsGuarded: an id of the call, and the headers that keep
// browsers from guessing.
func TestEveryAnswerIsGuarded(t *testing.T) {
	d := open(t, nil)
	seen := map[string]bool{}
	for _, p := range []string{"/", "/nothing", "/sessions/x", "/healthz", "/readyz", "/style.css", "/qr.png"} {
		h := d.call("GET", p, "", "X-Request-Id: chosen").header
		id := h.Get("X-Request-Id")
		if len(id) != 16 || seen[id] {
			t.Errorf("%s: X-Request-Id %q", p, id)
		}
		seen[id] = true
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %v", p, h)
		}
	}
}

// TestPanicsAreFixedText and end neither the process nor the connection.
func TestPanicsAreFixedText(t *testing.T) {
	var log strings.Builder
	d := open(t, func(c *Config, _ *world) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	id, auth := d.funded("500")
	d.desk = func(timmy.Request) error { panic("secret detail") }
	g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 500, "Internal error")
	if !strings.Contains(log.String(), g.header.Get("X-Request-Id")) || !strings.Contains(log.String(), "secret detail") {
		t.Errorf("log %q", log.String())
	}
	if strings.Contains(log.String(), id) {
		t.Error("the log holds a session's id, which is a secret")
	}
}

// TestMoneyRoutesStopWhenTheBooksAreWrong; reading goes on.
func TestMoneyRoutesStopWhenTheBooksAreWrong(t *testing.T) {
	good := true
	d := open(t, func(c *Config, _ *world) { c.MoneyOK = func() bool { return good } })
	id, auth := d.funded("500")
	good = false
	for _, p := range []string{"/sessions", "/sessions/" + id + "/request", "/sessions/" + id + "/topup"} {
		d.want(d.call("POST", p, `{"amount_sats":500,"request":"hi"}`, auth), 503, "Payments are suspended")
	}
	d.want(d.call("GET", "/sessions/"+id, ""), 200, "")
	if g := d.want(d.call("GET", "/readyz", ""), 503, ""); g.str("checks", "money") != "failing" {
		t.Errorf("got %s", g.body)
	}
}

// TestHealthTellsStrangersNoDetails: they name hosts and paths.
func TestHealthTellsStrangersNoDetails(t *testing.T) {
	checks := map[string]string{"database": "ok", "wallet": ""}
	d := open(t, func(c *Config, _ *world) {
		c.Ready = func(context.Context) map[string]string { return checks }
	})
	if g := d.want(d.call("GET", "/healthz", ""), 200, ""); g.body != `{"status":"ok"}` {
		t.Errorf("got %s", g.body)
	}
	if g := d.want(d.call("GET", "/readyz", ""), 200, ""); g.str("status") != "ready" || g.str("checks", "wallet") != "ok" {
		t.Errorf("got %s", g.body)
	}
	checks = map[string]string{"wallet": "dial tcp 10.0.0.7: refused"}
	if g := d.want(d.call("GET", "/readyz", ""), 503, ""); strings.Contains(g.body, "10.0.0.7") || g.str("checks", "wallet") != "failing" {
		t.Errorf("got %s", g.body)
	}
	inside := httptest.NewServer(d.api.Metrics())
	defer inside.Close()
	d.url = inside.URL
	if g := d.call("GET", "/readyz", ""); g.status != 503 || !strings.Contains(g.body, "10.0.0.7") {
		t.Errorf("got %d %s", g.status, g.body)
	}
	d.want(d.call("GET", "/healthz", ""), 200, "")
	g := d.call("GET", "/metrics", "")
	for _, want := range []string{`timmy_http_requests_total{code="200",route="/healthz"} 1`, `timmy_http_requests_total{code="503",route="/readyz"} 1`, "timmy_http_request_seconds_bucket", "timmy_http_streams 0"} {
		if !strings.Contains(g.body, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
}

// TestClientsAreToldApartByTheirSocket: a forwarding header is believed of
// configured proxies only, and no further than they wrote it.
func TestClientsAreToldApartByTheirSocket(t *testing.T) {
	c := &clients{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	for _, x := range []struct{ remote, forwarded, want string }{
		{"1.2.3.4:5", "9.9.9.9", "1.2.3.4/32"},
		{"10.0.0.1:5", "9.9.9.9", "9.9.9.9/32"},
		{"10.0.0.1:5", "6.6.6.6, 9.9.9.9", "9.9.9.9/32"},
		{"10.0.0.1:5", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9/32"},
		{"10.0.0.1:5", "6.6.6.6, garbage", "10.0.0.1/32"},
		{"10.0.0.1:5", "", "10.0.0.1/32"},
		{"10.0.0.1:5", "9.9.9.9" + strings.Repeat(", 10.0.0.2", 99), "10.0.0.2/32"},
		{"[::1]:5", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"[::ffff:1.2.3.4]:5", "", "1.2.3.4/32"},
		{"[fe80::1%eth0]:5", "", "fe80::/64"},
		{"@", "9.9.9.9", "invalid Prefix"},
	} {
		r := &http.Request{RemoteAddr: x.remote, Header: http.Header{}}
		if x.forwarded != "" {
			r.Header.Set("X-Forwarded-For", x.forwarded)
		}
		if p := c.prefix(r); p.String() != x.want {
			t.Errorf("%s via %s: %s, want %s", x.forwarded, x.remote, p, x.want)
		}
	}
}

// TestEveryRouteIsLimited, unknown ones too; a spoofed header buys nothing, and
// another client is not affected.
func TestEveryRouteIsLimited(t *testing.T) {
	proxy := func(c *Config, _ *world) {
		c.Limits = Limits{PerMinute: 60, Burst: 5}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	d := open(t, proxy)
	paths := []string{"/", "/nothing", "/sessions/x", "/readyz", "/identity/me"}
	for _, p := range paths {
		if g := d.call("GET", p, "", "X-Forwarded-For: 9.9.9.9"); g.status == 429 {
			t.Errorf("%s: %d", p, g.status)
		}
	}
	for _, p := range paths {
		if g := d.want(d.call("GET", p, "", "X-Forwarded-For: 6.6.6.6, 9.9.9.9"), 429, "Too many requests"); g.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", p)
		}
	}
	d.want(d.call("GET", "/sessions/x", "", "X-Forwarded-For: 9.9.9.8"), 404, "")
	d.want(d.call("GET", "/healthz", "", "X-Forwarded-For: 9.9.9.9"), 200, "")
	d.pass(time.Second)
	d.want(d.call("GET", "/sessions/x", "", "X-Forwarded-For: 9.9.9.9"), 404, "")
}

// TestWhoPaidIsNotCountedWithStrangers excludes a limit that one address's
// strangers use up for its paying customers.
func TestWhoPaidIsNotCountedWithStrangers(t *testing.T) {
	d := open(t, func(c *Config, _ *world) { c.Limits = Limits{PerMinute: 1, Burst: 40} })
	id, auth := d.funded("500")
	for range 40 {
		d.call("GET", "/nothing", "")
	}
	path, body := "/sessions/"+id+"/request", `{"request":"hello"}`
	d.want(d.call("GET", "/sessions/"+id, ""), 429, "Too many requests")
	d.want(d.call("POST", path, body, auth), 200, "")
	d.want(d.call("POST", path, body, "Authorization: Bearer 00"), 429, "Too many requests")
}

// TestABodyThatNeverEndsChargesNothing: the caller closes in the middle.
func TestABodyThatNeverEndsChargesNothing(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	for _, sent := range []string{"", `{"request":`} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte("POST /sessions/" + id + "/request HTTP/1.1\r\nHost: x\r\n" + auth + "\r\nContent-Length: 99\r\n\r\n" + sent))
		_ = conn.(*net.TCPConn).CloseWrite()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && res.StatusCode != 400 {
			t.Errorf("got %d", res.StatusCode)
		}
		conn.Close()
	}
	if d.sessions[id].posted != 500*timmy.Sat || len(d.replies) != 0 {
		t.Error("a request that never arrived ran")
	}
}

// TestSlowBodiesAreCutOff on every route: also where the handler reads none, or
// has refused already, net/http waits for the rest before it answers. A caller
// who sends nothing more held a goroutine for good.
func TestSlowBodiesAreCutOff(t *testing.T) {
	d := open(t, nil)
	d.api.bodyWait = 100 * time.Millisecond
	id, auth := d.funded("500")
	for _, c := range []struct {
		line   string
		status int // 0: closed without an answer will do
	}{
		{"POST /sessions", 408},
		{"POST /sessions/" + id + "/request", 408},
		{"POST /sessions/" + id + "/topup", 408},
		{"POST /identity/token", 408},
		{"GET /sessions/" + id, 0},
		{"DELETE /sessions/" + id + "/history", 0},
		{"GET /sessions/" + id + "/events", 0},
		{"POST /nothing", 0},
		{"PUT /sessions", 0},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte(c.line + " HTTP/1.1\r\nHost: x\r\n" + auth + "\r\nContent-Length: 99\r\n\r\n{"))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Errorf("%s: no answer", c.line)
		case err == nil && c.status != 0 && (res.StatusCode != c.status || !res.Close):
			t.Errorf("%s: %d, close %v", c.line, res.StatusCode, res.Close)
		case err != nil && c.status != 0:
			t.Errorf("%s: %v", c.line, err)
		}
		conn.Close()
	}
}

// TestALongAnswerOutlivesTheBodysDeadline: the deadline that cuts slow bodies
// must not end the call, or a stream, that took its body in good time.
func TestALongAnswerOutlivesTheBodysDeadline(t *testing.T) {
	d := open(t, nil)
	d.api.bodyWait = 50 * time.Millisecond
	id, auth := d.funded("500")
	lines, _ := d.follow("/sessions/"+id+"/events", auth)
	d.work = func(timmy.Request) { time.Sleep(200 * time.Millisecond) }
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "")
	if l := next(t, lines); l != "event: delta" {
		t.Errorf("got %s", l)
	}
	d.want(d.call("GET", "/sessions/"+id, ""), 200, "") // the kept-alive connection too
}

// TestSettingsAreChecked before anything is served.
func TestSettingsAreChecked(t *testing.T) {
	w := newWorld()
	good := open(t, nil).api.cfg
	for name, spoil := range map[string]func(*Config){
		"port":    func(c *Config) { c.Till = nil },
		"key":     func(c *Config) { c.ServerKey = []byte("short") },
		"bounds":  func(c *Config) { c.MaxDeposit = 1 },
		"minimum": func(c *Config) { c.MinBalance = -1 },
		"url":     func(c *Config) { c.PublicURL = "https://tower.example/path" },
		"scheme":  func(c *Config) { c.PublicURL = "wss://tower.example" },
		"show":    func(c *Config) { c.ShowMacaroon = "sometimes" },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	good.Desk = w
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestTheHarnessNoticesAWrongAnswer: a validator that lets all pass proves nothing.
func TestTheHarnessNoticesAWrongAnswer(t *testing.T) {
	router, err := spec()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"sessionId":"x"}`, `{"error":"x","detail":"y"}`, `[]`, `{"error":5}`} {
		for _, status := range []int{200, 404, 418} {
			rec := &tee{ResponseWriter: httptest.NewRecorder()}
			rec.Header().Set("Content-Type", "application/json")
			rec.Header().Set("X-Request-Id", "0123456789abcdef")
			rec.WriteHeader(status)
			_, _ = rec.Write([]byte(body))
			if _, err := check(router, httptest.NewRequest("GET", "/sessions/x", nil), rec); err == nil {
				t.Errorf("%d %s passes", status, body)
			}
		}
	}
}
