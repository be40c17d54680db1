package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// costEvent is the documented bus message.
type costEvent struct {
	Type  string `json:"type"`
	JobID string `json:"jobId"`
	Sats  int64  `json:"sats"`
	Phase string `json:"phase"`
	Final bool   `json:"isFinal"`
}

type stateEvent struct {
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	State     string `json:"state"`
}

type deltaEvent struct {
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	Delta     string `json:"delta"`
}

func viewEvent(e timmy.Event) any {
	switch e.Type {
	case timmy.EventCost:
		return costEvent{Type: string(e.Type), JobID: string(e.Request), Sats: e.Sats, Phase: e.Phase, Final: e.Final}
	case timmy.EventState:
		return stateEvent{Type: string(e.Type), RequestID: string(e.Request), State: string(e.State)}
	case timmy.EventDelta:
		return deltaEvent{Type: string(e.Type), RequestID: string(e.Request), Delta: e.Delta}
	}
	return nil
}

// sessionEvents is GET /sessions/:id/events: what happens to the session's own
// requests. The bearer comes in the header alone: URLs end up in logs.
func (a *API) sessionEvents(w http.ResponseWriter, r *http.Request) {
	c := a.call(w, r)
	s, bad := a.session(c, c.PathValue("id"), "Failed to follow session")
	switch {
	case bad != nil:
		bad.write(w)
	case !a.authorized(c, s):
		refuse(http.StatusUnauthorized, msgBearer).write(w)
	case a.expired(s):
		refuse(http.StatusGone, msgExpired).write(w)
	default:
		own := thread(s.ID)
		a.stream(c, own, func(e timmy.Event) any {
			if e.Thread != own {
				return nil
			}
			return viewEvent(e)
		})
	}
}

// operatorEvents is GET /events: what the tower earns, for its operators. Ids
// are opaque: an operator need not be able to fetch people's answers.
func (a *API) operatorEvents(w http.ResponseWriter, r *http.Request) {
	c := a.call(w, r)
	k, _, err := a.caller(c)
	switch {
	case err != nil:
		failed(c, err, "Failed to follow events").write(w)
	case !a.operators[k]:
		refuse(http.StatusForbidden, "Operators only").write(w)
	default:
		a.stream(c, "", func(e timmy.Event) any {
			if e.Type != timmy.EventCost {
				return nil
			}
			e.Request = timmy.RequestID(a.opaque(e.Request))
			return viewEvent(e)
		})
	}
}

// stream writes server-sent events until the caller leaves, stops reading, the
// tower stops, or an hour has passed.
func (a *API) stream(c *call, topic string, view func(timmy.Event) any) {
	if a.draining.Load() {
		c.w.Header().Set("Connection", "close")
		away("The tower is shutting down").write(c.w)
		return
	}
	if !a.streams.enter(topic) {
		tooMany().write(c.w)
		return
	}
	a.metrics.streams.Inc()
	defer func() { a.streams.leave(topic); a.metrics.streams.Dec() }()
	ctx, cancel := context.WithTimeout(c.Context(), maxStreamLife)
	defer cancel()
	events := a.cfg.Bus.Follow(ctx, topic)
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := sse{w: c.w, rc: http.NewResponseController(c.w)}
	if !out.send("retry: 3000\n\n") {
		return
	}
	// Only now: with the first byte net/http reads what is left of a body, which
	// may never come. From here on a deadline would end the stream.
	_ = out.rc.SetReadDeadline(time.Time{})
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for ok := true; ok; {
		select {
		case <-ctx.Done():
			return
		case <-a.drained:
			return
		case <-tick.C:
			ok = out.send(": keep-alive\n\n")
		case e, more := <-events:
			if ok = more; more {
				ok = out.event(e.Type, view(e))
			}
		}
	}
}

// sse writes one event at a time, each with a deadline.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s sse) event(name timmy.EventType, v any) bool {
	if v == nil {
		return true
	}
	b, err := json.Marshal(v) // one line: JSON escapes line breaks
	return err == nil && s.send(fmt.Sprintf("event: %s\ndata: %s\n\n", name, b))
}

func (s sse) send(text string) bool {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeWait)) // the socket's clock is the machine's
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.rc.Flush() == nil
}

// patient moves the connection's write deadline behind the longest wait.
func (a *API) patient(c *call) {
	until := time.Now().Add(a.cfg.RequestTimeout + writeWait)
	_ = http.NewResponseController(c.w).SetWriteDeadline(until) // test recorders have none
}

// streams counts the open ones, in all and per topic.
type streams struct {
	mu    sync.Mutex
	total int
	by    map[string]int
}

func (s *streams) enter(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxStreams || s.by[topic] >= maxStreamsEach {
		return false
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.total++
	s.by[topic]++
	return true
}

func (s *streams) leave(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.by[topic]--; s.by[topic] == 0 {
		delete(s.by, topic)
	}
}
