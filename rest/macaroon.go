package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/macaroon.v2"

	"github.com/timmy-tower/timmy"
)

// use is what a macaroon is good for. It is part of its root key, so that the one
// that a challenge shows to everybody is not the one that needs no payment.
type use string

const (
	useBearer use = "bearer" // by itself: a session's `macaroon`
	useL402   use = "l402"   // with the preimage of its payment
)

// token is a macaroon of ours, its chain checked.
type token struct {
	use     use
	hash    timmy.Hash // of the payment that it stands for
	id      []byte     // says which session it is for
	caveats []string
}

// identifier is version 0, the payment hash and the token's id (L402).
func identifier(h timmy.Hash, id []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	return append(append(b, h[:]...), id...)
}

// tokenID ties a token to its session without naming it: the session's id is a
// secret, and a challenge is not.
func (a *API) tokenID(u use, s timmy.Session) []byte {
	if u == useL402 {
		return a.mac("token id", string(u), s.ID)
	}
	return a.mac("token id", string(u), s.ID, strconv.FormatInt(s.Bearer, 10))
}

// mint makes a macaroon. The same arguments make the same bytes: nothing is stored.
func (a *API) mint(u use, h timmy.Hash, s timmy.Session, caveats []string) string {
	id := identifier(h, a.tokenID(u, s))
	m, err := macaroon.New(a.mac("macaroon "+string(u), string(id)), id, "timmy", macaroon.V2)
	if err != nil {
		return ""
	}
	for _, c := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(c)); err != nil {
			return ""
		}
	}
	b, err := m.MarshalBinary()
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

// bearer is a session's own credential: a macaroon that works without a preimage.
func (a *API) bearer(s timmy.Session) string {
	return a.mint(useBearer, s.Paid, s, a.caveats(s))
}

// readMacaroon checks the chain of a macaroon under the key of each use. That one was
// checked stays true: what its caveats say is looked at each time.
func (a *API) readMacaroon(text string, uses ...use) (token, bool) {
	if t, ok := a.tokensOf.Get(text); ok && slices.Contains(uses, t.use) {
		return t, true
	}
	t, ok := a.checkMacaroon(text, uses)
	if ok {
		a.tokensOf.Add(text, t)
	}
	return t, ok
}

func (a *API) checkMacaroon(text string, uses []use) (token, bool) {
	b, ok := decode64(text)
	if !ok {
		return token{}, false
	}
	var m macaroon.Macaroon
	if err := m.UnmarshalBinary(b); err != nil {
		return token{}, false
	}
	id := m.Id()
	if len(id) != identifierLen || id[0] != 0 || id[1] != 0 || len(m.Caveats()) > maxCaveats {
		return token{}, false
	}
	for _, u := range uses {
		caveats, err := m.VerifySignature(a.mac("macaroon "+string(u), string(id)), nil)
		if err == nil {
			return token{use: u, hash: timmy.Hash(id[2:34]), id: id[34:], caveats: caveats}, true
		}
	}
	return token{}, false
}

// decode64 takes both alphabets, padded or not: clients re-encode what they hold.
func decode64(s string) ([]byte, bool) {
	s = strings.TrimRight(strings.ReplaceAll(strings.ReplaceAll(s, "+", "-"), "/", "_"), "=")
	b, err := base64.RawURLEncoding.DecodeString(s)
	return b, err == nil
}

// tokens are the macaroons of ours that a call presents. With a preimage only
// those whose payment it proves; whether that was really made is the book's to say.
func (a *API) tokens(h http.Header) []token {
	if given, ok := bearerOf(h); ok {
		t, ok := a.readMacaroon(given, useBearer)
		if !ok {
			return nil
		}
		return []token{t}
	}
	given, preimage, ok := l402Of(h)
	if !ok {
		return nil
	}
	var list []token
	for _, text := range given {
		t, ok := a.readMacaroon(text, useL402, useBearer)
		if ok && hmac.Equal(t.hash[:], preimage[:]) {
			list = append(list, t)
		}
	}
	return list
}

// l402Of reads "Authorization: L402 <macaroon>[,<macaroon>…]:<preimage>", and its
// old name LSAT. The preimage is given as its hash.
func l402Of(h http.Header) (macaroons []string, hash timmy.Hash, ok bool) {
	scheme, rest, ok := authorization(h)
	if !ok || !strings.EqualFold(scheme, "l402") && !strings.EqualFold(scheme, "lsat") {
		return nil, hash, false
	}
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return nil, hash, false
	}
	preimage, err := hex.DecodeString(strings.TrimSpace(rest[at+1:]))
	if err != nil || len(preimage) != len(hash) {
		return nil, hash, false
	}
	macaroons = strings.Split(rest[:at], ",")
	if len(macaroons) > maxMacaroons {
		return nil, hash, false
	}
	for i := range macaroons {
		macaroons[i] = strings.TrimSpace(macaroons[i])
	}
	return macaroons, sha256.Sum256(preimage), true
}
