package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/timmy-tower/timmy/nip"
)

// A tower with a new key is somebody else: what is made once stays.
func TestKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := towerKey(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := towerKey(dir, rand.Reader)
	if err != nil || again.Public() != first.Public() {
		t.Errorf("%v then %v, %v", first, again, err)
	}
	s1, err := serverKey(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s2, err := serverKey(dir, rand.Reader); err != nil || s1 != s2 || s1 == [32]byte{} {
		t.Errorf("server key changed, %v", err)
	}
	for _, name := range []string{towerKeyFile, serverKeyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Two processes that start at once must not end up with two identities.
func TestKeysMadeAtOnceAreOne(t *testing.T) {
	dir := t.TempDir()
	var got [16]nip.Key
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			k, err := towerKey(dir, rand.Reader)
			if err != nil {
				t.Error(err)
			}
			got[i] = k
		})
	}
	wg.Wait()
	for _, k := range got {
		if k.Public() != got[0].Public() {
			t.Fatal("two keys")
		}
	}
}

// A key that others could have read is no secret any more.
func TestReadableKeysAreRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o660} {
		dir := t.TempDir()
		k, err := nip.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, towerKeyFile)
		if err := os.WriteFile(path, []byte(k.Secret()), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err = towerKey(dir, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), "others can read") {
			t.Errorf("%o: %v", mode, err)
		}
	}
}

// People bring keys in both forms; whatever else is in the file is neither used
// nor shown.
func TestTowerKeyForms(t *testing.T) {
	k, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		k.Secret(): true, k.Nsec(): true, k.Nsec() + "\n": true, "  " + k.Secret() + "\r\n": true,
		"": false, "planted": false, k.Secret()[1:]: false, k.Nsec()[:62] + "b": false,
		strings.Repeat("0", 64): false, strings.Repeat("f", 64): false, k.Npub(): false, strings.Repeat("a", maxSettingsBytes+1): false,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, towerKeyFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := towerKey(dir, rand.Reader)
		if (err == nil) != ok || (ok && got.Public() != k.Public()) {
			t.Errorf("%.70q: %v", text, err)
		}
		if err != nil && len(text) > 3 && len(text) < 100 && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}

// A broken random source must not leave half a key behind.
func TestNoKeyWithoutRandomness(t *testing.T) {
	dir := t.TempDir()
	if _, err := towerKey(dir, iotest.ErrReader(os.ErrClosed)); err == nil {
		t.Error("made a key of nothing")
	}
	if _, err := serverKey(dir, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("made a key of 31 bytes")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A key that was overwritten is lost for ever.
func TestNothingIsOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := createFile(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	err := createFile(path, []byte("second"))
	if exitCode(existsError(err)) != exitConflict {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "first" {
		t.Errorf("now %q", b)
	}
}
