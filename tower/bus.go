package tower

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/timmy-tower/timmy"
)

// Bus carries what happens to those who watch. It never blocks: an event for
// which a follower has no room is lost to that follower, and the durable answer
// is the row.
type Bus struct {
	mu        sync.RWMutex
	followers map[*follower]struct{}
	lost      atomic.Int64
}

type follower struct {
	thread string // empty: all
	events chan timmy.Event
}

// NewBus makes a bus without followers.
func NewBus() *Bus { return &Bus{followers: map[*follower]struct{}{}} }

// Publish gives e to all who follow its thread or everything.
func (b *Bus) Publish(e timmy.Event) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for f := range b.followers {
		if f.thread != "" && f.thread != e.Thread {
			continue
		}
		select {
		case f.events <- e:
		default:
			b.lost.Add(1)
		}
	}
}

// Follow listens to one thread, or to all with an empty one. The channel closes
// when ctx ends; when there are too many followers it is closed from the start.
func (b *Bus) Follow(ctx context.Context, thread string) <-chan timmy.Event {
	f := &follower{thread: thread, events: make(chan timmy.Event, followerEvents)}
	b.mu.Lock()
	full := len(b.followers) >= followersMax
	if !full {
		b.followers[f] = struct{}{}
	}
	b.mu.Unlock()
	if full {
		close(f.events)
		return f.events
	}
	context.AfterFunc(ctx, func() { b.leave(f) })
	return f.events
}

func (b *Bus) leave(f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.followers, f)
	close(f.events)
}

// BusStats says how the bus is used.
type BusStats struct {
	Followers int
	Lost      int64 // events dropped for want of room
}

// Stats counts.
func (b *Bus) Stats() BusStats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return BusStats{Followers: len(b.followers), Lost: b.lost.Load()}
}
