package timmy

import "time"

// Standing is what is remembered of a key. The rules that move it are pure
// functions in package tower.
type Standing struct {
	Key       PubKey
	Score     int64     // thousandths of a point, as of Scored; decays with a half-life
	Scored    time.Time // when Score was last written
	Completed int64     // requests answered
	Refused   int64     // requests refused as abuse
	Paid      Msat      // charged in all
	FirstSeen time.Time // zero: never seen
	LastSeen  time.Time
	Granted   Msat  // reserved or taken from the free pool on Day
	Day       int64 // days since 1970, UTC, that Granted is of
}

// Tier is how far a key is trusted.
type Tier string

// The tiers, from none to most.
const (
	TierAnonymous   Tier = "anonymous" // no key
	TierNew         Tier = "new"
	TierEstablished Tier = "established"
	TierTrusted     Tier = "trusted"
	TierElite       Tier = "elite"
)
