package ledger

import (
	"sync"
	"testing"

	"github.com/timmy-tower/timmy"
)

// Excludes: two codes for one key, made by two calls at once or by a restart; a
// code that is another's; and money for nobody taken for somebody's.
func TestAKeyHasOneClaimCode(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := map[timmy.ClaimCode]timmy.PubKey{}
	for i := range 40 {
		k := key(byte(i % 4))
		wg.Go(func() {
			c, err := f.ClaimCode(ctx, k)
			mu.Lock()
			defer mu.Unlock()
			if was, ok := codes[c]; err != nil || ok && was != k {
				t.Errorf("%s: %s is also %s's, %v", k, c, was, err)
			}
			codes[c] = k
		})
	}
	wg.Wait()
	if len(codes) != 4 {
		t.Fatalf("%d codes for four keys", len(codes))
	}
	f.restart()
	for c, k := range codes {
		again, err := f.ClaimCode(ctx, k)
		f.ok(err)
		a, err := f.Claimed(ctx, c)
		f.ok(err)
		if again != c || a != timmy.UserAccount(k) {
			t.Errorf("%s of %s: then %s, of %s", c, k, again, a)
		}
	}
	_, err := f.Claimed(ctx, "CLAIM-0000-0000")
	f.is(err, timmy.NotFound)
	_, err = f.ClaimCode(ctx, timmy.PubKey{})
	f.is(err, timmy.Unauthorized)
}
