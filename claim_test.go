package timmy

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// Excludes: a code that its owner cannot type back, and one found in plain words.
func TestClaimCodesAreFoundAsTheyAreTyped(t *testing.T) {
	if c, err := NewClaimCode(bytes.NewReader([]byte{0, 0, 0, 0, 33})); err != nil || c != "CLAIM-0000-0011" {
		t.Errorf("%s, %v", c, err)
	}
	if _, err := NewClaimCode(bytes.NewReader([]byte{1})); err == nil {
		t.Error("a code of too little randomness")
	}
	for range 100 {
		c, err := NewClaimCode(rand.Reader)
		if got, ok := FindClaimCode("for " + string(c) + ", thanks"); err != nil || !ok || got != c {
			t.Fatalf("%s came back as %s, %v", c, got, err)
		}
	}
	for _, text := range []string{"CLAIM-7K3Q-M2XW", "claim-7k3q-m2xw", "Hi! claim 7k3q m2xw.", "(claim-7k3qm2xw)"} {
		if c, ok := FindClaimCode(text); !ok || c != "CLAIM-7K3Q-M2XW" {
			t.Errorf("%q: %s", text, c)
		}
	}
	if c, _ := FindClaimCode("claim-oil0-llio"); c != "CLAIM-0110-1110" {
		t.Errorf("read as %s", c)
	}
	for _, text := range []string{"", "I claim this", "claims-7k3q-m2xw", "claim-7k3-qm2xw", "claim-7k3q-m2xwz", "reclaim-7k3q-m2xw"} {
		if c, ok := FindClaimCode(text); ok {
			t.Errorf("%q: %s", text, c)
		}
	}
}
