package relay

import (
	"errors"
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// privateKinds are those of [nip.Private], for SQL: direct messages, seals and
// their contents, wraps, and the messages of remote signers and wallets. Their
// mere existence tells who talks to whom.
//
// The index event_public has the same list: SQLite uses it for this very term.
const privateKinds = "4,13,14,15,1059,21059,23194,23195,23196,23197,24133"

// private lists the same in numbers.
func private() []int {
	return []int{4, 13, 14, 15, 1059, 21059, 23194, 23195, 23196, 23197, 24133}
}

const kindEphemeralWrap = 21059

func isWrap(kind int) bool { return kind == nostr.KindGiftWrap || kind == kindEphemeralWrap }

var (
	errAuth       = errors.New("auth-required: only those whom these events concern may read them")
	errRestricted = errors.New("restricted: only those whom these events concern may read them")
)

// mayRead is the rule at the exit, for stored and live events alike: a private
// event leaves only to a key that it concerns.
func mayRead(ev *nostr.Event, keys []string) bool {
	if !nip.Private(ev.Kind) {
		return true
	}
	return slices.ContainsFunc(keys, func(k string) bool { return nip.Concerns(ev, k) })
}

// mayAsk refuses filters that could only be answered with nothing, so that a
// client learns what it has to do. It protects nothing: mayRead does.
func mayAsk(f nostr.Filter, keys []string) error {
	if len(f.Kinds) == 0 || slices.ContainsFunc(f.Kinds, func(k int) bool { return !nip.Private(k) }) {
		return nil
	}
	if len(keys) == 0 {
		return errAuth
	}
	p, tagged := f.Tags["p"]
	if !tagged || within(p, keys) || len(f.Authors) > 0 && within(f.Authors, keys) {
		return nil
	}
	return errRestricted
}

func within(list, keys []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(keys, s) })
}
