package ledger

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// soak is TIMMY_SOAK: how often promises are tried. Empty: a few times, on both
// databases, as under the race detector. "sqlite": as often as docs/promises.md says,
// on SQLite alone. "all": as often on both, which takes hours.
func soak() string { return os.Getenv("TIMMY_SOAK") }

// times is how often a promise is tried.
func times(few, many int) int {
	if soak() != "" {
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
