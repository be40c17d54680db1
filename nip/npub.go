package nip

import (
	"errors"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/timmy-tower/timmy"
)

var errNpub = errors.New("want an npub, an nprofile or 64 hex digits")

// decode19 is nip19.Decode that cannot take the process down.
func decode19(s string) (prefix string, v any, err error) {
	defer func() {
		if recover() != nil {
			err = errNpub
		}
	}()
	return nip19.Decode(s)
}

// Npub is a key as npub1… (NIP-19).
func Npub(k timmy.PubKey) string {
	s, err := nip19.EncodePublicKey(k.String())
	if err != nil {
		return ""
	}
	return s
}

// Nprofile is a key with the relays where it reads, as nprofile1… (NIP-19).
// URLs beyond the format's 255 bytes are left out.
func Nprofile(k timmy.PubKey, relays []string) string {
	var fit []string
	for _, r := range relays {
		if len(r) <= 255 && len(fit) < MaxRelays {
			fit = append(fit, r)
		}
	}
	s, err := nip19.EncodeProfile(k.String(), fit)
	if err != nil {
		return ""
	}
	return s
}

// ParseNpub reads a public key as people write it: npub1…, nprofile1…, either
// behind "nostr:", or hex of any case. The relays are an nprofile's. A secret key
// is refused with words that do not repeat it.
func ParseNpub(s string) (timmy.PubKey, []string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxBech32 {
		return timmy.PubKey{}, nil, errNpub
	}
	if i := len("nostr:"); len(s) > i && strings.EqualFold(s[:i], "nostr:") {
		s = s[i:]
	}
	if l := lower(s); isHex(l, 64) {
		k, err := curvePoint(l)
		return k, nil, err
	}
	prefix, v, err := decode19(s)
	if prefix == "nsec" {
		return timmy.PubKey{}, nil, errors.New("this is a secret key: never show it to anybody")
	}
	if err != nil {
		return timmy.PubKey{}, nil, errNpub
	}
	switch v := v.(type) {
	case string:
		if prefix == "npub" {
			k, err := curvePoint(v)
			return k, nil, err
		}
	case nostr.ProfilePointer:
		k, err := curvePoint(v.PublicKey)
		return k, RelayURLs(v.Relays), err
	}
	return timmy.PubKey{}, nil, errNpub
}

func curvePoint(h string) (timmy.PubKey, error) {
	if !isHex(h, 64) || !nostr.IsValidPublicKey(h) {
		return timmy.PubKey{}, errors.New("not a public key")
	}
	return timmy.ParsePubKey(h)
}
