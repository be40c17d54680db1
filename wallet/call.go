package wallet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/timmy-tower/timmy"
)

// status is a backend's refusal.
type status struct {
	code   int
	detail string // for the log; the key is cut out
	rpc    int    // the code within a JSON body, as of Core Lightning; 0: none
}

func (s *status) Error() string { return fmt.Sprintf("status %d: %s", s.code, s.detail) }

// caller calls a JSON backend within the limits: connect 3 s, 10 s in all,
// 1 MiB, retries of reads alone, no redirects, and a breaker.
type caller struct {
	base    string
	header  http.Header // credentials
	secret  string      // cut out of every error
	also    string      // another form of the secret, cut out too
	http    *http.Client
	breaker *gobreaker.CircuitBreaker[[]byte]

	alive   func(*status) bool // more refusals that prove the backend alive; nil: none
	missing func(*status) bool // the refusals that mean "no such invoice"
}

func newCaller(base, header, secret string, client *http.Client) *caller {
	c := &caller{
		base: strings.TrimRight(base, "/"), secret: secret, http: bounded(client),
		header: http.Header{header: {secret}},
		// A wrong key is a 404 as well ("Wallet not found."): that is not an answer.
		missing: func(s *status) bool { return s.code == http.StatusNotFound && strings.Contains(s.detail, "Payment") },
	}
	c.breaker = newBreaker(c.answered)
	return c
}

// newBreaker leaves a backend alone for a while that did not answer five times in
// a row. answered says what counts as an answer.
func newBreaker(answered func(error) bool) *gobreaker.CircuitBreaker[[]byte] {
	return gobreaker.NewCircuitBreaker[[]byte](gobreaker.Settings{
		Timeout:      breakerPause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsSuccessful: answered,
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
	})
}

// bounded is a client that connects within 3 seconds and never follows a
// redirect: it would carry the key to another host.
func bounded(client *http.Client) *http.Client {
	c := http.Client{}
	if client != nil {
		c = *client
	} else {
		t := newTransport()
		t.ResponseHeaderTimeout = callTimeout
		c.Transport = t
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// newTransport connects within 3 seconds and notices a peer that is gone.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		MaxIdleConns:        8,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: watchPing, PingTimeout: watchPong},
	}
}

// answered says whether the backend is alive: a refusal of one call does not
// open the breaker, a wrong key or an overload does.
func (c *caller) answered(err error) bool {
	if err == nil {
		return true
	}
	s, ok := errors.AsType[*status](err)
	return ok && (s.code == http.StatusBadRequest || s.code == http.StatusNotFound || s.code == http.StatusUnprocessableEntity ||
		c.missing(s) || c.alive != nil && c.alive(s))
}

// BackendStats say how a backend does.
type BackendStats struct {
	Breaker string // closed, half-open or open
}

func (c *caller) stats() BackendStats { return BackendStats{Breaker: c.breaker.State().String()} }

// ask is one call: body is JSON, or a form if it says so.
type ask struct {
	method, path, kind string
	body               []byte
}

// get reads path into out, with at most two retries.
func (c *caller) get(ctx context.Context, path string, out any) error {
	return c.read(ctx, ask{method: http.MethodGet, path: path}, out)
}

// read makes a call that changes nothing, with at most two retries.
func (c *caller) read(ctx context.Context, a ask, out any) error {
	return c.repeat(ctx, a, out, c.once)
}

// page reads a page of a list, with at most two retries, beside the breaker: a long list
// may be too much for a backend that makes and finds invoices all the same. Whoever lists
// pauses between failures.
func (c *caller) page(ctx context.Context, a ask, out any) error {
	return c.repeat(ctx, a, out, c.send)
}

func (c *caller) repeat(ctx context.Context, a ask, out any, once func(context.Context, ask) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := insist(ctx, c.answered, func() ([]byte, error) { return once(ctx, a) })
	return c.finish(body, err, out)
}

// insist tries once at most [maxTries] times, until it is answered or the breaker
// is open.
func insist(ctx context.Context, answered func(error) bool, once func() ([]byte, error)) ([]byte, error) {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: retryFirst, MaxInterval: retryMost, Multiplier: 2, RandomizationFactor: 0.5,
	}
	return backoff.Retry(ctx, func() ([]byte, error) {
		b, err := once()
		if err != nil && (answered(err) || errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)) {
			err = backoff.Permanent(err)
		}
		return b, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(maxTries))
}

// post sends in to path once and reads the answer into out.
func (c *caller) post(ctx context.Context, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.write(ctx, ask{method: http.MethodPost, path: path, body: raw}, out)
}

// write makes a call once.
func (c *caller) write(ctx context.Context, a ask, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := c.once(ctx, a)
	return c.finish(body, err, out)
}

// finish decodes an answer, or makes of a failure what the asker may read.
func (c *caller) finish(body []byte, err error, out any) error {
	if err == nil {
		if err = json.Unmarshal(body, out); err != nil {
			err = fmt.Errorf("reading the answer: %w", err)
		}
	}
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*status](err); ok && c.missing(s) {
		return &timmy.Error{Code: timmy.NotFound, Message: "no such invoice", Err: c.redact(err)}
	}
	return away(c.redact(err))
}

// once is one attempt, counted by the breaker.
func (c *caller) once(ctx context.Context, a ask) ([]byte, error) {
	return c.breaker.Execute(func() ([]byte, error) { return c.send(ctx, a) })
}

// request is a, ready to go.
func (c *caller) request(ctx context.Context, a ask) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, a.method, c.base+a.path, bytes.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	req.Header = c.header.Clone()
	req.Header.Set("User-Agent", "timmy")
	req.Header.Set("Accept", "application/json")
	if a.body != nil {
		req.Header.Set("Content-Type", cmp.Or(a.kind, "application/json"))
	}
	return req, nil
}

// send is one attempt beside the breaker. A reply that is no JSON counts as a
// failure.
func (c *caller) send(ctx context.Context, a ask) ([]byte, error) {
	req, err := c.request(ctx, a)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := readCapped(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return nil, refusal(res.StatusCode, b)
	}
	if !json.Valid(b) {
		return nil, errors.New("the answer is not JSON")
	}
	return b, nil
}

// refusal reads what a backend says when it will not.
func refusal(code int, body []byte) *status {
	var said struct {
		Code  loose `json:"code"`
		Error struct {
			Code loose `json:"code"`
		} `json:"error"` // Core Lightning before 24.02
	}
	s := &status{code: code, detail: strings.ToValidUTF8(string(body[:min(len(body), maxLoggedReply)]), "?")}
	if json.Unmarshal(body, &said) == nil {
		n, ok := said.Code.integer()
		if !ok {
			n, _ = said.Error.Code.integer()
		}
		s.rpc = int(n)
	}
	return s
}

// readCapped reads at most [maxReply] and refuses what is longer.
func readCapped(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxReply+1))
	if err == nil && len(b) > maxReply {
		err = fmt.Errorf("the answer is longer than %d bytes", maxReply)
	}
	return b, err
}

// redact cuts the key out of an error's text. What [errors.Is] knows of a
// context stays known.
func (c *caller) redact(err error) error {
	text := err.Error()
	for _, secret := range []string{c.secret, c.also} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[key]")
		}
	}
	if text == err.Error() {
		return err
	}
	clean := errors.New(text)
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", known, clean)
		}
	}
	if s, ok := errors.AsType[*status](err); ok {
		return fmt.Errorf("%w", &status{code: s.code, rpc: s.rpc, detail: strings.TrimPrefix(text, fmt.Sprintf("status %d: ", s.code))})
	}
	return clean
}
