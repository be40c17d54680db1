package nip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// What [Verify] answers; the texts are those that a relay's OK carries.
var (
	ErrID        = errors.New("invalid: id does not match")
	ErrSignature = errors.New("invalid: bad signature")
)

// Malformed is an event that does not have the shape of NIP-01. Reason is what a
// relay answers ("invalid: …"). ID is the id as it was sent, cut to 64
// characters, so that the answer can be an OK; empty if there was none.
type Malformed struct{ ID, Reason string }

// Error is the reason.
func (m *Malformed) Error() string { return m.Reason }

// The fields of an event, in the order in which their faults are reported.
const (
	fieldID = iota
	fieldPubKey
	fieldCreatedAt
	fieldKind
	fieldTags
	fieldContent
	fieldSig
	fields
)

// shape is what differs between a signed event and a rumor.
type shape struct {
	content  int
	tags     int // 0: MaxTags
	unsigned bool
}

// ParseEvent reads one event, strictly: lower-case hex, kind 0..65535 and
// created_at as plain integers, tags of strings, no duplicate names, valid
// UTF-8, within the limits. Fields that NIP-01 does not name are dropped. A
// single-letter tag needs a value; others, like "-", may stand alone. The error
// is a [*Malformed]. The signature is not checked: see [Verify].
func ParseEvent(raw []byte) (*nostr.Event, error) {
	return parse(raw, shape{content: MaxContent})
}

// ParseFollowList is ParseEvent for a kind 3, which may have up to [MaxFollows] tags.
func ParseFollowList(raw []byte) (*nostr.Event, error) {
	return parse(raw, shape{content: MaxContent, tags: MaxFollows})
}

// Follows are the keys that a kind 3 names, each once.
func Follows(ev *nostr.Event) []timmy.PubKey {
	if ev == nil || ev.Kind != nostr.KindFollowList {
		return nil
	}
	var list []timmy.PubKey
	known := map[timmy.PubKey]bool{}
	for _, p := range all(ev.Tags, "p") {
		k, err := timmy.ParsePubKey(p)
		if err == nil && !known[k] {
			known[k] = true
			list = append(list, k)
		}
	}
	return list
}

// parseRumor reads the unsigned event inside a seal. A signature would let its
// receiver prove to others what was said, so a rumor must not have one.
func parseRumor(raw []byte) (*nostr.Event, error) {
	return parse(raw, shape{content: maxPlaintext, unsigned: true})
}

type parser struct {
	scanner
	shape   shape
	ev      nostr.Event
	seen    [fields]bool
	faults  [fields]string
	unknown []string
}

func parse(raw []byte, sh shape) (*nostr.Event, error) {
	if sh.tags == 0 {
		sh.tags = MaxTags
	}
	if len(raw) > max(MaxEvent, 2*sh.content, sh.tags*followSize) {
		return nil, &Malformed{Reason: "invalid: event too long"}
	}
	if !utf8.Valid(raw) {
		return nil, &Malformed{Reason: "invalid: not UTF-8"}
	}
	p := parser{scanner: scanner{b: raw}, shape: sh}
	if err := p.object(); err != nil {
		return nil, &Malformed{ID: cut(p.ev.ID, 64), Reason: "invalid: " + err.Error()}
	}
	if fault := p.fault(); fault != "" {
		return nil, &Malformed{ID: cut(p.ev.ID, 64), Reason: "invalid: " + fault}
	}
	return &p.ev, nil
}

func (p *parser) object() error {
	if !p.take('{') {
		return errors.New("not a JSON event")
	}
	for first := true; !p.take('}'); first = false {
		if !first && !p.take(',') {
			return errors.New("not a JSON event")
		}
		name, err := p.str()
		if err != nil || !p.take(':') {
			return errors.New("not a JSON event")
		}
		if err := p.member(name); err != nil {
			return err
		}
	}
	if !p.end() {
		return errors.New("more than one JSON value")
	}
	return nil
}

// member reads the value of one name. A value of the wrong type is passed over,
// so that the id is found wherever it stands.
func (p *parser) member(name string) error {
	f := slices.Index([]string{"id", "pubkey", "created_at", "kind", "tags", "content", "sig"}, name)
	if f < 0 {
		if slices.Contains(p.unknown, name) {
			return errors.New("duplicate field")
		}
		if p.unknown = append(p.unknown, name); len(p.unknown) > maxUnknownFields {
			return errors.New("too many unknown fields")
		}
		if p.skip() != nil {
			return errors.New("not a JSON event")
		}
		return nil
	}
	if p.seen[f] {
		return errors.New("duplicate field")
	}
	p.seen[f] = true
	start := p.i
	if p.faults[f] = p.value(f); p.faults[f] == "" {
		return nil
	}
	if p.i = start; p.skip() != nil {
		return errors.New("not a JSON event")
	}
	return nil
}

// value reads a field and says what is wrong with it.
func (p *parser) value(f int) string {
	switch f {
	case fieldID:
		return p.hex(&p.ev.ID, 64, "id", "id")
	case fieldPubKey:
		return p.hex(&p.ev.PubKey, 64, "pubkey", "pubkey must be lower-case hex")
	case fieldSig:
		if p.shape.unsigned {
			if s, err := p.str(); err != nil || s != "" {
				return "signed"
			}
			return ""
		}
		return p.hex(&p.ev.Sig, 128, "sig", "sig must be lower-case hex")
	case fieldCreatedAt:
		n, err := p.integer()
		if err != nil || n < 1 || n > maxCreatedAt {
			return "created_at must be an integer, in seconds"
		}
		p.ev.CreatedAt = nostr.Timestamp(n)
	case fieldKind:
		n, err := p.integer()
		if err != nil || n > 65535 {
			return "kind must be an integer between 0 and 65535"
		}
		p.ev.Kind = int(n)
	case fieldTags:
		return p.tags()
	case fieldContent:
		s, err := p.str()
		if err != nil {
			return "content"
		}
		if len(s) > p.shape.content {
			return "content too long"
		}
		p.ev.Content = s
	}
	return ""
}

func (p *parser) hex(into *string, size int, fault, upper string) string {
	s, err := p.str()
	if err != nil {
		return fault
	}
	*into = s
	if isHex(s, size) {
		return ""
	}
	if len(s) == size && isHex(lower(s), size) {
		return upper
	}
	return fault
}

func (p *parser) tags() string {
	p.ev.Tags = nostr.Tags{}
	if !p.take('[') {
		return "tag"
	}
	for first := true; !p.take(']'); first = false {
		if !first && !p.take(',') {
			return "tag"
		}
		if len(p.ev.Tags) == p.shape.tags {
			return "too many tags"
		}
		tag, fault := p.tag()
		if fault != "" {
			return fault
		}
		p.ev.Tags = append(p.ev.Tags, tag)
	}
	return ""
}

func (p *parser) tag() (nostr.Tag, string) {
	if !p.take('[') {
		return nil, "tag"
	}
	tag, most := make(nostr.Tag, 0, 4), MaxTagItem
	for !p.take(']') {
		if len(tag) > 0 && !p.take(',') {
			return nil, "tag"
		}
		s, err := p.str()
		if err != nil {
			return nil, "tag"
		}
		if len(tag) == 0 && longTag(s) {
			most = MaxLongTag
		}
		if len(s) > most {
			return nil, "tag too long"
		}
		tag = append(tag, s)
	}
	if len(tag) == 0 || (len(tag) == 1 && len(tag[0]) < 2 && tag[0] != "-") {
		return nil, "tag"
	}
	return tag, ""
}

// longTag names the tags that carry a document: a zap request (NIP-57), what is
// inside a private one, a job request, its input, its invoice (NIP-90).
func longTag(name string) bool {
	switch name {
	case "anon", "description", "bolt11", "request", "i", "param", "amount":
		return true
	}
	return false
}

// fault is the first thing wrong, in the order of the fields.
func (p *parser) fault() string {
	names := [fields]string{"id", "pubkey", "created_at", "kind", "tag", "content", "sig"}
	for f := range fields {
		if p.faults[f] != "" {
			return p.faults[f]
		}
		if !p.seen[f] && !(f == fieldSig && p.shape.unsigned) {
			return names[f]
		}
	}
	return ""
}

// Verify recomputes the id and checks the signature. go-nostr alone accepts a
// valid signature under any id, and upper-case keys.
func Verify(ev *nostr.Event) error {
	switch {
	case !isHex(ev.ID, 64):
		return errors.New("invalid: id")
	case !isHex(ev.PubKey, 64):
		return errors.New("invalid: pubkey must be lower-case hex")
	case !isHex(ev.Sig, 128):
		return errors.New("invalid: sig must be lower-case hex")
	}
	hash := sha256.Sum256(ev.Serialize())
	if hex.EncodeToString(hash[:]) != ev.ID {
		return ErrID
	}
	var public [32]byte
	var sig [64]byte
	hex.Decode(public[:], []byte(ev.PubKey)) // the digits were looked at above
	hex.Decode(sig[:], []byte(ev.Sig))
	switch {
	case check(public, hash, sig):
		return nil
	case !nostr.IsValidPublicKey(ev.PubKey):
		return errors.New("invalid: pubkey")
	}
	return ErrSignature
}

func isHex(s string, size int) bool {
	if len(s) != size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
