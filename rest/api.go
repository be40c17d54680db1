package rest

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/timmy-tower/timmy"
)

// API is the HTTP door. It keeps no state but rate limits, counters, the streams that
// are open, answers that wait for the books, and what it has computed of tokens.
type API struct {
	cfg       Config
	operators map[timmy.PubKey]bool
	clients   *clients
	metrics   *metrics
	streams   streams
	pages     *template.Template
	random    sync.Mutex    // Rand need not be safe for several goroutines
	settling  chan struct{} // calls that wait for a payment to be seen
	draining  atomic.Bool
	drained   chan struct{}
	bodyWait  time.Duration
	unsettled *unsettled
	tokensOf  *lru.Cache[string, token] // macaroons whose chain was checked
}

// New checks the settings and makes the door. Nothing runs until a handler is
// served.
func New(c Config) (*API, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.fill()
	a := &API{
		cfg: c, operators: map[timmy.PubKey]bool{}, drained: make(chan struct{}), bodyWait: bodyWait,
		settling: make(chan struct{}, maxSettling),
	}
	for _, k := range c.Operators {
		a.operators[k] = !k.IsZero()
	}
	var err error
	if a.clients, err = newClients(c.Limits, c.TrustedProxies, c.Now); err != nil {
		return nil, fmt.Errorf("making rate limits: %w", err)
	}
	if a.unsettled, err = newUnsettled(); err != nil {
		return nil, err
	}
	if a.tokensOf, err = lru.New[string, token](maxTokens); err != nil {
		return nil, fmt.Errorf("making a memory of tokens: %w", err)
	}
	if a.metrics, err = newMetrics(c.Collectors); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if a.pages, err = parsePages(); err != nil {
		return nil, fmt.Errorf("parsing pages: %w", err)
	}
	return a, nil
}

// Drain refuses new work with 503 and ends the open streams, so that the server
// can be shut down. Answers that are being made are finished.
func (a *API) Drain() {
	if !a.draining.Swap(true) {
		close(a.drained)
	}
}

// Handler serves the public listener.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.routes() {
		mux.Handle(r.pattern, r)
		if r.api {
			mux.Handle("/api"+r.pattern, r)
		}
	}
	mux.Handle("/", a.json(func(*call) answer { return refuse(http.StatusNotFound, "Not found") }))
	return a.guard(mux)
}

// Metrics serves the loopback listener: /metrics, /healthz and /readyz with
// details.
func (a *API) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.handler())
	mux.HandleFunc("GET /healthz", a.json(a.health))
	mux.HandleFunc("GET /readyz", a.json(a.readyInside))
	return mux
}

// route is one path and what its methods do.
type route struct {
	pattern string
	api     bool // also under /api, and open to other origins
	stream  bool // never ends: no HEAD
	methods map[string]http.HandlerFunc
}

func (a *API) routes() []route {
	get := func(h http.HandlerFunc) map[string]http.HandlerFunc { return map[string]http.HandlerFunc{"GET": h} }
	post := func(h http.HandlerFunc) map[string]http.HandlerFunc { return map[string]http.HandlerFunc{"POST": h} }
	rs := []route{
		{pattern: "/sessions", api: true, methods: post(a.limitSessions(a.json(a.money(a.create))))},
		{pattern: "/sessions/{id}", api: true, methods: get(a.json(a.show))},
		{pattern: "/sessions/{id}/request", api: true, methods: post(a.json(a.money(a.request)))},
		{pattern: "/sessions/{id}/requests/{request}", api: true, methods: get(a.json(a.fetch))},
		{pattern: "/sessions/{id}/topup", api: true, methods: post(a.json(a.money(a.topUp)))},
		{pattern: "/sessions/{id}/history", api: true, methods: map[string]http.HandlerFunc{"DELETE": a.json(a.forget)}},
		{pattern: "/sessions/{id}/events", api: true, stream: true, methods: get(a.sessionEvents)},
		{pattern: "/events", api: true, stream: true, methods: get(a.operatorEvents)},
		{pattern: "/identity/token", api: true, methods: post(a.json(a.issueToken))},
		{pattern: "/identity/me", api: true, methods: get(a.json(a.whoAmI))},
		{pattern: "/healthz", methods: get(a.json(a.health))},
		{pattern: "/readyz", methods: get(a.json(a.readyOutside))},
		{pattern: "/{$}", methods: get(a.landing)},
		{pattern: "/style.css", methods: get(a.style)},
		{pattern: "/qr.png", methods: get(a.towerQR)},
	}
	if a.cfg.Papers != nil {
		rs = append(rs,
			route{pattern: "/sessions/{id}/requests/{request}/receipt", api: true, methods: get(a.json(a.receipt))},
			route{pattern: "/sessions/{id}/proof", api: true, methods: get(a.json(a.proof))})
	}
	if a.cfg.Refunds != nil {
		rs = append(rs,
			route{pattern: "/sessions/{id}/refund", api: true, methods: post(a.json(a.money(a.refund)))},
			route{pattern: "/sessions/{id}/refunds/{refund}", api: true, methods: get(a.json(a.fetchRefund))})
	}
	if a.cfg.Invoice == nil {
		return rs
	}
	if a.cfg.Refunds != nil {
		rs = append(rs,
			route{pattern: askPath + "/refund", api: true, methods: post(a.json(a.money(a.refundAsked)))},
			route{pattern: askPath + "/refund/{refund}", api: true, methods: get(a.json(a.fetchRefundAsked))})
	}
	rs = append(rs,
		route{pattern: askPath, api: true, methods: post(a.json(a.money(a.ask)))},
		route{pattern: askPath + "/{request}", api: true, methods: get(a.json(a.fetchAsked))},
		route{pattern: "/pay/{hash}", methods: get(a.payPage)},
		route{pattern: "/pay/{hash}/qr.png", methods: get(a.payQR)})
	if a.cfg.Admission != nil {
		rs = append(rs, route{pattern: "/relay", methods: map[string]http.HandlerFunc{
			"GET": a.relayPage, "POST": a.limitSessions(a.joinRelay),
		}})
	}
	if a.cfg.Pay != nil {
		rs = append(rs, route{pattern: "/pay/{hash}/settle", methods: post(a.settle)})
	}
	return rs
}

// ServeHTTP chooses by method: 405 as JSON, and preflights answered.
func (rt route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rec, ok := w.(*recorder); ok {
		rec.route = rt.pattern
	}
	if rt.api {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id, Idempotency-Replayed, Link, Location, Payment-Receipt, WWW-Authenticate")
	}
	method := r.Method
	if method == http.MethodHead && !rt.stream {
		method = http.MethodGet
	}
	if h := rt.methods[method]; h != nil {
		h(w, r)
		return
	}
	if method == http.MethodOptions {
		rt.preflight(w)
		return
	}
	w.Header().Set("Allow", rt.allow())
	refuse(http.StatusMethodNotAllowed, "Method not allowed").write(w)
}

func (rt route) allow() string {
	out := "OPTIONS"
	for m := range rt.methods {
		out = m + ", " + out
		if m == http.MethodGet && !rt.stream {
			out = "HEAD, " + out
		}
	}
	return out
}

func (rt route) preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Allow", rt.allow())
	if rt.api {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Accept-Payment, Authorization, Content-Type, Idempotency-Key, X-Nostr-Token")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// guard is around everything public: a request id, the headers every answer
// has, panics, limits, and paths that only a mischief-maker writes. ServeMux
// would redirect those to their clean form.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, route: "other"}
		id := a.requestID()
		r = r.WithContext(context.WithValue(r.Context(), factsKey{}, &facts{id: id}))
		start := a.cfg.Now()
		secure(rec.Header(), id)
		// For all routes: net/http reads a body that the handler leaves unread.
		deadline := time.Now().Add(a.bodyWait) // the socket's clock is the machine's
		_ = http.NewResponseController(w).SetReadDeadline(deadline)
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				a.cfg.Log.Error("http: panic", "request", id, "route", rec.route, "panic", p)
				if rec.status == 0 {
					refuse(http.StatusInternalServerError, "Internal error").write(rec)
				}
			}
			a.metrics.observe(rec, a.cfg.Now().Sub(start))
			a.cfg.Log.Debug("http", "request", id, "route", rec.route, "method", r.Method, "status", rec.status)
		}()
		p := r.URL.Path
		switch clean := path.Clean("/" + p); {
		case clean != p && clean+"/" != p:
			refuse(http.StatusNotFound, "Not found").write(rec)
		case p != "/healthz" && !a.pays(r) && !a.clients.allow(r):
			tooMany().write(rec)
		default:
			next.ServeHTTP(rec, r)
		}
	})
}

func secure(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
}

// recorder remembers what was answered, for the counters.
type recorder struct {
	http.ResponseWriter
	route  string
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write notes the implied status.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// facts are what is known of a call, from the guard on. They belong to the goroutine that
// serves it.
type facts struct {
	id    string // of the call, for the log
	shown shown
}

// factsKey is the context key of the facts.
type factsKey struct{}

func factsOf(r *http.Request) *facts {
	if f, ok := r.Context().Value(factsKey{}).(*facts); ok {
		return f
	}
	return &facts{}
}

// call is one HTTP call under way.
type call struct {
	*http.Request
	w   http.ResponseWriter
	id  string
	log *slog.Logger
}

// json adapts a handler that returns its answer.
func (a *API) json(h func(*call) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h(a.call(w, r)).write(w)
	}
}

func (a *API) call(w http.ResponseWriter, r *http.Request) *call {
	id := factsOf(r).id
	return &call{Request: r, w: w, id: id, log: a.cfg.Log.With("request", id)}
}

// money refuses calls that could move money while the books do not add up or
// the tower is stopping.
func (a *API) money(h func(*call) answer) func(*call) answer {
	return func(c *call) answer {
		if a.draining.Load() {
			c.w.Header().Set("Connection", "close")
			return away("The tower is shutting down")
		}
		if !a.cfg.MoneyOK() {
			return away("Payments are suspended")
		}
		return h(c)
	}
}

func (a *API) limitSessions(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.clients.allowSession(r) {
			tooMany().write(w)
			return
		}
		h(w, r)
	}
}

// detached is the context of work that goes on when the caller hangs up.
func (a *API) detached(c *call) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.Context()), a.cfg.RequestTimeout)
}

// link names the pay page of an invoice, in a header: the documented bodies
// have no field for it.
func (a *API) link(h timmy.Hash) string {
	if a.cfg.Invoice == nil {
		return ""
	}
	return strings.Join([]string{"<", a.cfg.PublicURL, "/pay/", h.String(), `>; rel="payment"`}, "")
}
