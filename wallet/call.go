package wallet

import (
	"bytes"
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
}

func (s *status) Error() string { return fmt.Sprintf("status %d: %s", s.code, s.detail) }

// caller calls a JSON backend within the limits: connect 3 s, 10 s in all,
// 1 MiB, retries of reads alone, no redirects, and a breaker.
type caller struct {
	base    string
	header  http.Header // credentials
	secret  string      // cut out of every error
	http    *http.Client
	breaker *gobreaker.CircuitBreaker[[]byte]
}

func newCaller(base, header, secret string, client *http.Client) *caller {
	return &caller{
		base: strings.TrimRight(base, "/"), secret: secret, http: bounded(client),
		header: http.Header{header: {secret}},
		breaker: gobreaker.NewCircuitBreaker[[]byte](gobreaker.Settings{
			Timeout:      breakerPause,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			IsSuccessful: answered,
			IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
		}),
	}
}

// bounded is a client that connects within 3 seconds and never follows a
// redirect: it would carry the key to another host.
func bounded(client *http.Client) *http.Client {
	c := http.Client{}
	if client != nil {
		c = *client
	} else {
		c.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout:   connectTimeout,
			ResponseHeaderTimeout: callTimeout,
			MaxIdleConns:          8,
			IdleConnTimeout:       time.Minute,
			ForceAttemptHTTP2:     true,
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// answered says whether the backend is alive: a refusal of one call does not
// open the breaker, a wrong key or an overload does.
func answered(err error) bool {
	if err == nil {
		return true
	}
	s, ok := errors.AsType[*status](err)
	return ok && (s.code == http.StatusBadRequest || s.code == http.StatusNotFound || s.code == http.StatusUnprocessableEntity)
}

// get reads path into out, with at most two retries.
func (c *caller) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pause := &backoff.ExponentialBackOff{
		InitialInterval: retryFirst, MaxInterval: retryMost, Multiplier: 2, RandomizationFactor: 0.5,
	}
	body, err := backoff.Retry(ctx, func() ([]byte, error) {
		b, err := c.once(ctx, http.MethodGet, path, nil)
		if answered(err) || errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
			if err != nil {
				err = backoff.Permanent(err)
			}
		}
		return b, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(maxTries))
	return c.finish(body, err, out)
}

// post sends in to path once and reads the answer into out.
func (c *caller) post(ctx context.Context, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	body, err := c.once(ctx, http.MethodPost, path, raw)
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
	// A wrong key is a 404 as well ("Wallet not found."): that is not an answer.
	if s, ok := errors.AsType[*status](err); ok && s.code == http.StatusNotFound && strings.Contains(s.detail, "Payment") {
		return &timmy.Error{Code: timmy.NotFound, Message: "no such invoice", Err: c.redact(err)}
	}
	return away(c.redact(err))
}

// once is one attempt, counted by the breaker. A reply that is no JSON counts as
// a failure.
func (c *caller) once(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return c.breaker.Execute(func() ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header = c.header.Clone()
		req.Header.Set("User-Agent", "timmy")
		req.Header.Set("Accept", "application/json")
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
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
			return nil, &status{code: res.StatusCode, detail: strings.ToValidUTF8(string(b[:min(len(b), maxLoggedReply)]), "?")}
		}
		if !json.Valid(b) {
			return nil, errors.New("the answer is not JSON")
		}
		return b, nil
	})
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
	if c.secret == "" || !strings.Contains(err.Error(), c.secret) {
		return err
	}
	clean := errors.New(strings.ReplaceAll(err.Error(), c.secret, "[key]"))
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", known, clean)
		}
	}
	return clean
}
