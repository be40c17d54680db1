package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a provider can do wrong that the model must tell apart.
var (
	errSlow  = errors.New("no byte came in time")
	errTotal = errors.New("the answer did not end in time")
	errLarge = errors.New("the answer is too large")
)

// wire is the HTTP client under go-openai: it holds the time-outs and limits,
// and retries once, before the first byte. It is no RoundTripper, for it also
// reads bodies.
type wire struct {
	client *http.Client
	times  Timeouts
	rand   io.Reader
	log    *slog.Logger
}

func newWire(cfg Config) *wire {
	c := http.Client{}
	if cfg.HTTP != nil {
		c = *cfg.HTTP
	} else {
		c.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: cfg.Timeouts.Connect}).DialContext,
			TLSHandshakeTimeout: cfg.Timeouts.Connect,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}
	}
	// A redirect would carry people's prompts to another host.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &wire{client: &c, times: cfg.Timeouts, rand: cfg.Rand, log: cfg.Log}
}

// Do sends the request, at most twice, and guards the answer's body.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		res, err := w.attempt(req)
		pause, again := w.again(req, res, err)
		if try == maxTries || !again {
			return w.read(req, res, err)
		}
		if res != nil {
			res.Body.Close()
		}
		w.log.Debug("the model provider is asked again", "pause", pause, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-req.Context().Done():
			timer.Stop()
			return nil, context.Cause(req.Context())
		case <-timer.C:
		}
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
}

// attempt is one request whose first byte must come in time.
func (w *wire) attempt(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(w.times.FirstByte, func() { cancel(errSlow) })
	res, err := w.client.Do(req.WithContext(ctx))
	if err != nil {
		timer.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		cancel(nil)
		return nil, err
	}
	end, ok := ctx.Value(endingKey{}).(*ending)
	if !ok {
		end = &ending{}
	}
	res.Body = &guarded{end: end, body: res.Body, ctx: ctx, cancel: cancel, timer: timer, idle: w.times.Idle, most: maxStream}
	return res, nil
}

// again says whether a second try may help, and after how long. A provider that
// wants more patience than the asker has is not asked again.
func (w *wire) again(req *http.Request, res *http.Response, err error) (time.Duration, bool) {
	if req.GetBody == nil || req.Context().Err() != nil {
		return 0, false
	}
	if err != nil {
		return w.pause(), !errors.Is(err, errSlow)
	}
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode < 500 {
		return 0, false
	}
	seconds, bad := strconv.ParseInt(strings.TrimSpace(res.Header.Get("Retry-After")), 10, 64)
	if bad != nil || seconds < 0 {
		return w.pause(), true
	}
	return time.Duration(min(seconds, 3600)) * time.Second, seconds <= int64(maxPause/time.Second)
}

// pause is [retryPause] and up to as much again, so that towers do not ask
// together.
func (w *wire) pause() time.Duration {
	var b [4]byte
	if _, err := io.ReadFull(w.rand, b[:]); err != nil {
		return retryPause
	}
	return retryPause + time.Duration(int64(binary.BigEndian.Uint32(b[:]))*int64(retryPause)>>32)
}

// read makes of an answer what go-openai can read: a short error, a real stream,
// or a JSON object of bounded size.
func (w *wire) read(req *http.Request, res *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	stream := req.Header.Get("Accept") == "text/event-stream"
	switch {
	case res.StatusCode >= 400:
		return buffer(res, maxErrorBody, func(b []byte) ([]byte, error) { return b[:min(len(b), maxErrorBody)], nil })
	case res.StatusCode != http.StatusOK:
		err = fmt.Errorf("status %d", res.StatusCode)
	case stream && !strings.HasPrefix(strings.ToLower(res.Header.Get("Content-Type")), "text/event-stream"):
		err = fmt.Errorf("a stream was asked for and %.40q came", res.Header.Get("Content-Type"))
	case stream:
		return res, nil
	default:
		return buffer(res, maxUnary, tame)
	}
	res.Body.Close()
	return nil, err
}

// buffer replaces a body by what keep makes of its first bytes.
func buffer(res *http.Response, most int64, keep func([]byte) ([]byte, error)) (*http.Response, error) {
	b, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	res.Body.Close()
	if err == nil {
		b, err = keep(b)
	}
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}

// tame checks a plain answer's size and drops a usage that is none: go-openai
// would refuse the whole answer for a number written as text.
func tame(b []byte) ([]byte, error) {
	if len(b) > maxUnary {
		return nil, errLarge
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, fmt.Errorf("the answer is no JSON object: %w", err)
	}
	if _, ok := parseUsage(object["usage"]); !ok {
		delete(object, "usage")
	} else if raw := object["usage"]; len(raw) > 0 {
		object["usage"] = plainUsage(raw)
	}
	return json.Marshal(object)
}

// ending is the last bytes of a stream, which say whether it was cut off. It
// travels in the request's context, for go-openai hides the body.
type ending struct{ last []byte }

type endingKey struct{}

// guarded is a body that must keep coming and must end.
type guarded struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	most   int64
	line   int
	end    *ending
}

// Read counts, and restarts the idle timer.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.body.Read(p)
	if n > 0 {
		g.timer.Reset(g.idle)
		g.most -= int64(n)
		if i := bytes.LastIndexByte(p[:n], '\n'); i >= 0 {
			g.line = n - i - 1
		} else {
			g.line += n
		}
		g.end.last = append(g.end.last, p[max(0, n-endBytes):n]...)
		g.end.last = g.end.last[max(0, len(g.end.last)-endBytes):]
	}
	if g.most < 0 || g.line > maxLine {
		return 0, errLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(g.ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	return n, err
}

// Close ends the request.
func (g *guarded) Close() error {
	g.timer.Stop()
	err := g.body.Close()
	g.cancel(nil)
	return err
}
