package nip

import "github.com/nbd-wtf/go-nostr"

// Private reports whether events of this kind are for those they concern alone:
// messages (4, 13, 14, 15, 1059, 21059), remote signing (24133) and wallet
// connect (23194 to 23197).
func Private(kind int) bool {
	switch kind {
	case 4, 13, 14, 15, 1059, 21059, 24133, 23194, 23195, 23196, 23197:
		return true
	}
	return false
}

// Concerns reports whether the key (hex) may read the event: every event that is
// not [Private], and of those its own and those that a p tag addresses to it. An
// empty key is nobody.
func Concerns(ev *nostr.Event, key string) bool {
	if !Private(ev.Kind) {
		return true
	}
	if key == "" {
		return false
	}
	if ev.PubKey == key {
		return true
	}
	for _, t := range ev.Tags {
		if len(t) > 1 && t[0] == "p" && t[1] == key {
			return true
		}
	}
	return false
}
