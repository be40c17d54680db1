package nip

import (
	"strconv"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// Kinds of messages.
const (
	kindLegacy    = 4     // NIP-04
	kindSeal      = 13    // NIP-59
	kindChat      = 14    // NIP-17
	kindFile      = 15    // NIP-17
	kindWrap      = 1059  // NIP-59
	kindEphemeral = 21059 // NIP-59, not stored by relays
)

// KindFile is the Message.Kind of a file: we answer that we read text only.
const KindFile = kindFile

// Scheme is how a message was encrypted; an answer uses the same.
type Scheme string

// The schemes.
const (
	NIP17 Scheme = "nip17" // sealed and wrapped
	NIP04 Scheme = "nip04" // legacy: weak, but all that some clients read
)

// Message is a direct message that passed every check.
type Message struct {
	From    timmy.PubKey // who signed the seal, or the kind 4
	ID      string       // the rumor's id, or the kind 4's: the same however often it arrives
	Kind    int          // 14, 15 or 4
	Scheme  Scheme
	Text    string // may be empty or too long: the desk answers that
	Subject string
	Parent  string    // the id of the message that it answers, or ""
	At      time.Time // when it was really written
	Expires time.Time // zero: never
}

// Drop is why an event is not a message for us. It is a metric's label, and is
// never told to the sender.
type Drop string

// Error is the label.
func (d Drop) Error() string { return string(d) }

// The reasons.
const (
	DropKind          Drop = "kind"           // not 4, 1059 or 21059
	DropNotForUs      Drop = "not-for-us"     // not exactly one p tag, or another's
	DropExpired       Drop = "expired"        // NIP-40
	DropDecrypt       Drop = "decrypt"        // whatever is wrong with the ciphertext
	DropSealShape     Drop = "seal-shape"     // the wrap holds no event
	DropSealKind      Drop = "seal-kind"      // not 13
	DropSealTags      Drop = "seal-tags"      // a seal tells nothing but when it expires
	DropSealSignature Drop = "seal-signature" // id or signature
	DropRumorShape    Drop = "rumor-shape"    // the seal holds no rumor, or one without id
	DropRumorSigned   Drop = "rumor-signed"   // a rumor must be deniable
	DropRumorID       Drop = "rumor-id"       // does not match
	DropImpersonation Drop = "impersonation"  // the rumor names another author than the seal: an alert
	DropRumorKind     Drop = "rumor-kind"     // not 14 or 15
	DropRumorNotForUs Drop = "rumor-not-for-us"
	DropGroup         Drop = "group"  // a room of more than two: nobody asked us alone
	DropSelf          Drop = "self"   // the copy of our own message
	DropFuture        Drop = "future" // more than an hour ahead
	DropOld           Drop = "old"    // more than three days old: the Message is returned with it
	DropPanic         Drop = "panic"  // a fault of ours, kept from taking the tower down
)

// Open reads an event of kind 4, 1059 or 21059 that is for k. The caller must
// have verified the event's id and signature ([Verify]); Open verifies what is
// inside. Every error is a [Drop]. With [DropOld] the message is returned too, so
// that its sender can be told once.
func Open(k Key, ev *nostr.Event, now time.Time) (m Message, err error) {
	defer func() {
		if recover() != nil {
			m, err = Message{}, DropPanic
		}
	}()
	if ev.Kind != kindLegacy && ev.Kind != kindWrap && ev.Kind != kindEphemeral {
		return Message{}, DropKind
	}
	if to, ok := only(ev.Tags, "p"); !ok || to != k.public.String() || k.IsZero() {
		return Message{}, DropNotForUs
	}
	expires, ok := expiration(ev.Tags)
	if ok && !expires.After(now) {
		return Message{}, DropExpired
	}
	if ev.Kind == kindLegacy {
		m, err = openLegacy(k, ev)
	} else {
		m, err = openWrap(k, ev, now)
	}
	if err != nil {
		return Message{}, err
	}
	m.Expires = earlier(m.Expires, expires)
	return dated(m, now)
}

func openLegacy(k Key, ev *nostr.Event) (Message, error) {
	from, err := timmy.ParsePubKey(ev.PubKey)
	if err != nil {
		return Message{}, DropDecrypt
	}
	if from == k.public {
		return Message{}, DropSelf
	}
	text, err := Decrypt04(k, from, ev.Content)
	if err != nil {
		return Message{}, DropDecrypt
	}
	return Message{
		From: from, ID: ev.ID, Kind: ev.Kind, Scheme: NIP04, Text: text,
		Parent: parent(ev.Tags), At: ev.CreatedAt.Time(),
	}, nil
}

func openWrap(k Key, ev *nostr.Event, now time.Time) (Message, error) {
	seal, err := openSeal(k, ev)
	if err != nil {
		return Message{}, err
	}
	expires, ok := expiration(seal.Tags)
	if ok && !expires.After(now) {
		return Message{}, DropExpired
	}
	from, err := timmy.ParsePubKey(seal.PubKey)
	if err != nil {
		return Message{}, DropSealShape
	}
	if from == k.public {
		return Message{}, DropSelf
	}
	plain, err := Decrypt44(k, from, seal.Content)
	if err != nil {
		return Message{}, DropDecrypt
	}
	rumor, err := checkRumor([]byte(plain), seal.PubKey)
	if err != nil {
		return Message{}, err
	}
	if d := room(rumor, k.public.String()); d != "" {
		return Message{}, d
	}
	if at, ok := expiration(rumor.Tags); ok {
		if expires = earlier(expires, at); !at.After(now) {
			return Message{}, DropExpired
		}
	}
	return Message{
		From: from, ID: rumor.ID, Kind: rumor.Kind, Scheme: NIP17, Text: rumor.Content,
		Subject: cut(first(rumor.Tags, "subject"), 256), Parent: parent(rumor.Tags),
		At: rumor.CreatedAt.Time(), Expires: expires,
	}, nil
}

// openSeal takes the seal out of a wrap. A wrap's key is used once: its secret is
// not worth remembering.
func openSeal(k Key, wrap *nostr.Event) (*nostr.Event, error) {
	from, err := timmy.ParsePubKey(wrap.PubKey)
	if err != nil {
		return nil, DropDecrypt
	}
	x, err := k.ecdh(from)
	if err != nil {
		return nil, DropDecrypt
	}
	plain, err := decrypt44(x, wrap.Content)
	if err != nil {
		return nil, DropDecrypt
	}
	seal, err := parse([]byte(plain), shape{content: maxPlaintext})
	if err != nil {
		return nil, DropSealShape
	}
	if seal.Kind != kindSeal {
		return nil, DropSealKind
	}
	for _, t := range seal.Tags {
		if t[0] != "expiration" {
			return nil, DropSealTags
		}
	}
	if Verify(seal) != nil {
		return nil, DropSealSignature
	}
	return seal, nil
}

// checkRumor is what NIP-17 and NIP-59 ask of a rumor from this author.
func checkRumor(plain []byte, author string) (*nostr.Event, error) {
	rumor, err := parseRumor(plain)
	switch {
	case err != nil && err.Error() == "invalid: signed":
		return nil, DropRumorSigned
	case err != nil:
		return nil, DropRumorShape
	case rumor.PubKey != author:
		return nil, DropImpersonation
	case !rumor.CheckID():
		return nil, DropRumorID
	case rumor.Kind != kindChat && rumor.Kind != kindFile:
		return nil, DropRumorKind
	}
	return rumor, nil
}

// room looks at who is meant: the author and all p tags are the room, and an
// answer would have to go to all of them.
func room(rumor *nostr.Event, us string) Drop {
	ours, others := false, false
	for _, p := range all(rumor.Tags, "p") {
		ours = ours || p == us
		others = others || p != us && p != rumor.PubKey
	}
	switch {
	case !ours:
		return DropRumorNotForUs
	case others:
		return DropGroup
	}
	return ""
}

// dated looks at when the message was really written. Seals and wraps are dated
// back on purpose: their dates say nothing.
func dated(m Message, now time.Time) (Message, error) {
	switch age := now.Sub(m.At); {
	case age < -MaxAhead:
		return Message{}, DropFuture
	case age > MaxAge:
		return m, DropOld
	}
	return m, nil
}

func parent(tags nostr.Tags) string {
	if e := first(tags, "e"); isHex(e, 64) {
		return e
	}
	return ""
}

// expiration reads NIP-40's tag. One that is not a number is ignored, as NIP-40
// clients do.
func expiration(tags nostr.Tags) (time.Time, bool) {
	n, err := strconv.ParseInt(first(tags, "expiration"), 10, 64)
	if err != nil || n < 0 || n > maxExpiration {
		return time.Time{}, false
	}
	return time.Unix(n, 0), true
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
