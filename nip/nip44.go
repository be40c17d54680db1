package nip

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"

	"golang.org/x/crypto/chacha20"

	"github.com/timmy-tower/timmy"
)

const (
	version44  = 2
	long44     = 65_536              // from here on the length takes six bytes
	overhead44 = 1 + 32 + 32         // version, nonce, MAC
	minRaw44   = overhead44 + 2 + 32 // the shortest payload, before base64
)

var (
	// ErrVersion is a NIP-44 payload that is not version 2.
	ErrVersion = errors.New("unsupported version")
	// ErrDecrypt is everything else that is wrong with a ciphertext. It does not
	// say what: that would help whoever tampered with it.
	ErrDecrypt = errors.New("cannot decrypt")
)

// Encrypt44 encrypts text for a key by NIP-44 version 2. Texts from 65,536 bytes
// on take the long form of 2026, which few clients read yet: see [Split].
func Encrypt44(k Key, to timmy.PubKey, text string, rnd io.Reader) (string, error) {
	x, err := k.remembered(to)
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	return encrypt44(x, text, rnd)
}

// Decrypt44 decrypts a NIP-44 version 2 payload that came from a key. The event
// that carried it must have been verified. The error is [ErrVersion] or
// [ErrDecrypt].
func Decrypt44(k Key, from timmy.PubKey, payload string) (string, error) {
	x, err := k.remembered(from)
	if err != nil {
		return "", ErrDecrypt
	}
	return decrypt44(x, payload)
}

func encrypt44(x [32]byte, text string, rnd io.Reader) (string, error) {
	key, err := conversation(x)
	if err != nil {
		return "", err
	}
	var nonce [32]byte
	if _, err := io.ReadFull(rnd, nonce[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return seal44(key, nonce, text)
}

func seal44(key [32]byte, nonce [32]byte, text string) (string, error) {
	if text == "" || len(text) > maxPlaintext {
		return "", fmt.Errorf("a text of %d bytes cannot be encrypted", len(text))
	}
	m, err := expand44(key, nonce)
	if err != nil {
		return "", err
	}
	prefix := binary.BigEndian.AppendUint16(nil, uint16(len(text)))
	if len(text) >= long44 {
		prefix = binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(len(text)))
	}
	out := make([]byte, overhead44+len(prefix)+pad44(len(text)))
	out[0] = version44
	copy(out[1:], nonce[:])
	body := out[33 : len(out)-32]
	copy(body, prefix)
	copy(body[len(prefix):], text)
	if err := m.stream(body); err != nil {
		return "", err
	}
	copy(out[len(out)-32:], m.mac(nonce[:], body))
	return base64.StdEncoding.EncodeToString(out), nil
}

func decrypt44(x [32]byte, payload string) (string, error) {
	key, err := conversation(x)
	if err != nil {
		return "", ErrDecrypt
	}
	return open44(key, payload)
}

func open44(key [32]byte, payload string) (string, error) {
	if strings.HasPrefix(payload, "#") {
		return "", ErrVersion
	}
	raw, err := unbase64(payload, base64.StdEncoding.EncodedLen(overhead44+6+maxPlaintext))
	if err != nil || len(raw) == 0 {
		return "", ErrDecrypt
	}
	if raw[0] != version44 {
		return "", ErrVersion
	}
	if len(raw) < minRaw44 {
		return "", ErrDecrypt
	}
	nonce, body, mac := raw[1:33], raw[33:len(raw)-32], raw[len(raw)-32:]
	m, err := expand44(key, [32]byte(nonce))
	if err != nil || !hmac.Equal(mac, m.mac(nonce, body)) {
		return "", ErrDecrypt
	}
	if m.stream(body) != nil {
		return "", ErrDecrypt
	}
	return unpad44(body)
}

// unpad44 takes the text out of its padding, which must be exactly what the
// length asks for.
func unpad44(body []byte) (string, error) {
	size, head := int64(binary.BigEndian.Uint16(body)), 2
	if size == 0 {
		size, head = int64(binary.BigEndian.Uint32(body[2:])), 6
		if size < long44 {
			return "", ErrDecrypt
		}
	}
	if size > maxPlaintext || len(body) != head+pad44(int(size)) {
		return "", ErrDecrypt
	}
	return string(body[head : head+int(size)]), nil
}

// pad44 is the padded length of a text, which hides how long it really is.
func pad44(size int) int {
	if size <= 32 {
		return 32
	}
	power := 1 << bits.Len(uint(size-1))
	chunk := max(32, power/8)
	return chunk * ((size-1)/chunk + 1)
}

type keys44 struct{ chacha, nonce, hmac []byte }

// conversation is the key that two parties share for good.
func conversation(x [32]byte) (key [32]byte, err error) {
	b, err := hkdf.Extract(sha256.New, x[:], []byte("nip44-v2"))
	if err != nil {
		return key, fmt.Errorf("deriving a conversation key: %w", err)
	}
	copy(key[:], b)
	return key, nil
}

func expand44(key, nonce [32]byte) (keys44, error) {
	b, err := hkdf.Expand(sha256.New, key[:], string(nonce[:]), 76)
	if err != nil {
		return keys44{}, fmt.Errorf("deriving message keys: %w", err)
	}
	return keys44{chacha: b[:32], nonce: b[32:44], hmac: b[44:]}, nil
}

func (m keys44) stream(body []byte) error {
	c, err := chacha20.NewUnauthenticatedCipher(m.chacha, m.nonce)
	if err != nil {
		return fmt.Errorf("starting the cipher: %w", err)
	}
	c.XORKeyStream(body, body)
	return nil
}

func (m keys44) mac(nonce, body []byte) []byte {
	h := hmac.New(sha256.New, m.hmac)
	h.Write(nonce)
	h.Write(body)
	return h.Sum(nil)
}

// unbase64 decodes the one canonical form: the standard decoder would skip line
// breaks and stray bits, and so let one payload have many texts.
func unbase64(s string, most int) ([]byte, error) {
	if len(s) > most || strings.ContainsAny(s, "\r\n") {
		return nil, ErrDecrypt
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, ErrDecrypt
	}
	return b, nil
}
