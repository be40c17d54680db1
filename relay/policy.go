package relay

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// Writers says whose events the relay takes.
type Writers string

// The answers. Members are the operators, [Policy].Members, and the keys that
// operators allow while the relay runs (NIP-86).
const (
	WritersAnyone  Writers = "anyone"  // everybody; the zero value is the same
	WritersTrusted Writers = "trusted" // members, and the web of trust around the operators
	WritersAllowed Writers = "allowed" // members alone
)

// Policy is what an operator decides about writing. The zero value takes from
// anybody what the limits take.
//
// Messages to the tower are what strangers pay by: unless OwnMail is set, nothing
// here but AuthWraps and bans keeps them out. A request to vanish is always heard.
type Policy struct {
	Writers   Writers
	Members   []timmy.PubKey
	Kinds     []KindRange // taken; none: all. Deletions (5) and requests to vanish (62) always are
	Refused   []KindRange // not taken, whatever Kinds says
	PowBits   int         // leading zero bits (NIP-13) asked of who is no member and not trusted
	AuthWraps bool        // gift wraps are taken from authenticated connections only (NIP-17)
	OwnMail   bool        // the rules hold for messages to the tower, too
	Admission timmy.Msat  // what [Standing] asks of strangers, once; for NIP-11
	PayAt     string      // where it is paid; for NIP-11
	Retention []Retention // the first that names a kind counts
}

// KindRange is kinds From to To, both included.
type KindRange struct{ From, To int }

// ParseKinds reads "1" or "30000-39999".
func ParseKinds(s string) (k KindRange, err error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 16)
	b, errB := strconv.ParseUint(to, 10, 16)
	if errA != nil || errB != nil || a > b {
		return k, errors.New("want a kind such as 1, or kinds such as 30000-39999")
	}
	return KindRange{int(a), int(b)}, nil
}

func (k KindRange) has(kind int) bool { return kind >= k.From && kind <= k.To }

func among(list []KindRange, kind int) bool {
	return slices.ContainsFunc(list, func(k KindRange) bool { return k.has(kind) })
}

// restricts reports whether anything is asked of who wants to write (NIP-11).
func (p Policy) restricts() bool {
	return p.Writers != "" && p.Writers != WritersAnyone || len(p.Kinds) > 0 || len(p.Refused) > 0 || p.PowBits > 0 || p.AuthWraps
}

var (
	errBannedKey   = errors.New("blocked: this key is banned here")
	errBannedEvent = errors.New("blocked: this event is banned here")
	errWrapAuth    = errors.New("auth-required: gift wraps are taken from authenticated connections only")
	errNotListed   = errors.New("restricted: only keys that this relay's operator has listed may write here")
	errNotTrusted  = errors.New("restricted: only keys that this relay's operators follow, or that those follow, may write here")
)

// mayTry refuses what can be refused without looking at the signature. Who claims
// a member's key to save the work is found out by the signature.
func (g *guest) mayTry(ev *nostr.Event, tower bool) error {
	if vanishes(ev, g.r.cfg.URL) {
		return nil
	}
	p, keys := &g.r.cfg.Policy, g.authed()
	switch {
	case g.r.rules.bans(ev.PubKey), slices.ContainsFunc(keys, g.r.rules.bans):
		return errBannedKey
	case g.r.rules.bansEvent(ev.ID):
		return errBannedEvent
	case p.AuthWraps && isWrap(ev.Kind) && len(keys) == 0:
		return errWrapAuth
	case tower && !p.OwnMail:
		return nil
	case !g.r.takesKind(ev.Kind):
		return fmt.Errorf("blocked: kind %d is not taken here", ev.Kind)
	}
	if age, ok := p.keeps(ev.Kind); ok && ev.CreatedAt.Time().Before(g.r.cfg.Now().Add(-age)) {
		return fmt.Errorf("invalid: created_at is too old: kind %d is kept for %d days", ev.Kind, int(age/(24*time.Hour)))
	}
	if p.PowBits == 0 || slices.ContainsFunc(append(slices.Clone(keys), ev.PubKey), g.r.isMember) {
		return nil
	}
	return work(ev, p.PowBits)
}

// takesKind looks at what operators said while the relay ran, and then at the
// settings.
func (r *Relay) takesKind(kind int) bool {
	if allowed, ruled := r.rules.kind(kind); ruled {
		return allowed
	}
	p := &r.cfg.Policy
	if among(p.Refused, kind) {
		return false
	}
	return len(p.Kinds) == 0 || among(p.Kinds, kind) || kind == nostr.KindDeletion || kind == kindVanish
}

// isMember reports whether a key, in hex, needs nobody's leave to write.
func (r *Relay) isMember(key string) bool {
	if r.members[key] || r.rules.allows(key) {
		return true
	}
	return r.cfg.Web != nil && r.cfg.Web.Trusts(key)
}

// mayWrite decides on a verified event. A gift wrap is signed by a key that nobody
// has: it is taken on behalf of who is authenticated, or of whom it is for.
func (g *guest) mayWrite(ctx context.Context, ev *nostr.Event, tower bool) error {
	p := &g.r.cfg.Policy
	if vanishes(ev, g.r.cfg.URL) || tower && !p.OwnMail {
		return nil
	}
	authors := []string{ev.PubKey}
	if isWrap(ev.Kind) {
		authors = slices.Clone(g.authed())
		if to := firstValue(ev, "p"); to != "" && !tower {
			authors = append(authors, to)
		}
	}
	if slices.ContainsFunc(authors, g.r.isMember) {
		return nil
	}
	if g.r.cfg.Standing != nil {
		return g.r.askStanding(ctx, authors, ev.Kind)
	}
	switch p.Writers {
	case WritersTrusted:
		return errNotTrusted
	case WritersAllowed:
		return errNotListed
	}
	return nil
}

// askStanding is satisfied when one of the keys may write; else the first
// refusal is the answer.
func (r *Relay) askStanding(ctx context.Context, keys []string, kind int) error {
	refusal := errNotListed
	for i, hex := range keys {
		k, err := timmy.ParsePubKey(hex)
		if err != nil {
			continue
		}
		if err = r.cfg.Standing.MayWrite(ctx, k, kind); err == nil {
			return nil
		}
		if i == 0 {
			refusal = worded(err, "blocked")
		}
	}
	return refusal
}

// work checks NIP-13: the zero bits that the id has, and those that its author
// committed to. One that aimed lower and was lucky is refused, or spammers would
// try for many relays at once.
func work(ev *nostr.Event, want int) error {
	committed := 0
	for _, t := range ev.Tags {
		if len(t) >= 3 && t[0] == "nonce" {
			committed, _ = strconv.Atoi(t[2]) // what is no number commits to nothing
			break
		}
	}
	switch has := zeroBits(ev.ID); {
	case has < want:
		return fmt.Errorf("pow: %d leading zero bits are needed here, this id has %d (NIP-13)", want, has)
	case committed < want:
		return fmt.Errorf("pow: the nonce tag must commit to %d bits, it says %d (NIP-13)", want, committed)
	}
	return nil
}

// zeroBits counts the leading zero bits of a lower-case hex id.
func zeroBits(id string) int {
	rest := strings.TrimLeft(id, "0")
	n := 4 * (len(id) - len(rest))
	if rest == "" {
		return n
	}
	digit, _ := strconv.ParseUint(rest[:1], 16, 8) // an id was checked to be hex
	return n + bits.LeadingZeros8(uint8(digit)) - 4
}
