// Package nip is the codec between Nostr events and the vocabulary: it parses
// and verifies events, signs them, seals and opens direct messages, and reads
// and writes what NIPs 04, 17, 19, 42, 44, 47, 57, 59, 89 and 98 define.
//
// It is pure: no socket, no database, no clock and no randomness but what the
// caller hands in. All bytes that come in are a stranger's. They are parsed
// strictly, they can not make it panic, and a message that fails any check of
// NIP-17 is a [Drop] with the reason, never a half-trusted [Message].
//
//	ev, err := nip.ParseEvent(frame)   // the exact shape of NIP-01, within limits
//	err = nip.Verify(ev)               // id and signature
//	msg, err := nip.Open(key, ev, now) // kinds 4, 1059 and 21059
//	out, err := nip.Seal(key, nip.Letter{To: msg.From, Scheme: msg.Scheme, Text: "hi", At: now}, rand.Reader)
//
// It will not: fetch anything, decide who may read what beyond [Concerns], or
// believe a zap receipt that somebody else signed.
package nip
