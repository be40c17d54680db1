package tower

import (
	"math/bits"
	"time"

	"github.com/timmy-tower/timmy"
)

// The whole table of trust, in thousandths of a point.
const (
	pointsFree    = 250       // an answer that the pool paid
	pointsPaid    = 1_000     // an answer that was paid for, …
	pointsDouble  = 500       // … and each doubling of the sats paid
	pointsAbuse   = -20_000   // a question refused as abuse
	pointsDay     = 100       // each day of a key's age, …
	ageDaysMax    = 90        // … up to these, and never more than was earned
	scoreMax      = 1_000_000 // so that a rich key can still fall
	scoreMin      = -100_000  // so that a bad one can rise again
	scoreHalfLife = 30        // days

	tierEstablished = 10_000
	tierTrusted     = 50_000
	tierElite       = 200_000
)

const day = 24 * time.Hour

// Grade moves a key's standing by what became of a request of its. An answer adds
// points by what was paid for it, abuse takes some; the operator's failure, a
// policy refusal and what was never paid for change nothing but LastSeen. Granted
// and Day are the book's.
func Grade(s timmy.Standing, o timmy.Outcome, now time.Time) timmy.Standing {
	if s.FirstSeen.IsZero() {
		s.FirstSeen = now
	}
	s.LastSeen = now
	s.Score, s.Scored = decay(s.Score, s.Scored, now)
	switch {
	case o.State == timmy.StateComplete:
		s.Completed++
		s.Score += successPoints(o.Cost.Charged)
	case o.State == timmy.StateRejected && o.Abuse:
		s.Refused++
		s.Score += pointsAbuse
	}
	s.Paid = min(timmy.MaxMsat, s.Paid+max(0, o.Cost.Charged))
	s.Score = max(scoreMin, min(s.Score, scoreMax))
	return s
}

// TierOf is how far a key is trusted now, decay and age included. A key never
// seen is new; no key is anonymous.
func TierOf(s timmy.Standing, now time.Time) timmy.Tier {
	if s.Key.IsZero() {
		return timmy.TierAnonymous
	}
	score, _ := decay(s.Score, s.Scored, now)
	score += ageBonus(s, score, now)
	switch {
	case score >= tierElite:
		return timmy.TierElite
	case score >= tierTrusted:
		return timmy.TierTrusted
	case score >= tierEstablished:
		return timmy.TierEstablished
	}
	return timmy.TierNew
}

// successPoints grows with the logarithm of what was paid, so that one large
// payment does not buy trust.
func successPoints(paid timmy.Msat) int64 {
	if paid <= 0 {
		return pointsFree
	}
	return pointsPaid + pointsDouble*int64(bits.Len64(uint64(paid.Sats())))
}

// ageBonus rewards a key for being old, at most with what it has earned: keys that
// were made in stock and did nothing gain nothing.
func ageBonus(s timmy.Standing, score int64, now time.Time) int64 {
	if s.FirstSeen.IsZero() || score <= 0 {
		return 0
	}
	days := max(0, min(int64(now.Sub(s.FirstSeen)/day), ageDaysMax))
	return min(days*pointsDay, score)
}

// decay moves a score towards zero by half each half-life, in whole days: at is
// moved by the days that were counted, so that scoring often or seldom comes to
// the same. A clock that went back decays nothing.
func decay(score int64, at, now time.Time) (int64, time.Time) {
	if at.IsZero() {
		return score, now
	}
	days := int64(now.Sub(at) / day)
	if days <= 0 {
		return score, at
	}
	factor := power(dayFactor, uint64(days))
	size, _ := bits.Mul64(uint64(max(score, -score)), factor)
	if score < 0 {
		return -int64(size), at.Add(time.Duration(days) * day)
	}
	return int64(size), at.Add(time.Duration(days) * day)
}

// dayFactor is 2^(-1/30) as a fraction of 2⁶⁴.
const dayFactor = 18025419856780639094

// power is factor^n, both fractions of 2⁶⁴, by squaring.
func power(factor, n uint64) uint64 {
	result := uint64(1<<64 - 1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			result, _ = bits.Mul64(result, factor)
		}
		factor, _ = bits.Mul64(factor, factor)
	}
	return result
}
