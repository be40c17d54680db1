package tower

import (
	"time"

	"github.com/timmy-tower/timmy"
)

// freeQuestions is what each tier gets from the pool a day, in typical questions.
// A key costs nothing to make, so new ones get a taste; the pool's floor of zero
// bounds them all together.
func freeQuestions(t timmy.Tier) int64 {
	switch t {
	case timmy.TierNew:
		return 3
	case timmy.TierEstablished:
		return 5
	case timmy.TierTrusted:
		return 10
	case timmy.TierElite:
		return 20
	}
	return 0
}

// subsidyMin is the least that is worth a partial grant: below it a posting costs
// more attention than it gives.
const subsidyMin = 2 * timmy.Sat

// Grant is what deciding on a free question needs.
type Grant struct {
	Standing timmy.Standing
	Tier     timmy.Tier
	Pool     timmy.Msat // what the pool has
	Worst    timmy.Msat // the most the question may cost
	Typical  timmy.Msat // what a typical one costs
}

// Allowance is what a tier may draw from the pool a day when a typical question
// costs typical.
func Allowance(t timmy.Tier, typical timmy.Msat) timmy.Msat {
	n := freeQuestions(t)
	if n == 0 || typical <= 0 {
		return 0
	}
	return min(typical, timmy.MaxMsat/timmy.Msat(n)) * timmy.Msat(n)
}

// Day is the day that [timmy.Standing.Granted] is counted by: days since 1970, UTC.
func Day(now time.Time) int64 { return now.Unix() / (24 * 60 * 60) }

// FreeLeft is what a key may still draw from the pool today, whatever the pool
// has.
func FreeLeft(s timmy.Standing, t timmy.Tier, typical timmy.Msat, now time.Time) timmy.Msat {
	left := Allowance(t, typical)
	if s.Day == Day(now) {
		left -= s.Granted
	}
	return max(0, left)
}

// Subsidy is the pool's part of a hold, in whole sats: all of the worst case if
// the day's allowance and the pool cover it, else what they leave, else nothing.
// Nobody (no key) gets none.
func Subsidy(g Grant, now time.Time) timmy.Msat {
	if g.Tier == timmy.TierAnonymous || g.Standing.Key.IsZero() {
		return 0
	}
	s := wholeSats(min(g.Worst, g.Pool, FreeLeft(g.Standing, g.Tier, g.Typical, now)))
	if s < min(subsidyMin, g.Worst) {
		return 0
	}
	return s
}
