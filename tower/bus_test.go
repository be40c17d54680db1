package tower

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/timmy-tower/timmy"
)

// Excludes a follower that stopped reading holding up a request.
func TestBusNeverBlocksAndCountsLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := NewBus()
		ctx, cancel := context.WithCancel(t.Context())
		all, mine := bus.Follow(ctx, ""), bus.Follow(ctx, "a")
		bus.Publish(timmy.Event{Thread: "b"})
		for range 2 * followerEvents {
			bus.Publish(timmy.Event{Thread: "a"})
		}
		if len(all) != followerEvents || len(mine) != followerEvents {
			t.Errorf("kept %d and %d", len(all), len(mine))
		}
		if e := <-mine; e.Thread != "a" {
			t.Errorf("saw thread %q of another", e.Thread)
		}
		if s := bus.Stats(); s.Lost != 2*followerEvents+1 || s.Followers != 2 {
			t.Errorf("stats %+v", s)
		}
		cancel()
		synctest.Wait()
		for range all {
		}
		if s := bus.Stats(); s.Followers != 0 {
			t.Errorf("%d followers left", s.Followers)
		}
	})
}

// Excludes a send on a closed channel when followers leave while events come.
func TestBusSurvivesLeavingFollowers(t *testing.T) {
	bus := NewBus()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				events := bus.Follow(ctx, "")
				bus.Publish(timmy.Event{})
				cancel()
				for range events {
				}
			}
		})
	}
	all.Wait()
}

func TestBusRefusesTooManyFollowers(t *testing.T) {
	bus := NewBus()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range followersMax {
		bus.Follow(ctx, "")
	}
	if _, open := <-bus.Follow(ctx, ""); open {
		t.Error("one too many may listen")
	}
}
