package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAClockThatJumps sets the tower's clock an hour forward and an hour back, again
// and again under mixed load, with a kill and a start in the wrong hour too. Nothing
// that was paid is lost and nothing is charged twice: the order of the books is not
// that of the clock. A message that is from the future for such a tower is refused,
// and taken later.
func TestAClockThatJumps(t *testing.T) {
	rng := seed(t)
	tw := armed(t)
	file := filepath.Join(t.TempDir(), "clock")
	tw.env = append(tw.env, "FAILPOINT_CLOCK="+file)
	set := func(by string) {
		// In one step: the tower reads it at any moment.
		if err := os.WriteFile(file+".new", []byte(by), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	set("0s")
	tw.start()
	b := newBooks()
	end := b.mixedLoad(t, tw, 2)
	jumps := []string{"1h", "0s", "-1h", "0s", "1h", "-1h", "1h", "0s"}
	for i := range 5 * len(jumps) {
		set(jumps[i%len(jumps)])
		time.Sleep(time.Duration(200+rng.IntN(200)) * time.Millisecond)
		if i%5 == 4 {
			tw.kill()
			if err := tw.tryStart(); err != nil {
				t.Fatalf("start in hour %s: %v", jumps[i%len(jumps)], err)
			}
		}
	}
	set("0s")
	end()
	b.check(t, tw)
}
