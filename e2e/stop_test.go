package e2e

import (
	"testing"
	"time"
)

// TestStoppingLosesNothing stops the tower with SIGTERM a hundred times under mixed
// load: it ends by itself with exit code 0, long before it would have to be killed,
// and what it said yes to is in the books afterwards, done once.
func TestStoppingLosesNothing(t *testing.T) {
	const stops = 100
	rng := seed(t)
	tw := startTower(t, "TIMMY_LOG_LEVEL=warn", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0")
	b := newBooks()
	end := b.mixedLoad(t, tw, 3)
	began, longest := time.Now(), time.Duration(0)
	for i := range stops {
		time.Sleep(time.Duration(10+rng.IntN(200)) * time.Millisecond)
		asked := time.Now()
		if code := tw.stop(); code != 0 {
			t.Fatalf("stop %d: exit code %d\n%s", i, code, tw.log.tail(40))
		}
		longest = max(longest, time.Since(asked))
		if err := tw.tryStart(); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
	}
	t.Logf("%d stops in %v, the longest took %v", stops, time.Since(began).Round(time.Second), longest.Round(time.Millisecond))
	if longest > 25*time.Second {
		t.Errorf("a stop took %v", longest)
	}
	end()
	b.check(t, tw)
}
