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

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// The keys in the data directory, made at the first start.
const (
	towerKeyFile  = "tower.key"  // who the tower is on Nostr: a secp256k1 secret, hex or nsec
	serverKeyFile = "server.key" // 32 random bytes in hex, from which bearers and tokens are derived
)

// towerKey reads the tower's secret key, or makes it if there is none.
func towerKey(dir string, random io.Reader) (nip.Key, error) {
	path := filepath.Join(dir, towerKeyFile)
	text, err := readOrMakeKey(path, func() (string, error) {
		k, err := nip.GenerateKey(random)
		return k.Secret(), err
	})
	if err != nil {
		return nip.Key{}, err
	}
	k, err := nip.ParseSecret(text)
	if err != nil {
		return nip.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// serverKey reads the server's secret, or makes it if there is none.
func serverKey(dir string, random io.Reader) (secret [32]byte, err error) {
	path := filepath.Join(dir, serverKeyFile)
	text, err := readOrMakeKey(path, func() (string, error) {
		var k [32]byte
		_, err := io.ReadFull(random, k[:])
		return hex.EncodeToString(k[:]), err
	})
	if err != nil {
		return secret, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(secret) {
		return secret, fmt.Errorf("%s: want 64 hex digits", path)
	}
	copy(secret[:], b)
	return secret, nil
}

// parsePubKey reads a public key as npub or hex. What it cannot read it does not
// repeat: it may be a secret key in the wrong place.
func parsePubKey(s string) (timmy.PubKey, error) {
	k, _, err := nip.ParseNpub(s)
	return k, err
}

// readOrMakeKey reads a key file that nobody else can read, or makes it. Two
// towers that start at once agree on one key.
func readOrMakeKey(path string, generate func() (string, error)) (string, error) {
	text, err := readKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	k, err := generate()
	if err != nil {
		return "", fmt.Errorf("making %s: %w", path, err)
	}
	err = createFile(path, []byte(k+"\n"))
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
