package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/timmy-tower/timmy"
)

// The keys in the data directory, made at the first start.
const (
	towerKeyFile  = "tower.key"  // who the tower is on Nostr: a secp256k1 secret, hex or nsec
	serverKeyFile = "server.key" // 32 random bytes in hex, from which bearers and tokens are derived
)

var errNotSecretKey = errors.New("want 64 hex digits or nsec1…, a valid secret key")

// towerKey reads the tower's secret key, or makes it if there is none.
func towerKey(dir string, random io.Reader) (secret [32]byte, err error) {
	path := filepath.Join(dir, towerKeyFile)
	text, err := readOrMakeKey(path, func() ([32]byte, error) { return newSecretKey(random) })
	if err != nil {
		return secret, err
	}
	if secret, err = parseSecretKey(text); err != nil {
		return secret, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// serverKey reads the server's secret, or makes it if there is none.
func serverKey(dir string, random io.Reader) (secret [32]byte, err error) {
	path := filepath.Join(dir, serverKeyFile)
	text, err := readOrMakeKey(path, func() ([32]byte, error) { return randomKey(random) })
	if err != nil {
		return secret, err
	}
	if n, err := hex.Decode(secret[:], []byte(padTo64(text))); err != nil || n != len(secret) {
		return secret, fmt.Errorf("%s: want 64 hex digits", path)
	}
	return secret, nil
}

// padTo64 turns a text of any other length into one that cannot be decoded.
func padTo64(s string) string {
	if len(s) != 64 {
		return "?"
	}
	return s
}

func randomKey(random io.Reader) (k [32]byte, err error) {
	if _, err := io.ReadFull(random, k[:]); err != nil {
		return k, fmt.Errorf("reading randomness: %w", err)
	}
	return k, nil
}

// newSecretKey draws until the bytes are a valid key, which the first draw is
// but for a chance of 2^-127.
func newSecretKey(random io.Reader) ([32]byte, error) {
	for range 8 {
		k, err := randomKey(random)
		if err != nil {
			return k, err
		}
		if _, err := publicKey(k); err == nil {
			return k, nil
		}
	}
	return [32]byte{}, errors.New("the random source yields no valid key")
}

// publicKey is the key that others see.
func publicKey(secret [32]byte) (timmy.PubKey, error) {
	if !validScalar(secret) {
		return timmy.PubKey{}, errNotSecretKey
	}
	pub, err := nostr.GetPublicKey(hex.EncodeToString(secret[:]))
	if err != nil {
		return timmy.PubKey{}, errNotSecretKey
	}
	return timmy.ParsePubKey(pub)
}

// curveOrder is n of secp256k1: secrets are 1 to n-1.
const curveOrder = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

func validScalar(k [32]byte) bool {
	return k != [32]byte{} && hex.EncodeToString(k[:]) < curveOrder
}

// parseSecretKey reads a secret key as hex or nsec. The text is in no error.
func parseSecretKey(s string) (secret [32]byte, err error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "nsec1") {
		_, v, err := nip19.Decode(s)
		text, ok := v.(string)
		if err != nil || !ok {
			return secret, errNotSecretKey
		}
		s = text
	}
	if n, err := hex.Decode(secret[:], []byte(padTo64(s))); err != nil || n != len(secret) || !validScalar(secret) {
		return [32]byte{}, errNotSecretKey
	}
	return secret, nil
}

// parsePubKey reads a public key as npub or hex. A secret key in its place is
// refused without being repeated.
func parsePubKey(s string) (timmy.PubKey, error) {
	if !strings.HasPrefix(s, "npub1") {
		k, err := timmy.ParsePubKey(s)
		if err != nil {
			return k, errors.New("want npub1… or 64 lower-case hex digits")
		}
		return k, nil
	}
	prefix, v, err := nip19.Decode(s)
	text, ok := v.(string)
	if err != nil || !ok || prefix != "npub" {
		return timmy.PubKey{}, errors.New("want a valid npub1…; this one has a typing mistake")
	}
	return timmy.ParsePubKey(text)
}

func npubOf(k timmy.PubKey) string {
	s, _ := nip19.EncodePublicKey(k.String()) // 32 bytes: cannot fail
	return s
}

func nsecOf(secret [32]byte) string {
	s, _ := nip19.EncodePrivateKey(hex.EncodeToString(secret[:])) // 32 bytes: cannot fail
	return s
}

// readOrMakeKey reads a key file that nobody else can read, or makes it. Two
// towers that start at once agree on one key.
func readOrMakeKey(path string, make func() ([32]byte, error)) (string, error) {
	text, err := readKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	k, err := make()
	if err != nil {
		return "", err
	}
	err = createFile(path, []byte(hex.EncodeToString(k[:])+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return readKeyFile(path)
}

// readKeyFile refuses a key that others on this machine could have read.
func readKeyFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", pathError("reading key", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", withHint(fmt.Errorf("%s: others can read this key (mode %04o)", path, info.Mode().Perm()), "chmod 600 "+path)
	}
	b, err := readSmall(path)
	if err != nil {
		return "", pathError("reading key", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// createFile writes a new file of mode 0600 that is there whole or not at all,
// also after a power cut. It fails with fs.ErrExist rather than replace one.
func createFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return pathError("creating", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Link(tmp.Name(), path); err != nil { // unlike rename, refuses to replace
		return fmt.Errorf("creating %s: %w", path, errors.Unwrap(err))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return pathError("syncing", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
