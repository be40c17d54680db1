package nip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/timmy-tower/timmy"
)

// order is the order of the curve's group; a secret is below it and not zero.
const order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

var errSecret = errors.New("secret key: want 64 hex digits or an nsec, within the curve's order")

// Key is a secret key with its public key and a bounded cache of the ECDH
// secrets it shares with senders. It is safe for concurrent use, copies share
// the cache, and it never prints its secret. The zero Key can do nothing.
type Key struct {
	secret string // hex
	public timmy.PubKey
	pair   *pair
	shared *secrets
}

// NewKey makes a Key of 32 bytes. Zero and values beyond the curve's order are
// refused.
func NewKey(secret [32]byte) (Key, error) {
	s := hex.EncodeToString(secret[:])
	if secret == [32]byte{} || s >= order {
		return Key{}, errSecret
	}
	p, public, err := newPair(secret)
	if err != nil {
		return Key{}, fmt.Errorf("making a key: %w", err)
	}
	return Key{secret: s, public: public, pair: p, shared: newSecrets(maxSecrets)}, nil
}

// GenerateKey makes a new Key from r, which must be a cryptographic source.
func GenerateKey(r io.Reader) (Key, error) {
	for {
		var b [32]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return Key{}, fmt.Errorf("reading randomness: %w", err)
		}
		k, err := NewKey(b)
		if errors.Is(err, errSecret) {
			continue
		}
		return k, err
	}
}

// ParseSecret reads 64 hex digits or an nsec1 string (NIP-19). The error never
// repeats the input.
func ParseSecret(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(strings.ToLower(s), "nsec1") && len(s) <= maxBech32 {
		prefix, v, err := decode19(s)
		h, ok := v.(string)
		if err != nil || prefix != "nsec" || !ok {
			return Key{}, errSecret
		}
		s = h
	}
	var b [32]byte
	if len(s) != 64 {
		return Key{}, errSecret
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return Key{}, errSecret
	}
	return NewKey(b)
}

// Public is the key's public half.
func (k Key) Public() timmy.PubKey { return k.public }

// Npub is the public key as npub1… (NIP-19).
func (k Key) Npub() string { return Npub(k.public) }

// Secret returns the secret as hex. It is for making and moving keys, nothing
// else.
func (k Key) Secret() string { return k.secret }

// Nsec returns the secret as nsec1… (NIP-19). It is for making and moving keys,
// nothing else.
func (k Key) Nsec() string {
	s, err := nip19.EncodePrivateKey(k.secret)
	if err != nil {
		return ""
	}
	return s
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.secret == "" }

// String is the public key: a Key that is printed by accident tells nothing.
func (k Key) String() string { return "key of " + k.public.String() }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// LogValue is String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Sign sets the event's public key, id and signature.
func (k Key) Sign(ev *nostr.Event) error {
	if k.IsZero() {
		return errors.New("signing without a key")
	}
	if ev.Tags == nil {
		ev.Tags = nostr.Tags{}
	}
	ev.PubKey = k.public.String()
	hash := sha256.Sum256(ev.Serialize())
	sig, err := k.pair.sign(hash)
	if err != nil {
		return err
	}
	ev.ID, ev.Sig = hex.EncodeToString(hash[:]), hex.EncodeToString(sig[:])
	return nil
}

// ecdh is the unhashed x coordinate that both sides can compute.
func (k Key) ecdh(other timmy.PubKey) ([32]byte, error) { return k.times(other, false) }

// times is ecdh; once says that the key is thrown away after this, so that how
// long it takes may tell something of it.
func (k Key) times(other timmy.PubKey, once bool) (x [32]byte, err error) {
	if k.IsZero() {
		return x, errors.New("no key")
	}
	var secret [32]byte
	if _, err := hex.Decode(secret[:], []byte(k.secret)); err != nil {
		return x, errSecret
	}
	if x, err = multiply(secret, other, once); err != nil {
		return x, errors.New("not a public key")
	}
	return x, nil
}

// remembered is ecdh with a real sender: worth keeping, unlike a wrap's
// throw-away key, which never comes back.
func (k Key) remembered(other timmy.PubKey) ([32]byte, error) {
	if k.shared == nil {
		return k.ecdh(other)
	}
	if x, ok := k.shared.get(other); ok {
		return x, nil
	}
	x, err := k.ecdh(other)
	if err == nil {
		k.shared.put(other, x)
	}
	return x, err
}
