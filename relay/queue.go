package relay

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errStalled = errors.New("reader is too slow")
	errEnded   = errors.New("connection has ended")
)

// message is one text frame: head alone, or head, body and a closing bracket. A
// body is shared by all readers of an event and never changed.
type message struct{ head, body []byte }

func (m message) size() int { return len(m.head) + len(m.body) + 1 }

// queue holds what waits for one reader. Whoever has a live event pushes and
// never waits; the connection's own goroutine waits for room. It is written by a
// goroutine that lives as long as there is something: most connections are quiet.
type queue struct {
	mu      sync.Mutex
	items   []message
	bytes   int
	ended   bool
	writing bool // a goroutine does, or found that it cannot

	write func()        // takes until there is no more
	room  chan struct{} // something went
	done  chan struct{} // closed when it ended and was written, or cannot be
}

func newQueue(write func()) *queue {
	return &queue{write: write, room: make(chan struct{}, 1), done: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push adds a message, or answers errStalled if the reader is too far behind.
func (q *queue) push(m message) error { return q.pushWithin(m, maxQueueMessages, maxQueueBytes) }

func (q *queue) pushWithin(m message, messages, bytes int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(m, messages, bytes)
}

// add needs the lock.
func (q *queue) add(m message, messages, bytes int) error {
	if q.ended {
		return errEnded
	}
	// A message always fits an empty queue: one event may be the whole of it.
	if len(q.items) > 0 && (len(q.items) >= messages || q.bytes+m.size() > bytes) {
		return errStalled
	}
	q.items = append(q.items, m)
	q.bytes += m.size()
	if !q.writing {
		q.writing = true
		go q.write()
	}
	return nil
}

// waitAll is wait for several messages: those for which there is room are there at
// once, so that they are written together.
func (q *queue) waitAll(ctx context.Context, list []message) error {
	n := q.fill(list)
	for _, m := range list[n:] {
		if err := q.wait(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// fill adds what there is room for, and says how many that were.
func (q *queue) fill(list []message) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n < len(list) && q.add(list[n], maxQueueMessages/2, maxQueueBytes/2) == nil {
		n++
	}
	return n
}

// wait adds a message when half of the queue is free. The other half is for live
// events, so that a long answer does not count as stalling.
func (q *queue) wait(ctx context.Context, m message) error {
	err := q.pushWithin(m, maxQueueMessages/2, maxQueueBytes/2)
	if !errors.Is(err, errStalled) {
		return err
	}
	late := time.NewTimer(roomDeadline)
	defer late.Stop()
	for {
		select {
		case <-q.room:
		case <-late.C:
			return errStalled
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := q.pushWithin(m, maxQueueMessages/2, maxQueueBytes/2); !errors.Is(err, errStalled) {
			return err
		}
	}
}

// take removes the oldest message. False: there is none, and the writer must end.
func (q *queue) take() (m message, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.items, q.writing = nil, false
		if q.ended {
			close(q.done)
		}
		return m, false
	}
	m = q.items[0]
	q.items[0] = message{}
	q.items = q.items[1:]
	q.bytes -= m.size()
	signal(q.room)
	return m, true
}

// empty reports whether nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// end lets the writer finish what is there and takes nothing more.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended = true; !q.writing {
		close(q.done)
	}
}

// fail is the writer's word that it cannot write any more, and ends.
func (q *queue) fail() { close(q.done) }
