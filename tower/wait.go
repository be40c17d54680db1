package tower

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// Do accepts, starts and runs a request for an asker on the line, and waits for
// its reply. When ctx ends first the work goes on, is charged once, and its reply
// can be read later. Refusals, after which nothing ran: Unpaid, Expired, Conflict
// of the book; Invalid; Unavailable when the desk is full or stopping, or the
// bitcoin price is not known.
func (d *Desk) Do(ctx context.Context, r timmy.Request) (timmy.Reply, error) {
	if err := checkRequest(r); err != nil {
		return timmy.Reply{}, err
	}
	select {
	case d.direct <- struct{}{}:
	default:
		return timmy.Reply{}, timmy.Errorf(timmy.Unavailable, "too many requests are running; try again shortly")
	}
	if !d.enter() {
		<-d.direct
		return timmy.Reply{}, timmy.Errorf(timmy.Unavailable, "the tower is stopping; try again shortly")
	}
	leave := func() { d.jobs.Done(); <-d.direct }

	job := d.newRun(ctx)
	j, ok, err := d.startDirect(ctx, job, r)
	if err == nil && !ok {
		leave()
		return d.Wait(ctx, r.ID)
	}
	if err != nil && j.Lease.Request == "" {
		leave()
		return timmy.Reply{}, err
	}
	answer := make(chan timmy.Reply, 1)
	go func() {
		defer leave()
		defer close(answer)
		if reply, ok := d.settle(job, j, err); ok {
			answer <- reply
		}
	}()
	if err != nil {
		return timmy.Reply{}, err
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return timmy.Reply{}, timmy.Errorf(timmy.Unavailable, "the request was interrupted; its answer can be fetched later")
		}
		return reply, nil
	case <-ctx.Done():
		return timmy.Reply{}, fmt.Errorf("waiting for the answer: %w", ctx.Err())
	}
}

// startDirect starts r itself. It is not cut off with the asker's connection: then
// nobody would know whether it runs.
func (d *Desk) startDirect(ctx context.Context, job *run, r timmy.Request) (timmy.Job, bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookTime)
	defer cancel()
	return d.cfg.Book.Start(ctx, &r, func(j timmy.Job) (timmy.Quote, error) { return d.quoteDirect(job, j) })
}

// Wait waits until the request has its outcome. Besides being told it asks the
// book each second, for the request may run in another tower. NotFound: no such
// request.
func (d *Desk) Wait(ctx context.Context, id timmy.RequestID) (timmy.Reply, error) {
	told, leave, err := d.await(id)
	if err != nil {
		return timmy.Reply{}, err
	}
	defer leave()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		reply, done, err := d.cfg.Book.Reply(ctx, id)
		if done || timmy.CodeOf(err) == timmy.NotFound {
			return reply, err
		}
		select {
		case reply := <-told:
			return reply, nil
		case <-ctx.Done():
			return timmy.Reply{}, fmt.Errorf("waiting for the answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (d *Desk) await(id timmy.RequestID) (told <-chan timmy.Reply, leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting >= waitersMax {
		return nil, nil, timmy.Errorf(timmy.Unavailable, "too many are waiting; try again shortly")
	}
	ch := make(chan timmy.Reply, 1)
	d.waiters[id] = append(d.waiters[id], ch)
	d.waiting++
	return ch, func() { d.unawait(id, ch) }, nil
}

func (d *Desk) unawait(id timmy.RequestID, ch chan timmy.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := slices.DeleteFunc(d.waiters[id], func(c chan timmy.Reply) bool { return c == ch })
	if d.waiting--; len(rest) == 0 {
		delete(d.waiters, id)
		return
	}
	d.waiters[id] = rest
}

// deliver tells all who wait for id; each has room for one reply.
func (d *Desk) deliver(id timmy.RequestID, reply timmy.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ch := range d.waiters[id] {
		select {
		case ch <- reply:
		default:
		}
	}
}

// stream gathers the pieces of an answer into events of a sensible size.
type stream struct {
	bus *Bus
	req timmy.Request

	mu   sync.Mutex
	text strings.Builder
	sent time.Time
}

func (d *Desk) stream(r timmy.Request) *stream {
	return &stream{bus: d.cfg.Bus, req: r, sent: time.Now()}
}

func (s *stream) delta(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.WriteString(text)
	if s.text.Len() >= deltaBytes || time.Since(s.sent) >= deltaEvery {
		s.send()
	}
}

func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send()
}

func (s *stream) send() {
	if s.text.Len() == 0 {
		return
	}
	s.bus.Publish(timmy.Event{Type: timmy.EventDelta, Request: s.req.ID, Thread: s.req.Thread, Delta: s.text.String()})
	s.text.Reset()
	s.sent = time.Now()
}

// backoff doubles the pause between tries.
type backoff struct{ next time.Duration }

// wait pauses; false when ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = max(retryFirst, min(b.next*2, retryMost))
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// reset starts anew.
func (b *backoff) reset() { b.next = 0 }
