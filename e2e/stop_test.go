package e2e

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStoppingLosesNothing stops the tower with SIGTERM under load, again and
// again: it ends by itself with exit code 0, what it said yes to is in the books
// afterwards, and a stopping tower says so instead of hanging.
func TestStoppingLosesNothing(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_LOG_LEVEL=warn")
	a := newAPI(t, tw)
	id, bearer := a.session("10000")
	var over atomic.Bool
	var charged, answered atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !over.Load() {
				got, err := a.try("POST", "/sessions/"+id+"/request", `{"request":"What is 3*3?"}`, "Authorization", bearer, "Idempotency-Key", newUUID())
				if err == nil && got.status == 200 {
					charged.Add(got.num("debitedSats"))
					answered.Add(1)
				}
			}
		})
	}
	for range 10 {
		time.Sleep(150 * time.Millisecond)
		if code := tw.stop(); code != 0 {
			t.Fatalf("exit code %d\n%s", code, tw.log.tail(40))
		}
		tw.start()
	}
	over.Store(true)
	load.Wait()
	left := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats")
	if left > 10000-charged.Load() {
		t.Fatalf("%d answers were charged %d sats, and %d of 10000 are left", answered.Load(), charged.Load(), left)
	}
	if answered.Load() < 10 {
		t.Fatal("too little happened for this test to mean anything")
	}
	tw.verifyBooks()
}
