package nip

import (
	"crypto/subtle"
	"errors"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// KindAuth is NIP-42's event. It is never stored and never shown to anybody.
const KindAuth = 22242

// Auth answers a relay's challenge (NIP-42).
func Auth(k Key, relayURL, challenge string, now time.Time) (*nostr.Event, error) {
	ev := &nostr.Event{
		Kind: KindAuth, CreatedAt: nostr.Timestamp(now.Unix()),
		Tags: nostr.Tags{{"relay", relayURL}, {"challenge", challenge}},
	}
	return ev, k.Sign(ev)
}

// CheckAuth checks the answer to our challenge: kind, time within ten minutes,
// exactly one challenge and one relay tag, both ours, id and signature. The
// error's text is what OK carries.
func CheckAuth(ev *nostr.Event, relayURL, challenge string, now time.Time) error {
	if ev.Kind != KindAuth {
		return errors.New("invalid: wrong kind")
	}
	if !within(ev.CreatedAt, now, authWindow) {
		return errors.New("invalid: created_at is not within ten minutes of now")
	}
	given, ok := only(ev.Tags, "challenge")
	if !ok || challenge == "" || subtle.ConstantTimeCompare([]byte(given), []byte(challenge)) != 1 {
		return errors.New("invalid: challenge mismatch")
	}
	if relay, ok := only(ev.Tags, "relay"); !ok || !sameRelay(relay, relayURL) {
		return errors.New("invalid: relay mismatch")
	}
	return Verify(ev)
}

// within reports whether a stranger's time is at most w away from now. It
// compares seconds, for a time.Time far out would overflow.
func within(at nostr.Timestamp, now time.Time, w time.Duration) bool {
	d := int64(at) - now.Unix()
	return d <= int64(w/time.Second) && -d <= int64(w/time.Second)
}
