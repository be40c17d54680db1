package ledger

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// times is how often a promise is tried: few in every run of the suite, many where
// TIMMY_SOAK is set, as `make soak` does.
func times(few, many int) int {
	if os.Getenv("TIMMY_SOAK") != "" {
		return many
	}
	return few
}

// seed is TIMMY_SEED, or a new one. It is logged: the same seed makes the same choices
// again.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("TIMMY_SEED"), 10, 64); err == nil {
		n = given
	}
	t.Logf("TIMMY_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 1))
}
