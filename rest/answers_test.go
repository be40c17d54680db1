package rest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// whole is a door with every route that there is, and one of each thing that can be
// asked about. broken, when set, is what every port answers.
type whole struct {
	*door
	refunds *fakeRefunds
	broken  error

	session, bearer, token       string // bearer and token are headers
	request, asked               string
	refunded, askRefunded, payIn string
}

func openWhole(t *testing.T, change func(*Config)) *whole {
	t.Helper()
	h := &whole{}
	h.refunds = &fakeRefunds{made: map[string]*timmy.Refund{}, state: timmy.RefundPaid}
	h.door = open(t, func(c *Config, w *world) {
		w.preimages = map[timmy.Hash][32]byte{}
		w.nip98 = func(string, string, string, []byte) bool { return true }
		w.fail = func(string) error { return h.broken }
		payable(t, true)(c, w)
		h.refunds.world, c.Refunds = w, h.refunds
		invoice := c.Invoice
		c.Invoice = func(ctx context.Context, hash timmy.Hash) (timmy.InvoiceStatus, error) {
			if h.broken != nil {
				return timmy.InvoiceStatus{}, h.broken
			}
			return invoice(ctx, hash)
		}
		c.Papers = paperRack{}
		c.Operators = []timmy.PubKey{bob}
		c.Admission = &Admission{
			Price: 500 * timmy.Sat, Key: timmy.ParsePubKey,
			Invoice: func(context.Context, timmy.PubKey) (timmy.Invoice, bool, error) {
				return timmy.Invoice{}, false, h.broken
			},
		}
		if change != nil {
			change(c)
		}
	})
	h.session, h.bearer = h.funded("5000")
	h.token = h.l402(h.want(h.door.call("POST", "/ask", `{"request":"hi","amount_sats":5000}`), 402, ""))
	h.request = h.made("/sessions/"+h.session+"/request", h.bearer, "requestId")
	h.refunded = h.made("/sessions/"+h.session+"/refund", h.bearer, "refundId")
	h.asked = h.made("/ask", h.token, "requestId")
	h.askRefunded = h.made("/ask/refund", h.token, "refundId")
	h.payIn = h.want(h.door.call("POST", "/sessions", `{"amount_sats":500}`), 201, "").str("invoice", "paymentHash")
	return h
}

// body fits every route that takes one.
const wholeBody = `{"request":"hi","amount_sats":200,"destination":"me@x.example"}`

func (h *whole) made(path, auth, field string) string {
	h.t.Helper()
	return h.want(h.door.call("POST", path, wholeBody, auth), 200, "").str(field)
}

// operation is a method and a path of the document.
type operation struct{ method, path string }

// operations are those whose documented answers include all of statuses.
func operations(t testing.TB, statuses ...string) []operation {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var out []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			has := op.Responses.Map()
			if !slices.ContainsFunc(statuses, func(s string) bool { return has[s] == nil }) {
				out = append(out, operation{method, path})
			}
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return out
}

// real is the path with the ids of what is there.
func (h *whole) real(op operation) string {
	request, refund := h.request, h.refunded
	if strings.HasPrefix(op.path, askPath) {
		request, refund = h.asked, h.askRefunded
	}
	return strings.NewReplacer(
		"{id}", h.session, "{requestId}", request, "{refundId}", refund, "{hash}", h.payIn,
	).Replace(op.path)
}

func (h *whole) auth(op operation) with {
	switch {
	case strings.HasPrefix(op.path, askPath):
		return h.token
	case strings.HasPrefix(op.path, "/sessions/"):
		return h.bearer
	case op.path == "/events", strings.HasPrefix(op.path, "/identity/"):
		return "Authorization: Nostr x"
	}
	return "Accept: */*"
}

// do calls an operation as who may.
func (h *whole) do(op operation, headers ...with) got {
	h.t.Helper()
	body := ""
	switch {
	case op.path == "/relay" && op.method == "POST":
		body = "key=" + alice.String()
	case op.method == "POST":
		body = wholeBody
	}
	return h.call(op.method, h.real(op), body, append(headers, h.auth(op))...)
}

// TestErrorsTellNoInternals is threat F8, on every route: what a database or a host
// says is in the log; the caller gets the route's fixed text, and of a backend that is
// away what may be told, with a Retry-After.
func TestErrorsTellNoInternals(t *testing.T) {
	h := openWhole(t, nil)
	ops := operations(t, "500", "503")
	if len(ops) < 20 {
		t.Fatalf("%d operations", len(ops))
	}
	h.broken = errors.New("open /var/lib/timmy/timmy.db at 10.0.0.7: SQLITE_BUSY in SELECT")
	for _, op := range ops {
		g := h.do(op)
		if g.status != 500 || g.str("error") == "" || len(g.json) != 1 {
			t.Errorf("%v: %d %s", op, g.status, g.body)
		}
		for _, secret := range []string{"/var", "10.0.0.7", "SQLITE", "SELECT"} {
			if strings.Contains(g.body, secret) {
				t.Errorf("%v tells %s", op, g.body)
			}
		}
	}
	h.broken = timmy.Errorf(timmy.Unavailable, "The database is away")
	for _, op := range ops {
		if g := h.do(op); g.status != 503 || g.str("error") != "The database is away" || g.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", op, g.status, g.body)
		}
	}
}

// TestEveryDocumentedRouteIsLimited: none was forgotten.
func TestEveryDocumentedRouteIsLimited(t *testing.T) {
	h := openWhole(t, func(c *Config) { c.Limits = Limits{PerMinute: 1, Burst: 40} })
	for range 40 {
		h.call("GET", "/nothing", "")
	}
	for _, op := range operations(t, "429") {
		g := h.call(op.method, h.real(op), "")
		if g.status != 429 || g.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d", op, g.status)
		}
	}
}

// TestNobodysRPCReachesKhatru is threat F10: a content type that khatru takes for the
// relay's management, with a body it would read without bound, is a body like any
// other on every path of ours.
func TestNobodysRPCReachesKhatru(t *testing.T) {
	h := openWhole(t, nil)
	ops := operations(t, "413")
	if len(ops) < 7 {
		t.Fatalf("%d operations", len(ops))
	}
	const rpc = "Content-Type: application/nostr+json+rpc"
	for _, op := range ops {
		if g := h.call(op.method, h.real(op), strings.Repeat(" ", maxBody+1), h.auth(op), rpc); g.status != 413 || g.str("error") != "request body too large" {
			t.Errorf("%v: %d %s", op, g.status, g.body)
		}
		if g := h.do(op, rpc); g.status >= 400 || strings.Contains(g.body, "missing auth") {
			t.Errorf("%v: %d %s", op, g.status, g.body)
		}
	}
}

// TestEveryBodyIsReadAlike: compressed, cut off and slow ones get the same answer
// wherever a body is taken.
func TestEveryBodyIsReadAlike(t *testing.T) {
	h := openWhole(t, nil)
	for _, op := range operations(t, "415") {
		h.want(h.do(op, "Content-Encoding: gzip"), 415, "Content-Encoding is not supported")
	}
	for _, op := range operations(t, "400", "413") {
		if g := h.cutOff(op, "{"); g != 400 {
			t.Errorf("%v, cut off: %d", op, g)
		}
	}
	h.api.bodyWait = 100 * time.Millisecond
	for _, op := range operations(t, "408") {
		if g := h.cutOff(op, ""); g != 408 {
			t.Errorf("%v, slow: %d", op, g)
		}
	}
}

// cutOff sends a part of a body and ends its side of the connection; "" sends one
// byte and leaves it open. It gives the status.
func (h *whole) cutOff(op operation, part string) int {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head := op.method + " " + h.real(op) + " HTTP/1.1\r\nHost: x\r\n" + h.auth(op) + "\r\nContent-Length: 99\r\n\r\n{"
	if _, err := conn.Write([]byte(head + part)); err != nil {
		h.t.Fatal(err)
	}
	if part != "" {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		h.t.Errorf("%v: %v", op, err)
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}
