package nip

import (
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"
)

func randomSecret(t testing.TB) [32]byte {
	t.Helper()
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	b[0] >>= 1 // below the order
	return b
}

// Both builds must make the same keys and secrets and take each other's
// signatures: a message sealed by one is opened by the other.
func TestTheCurveInCAndInGoAgree(t *testing.T) {
	for range 300 {
		a, b := randomSecret(t), randomSecret(t)
		c, public, err := newPair(a)
		if err != nil {
			t.Fatal(err)
		}
		g, publicGo, _ := newGoPair(a)
		if public != publicGo {
			t.Fatalf("%x has two public keys", a)
		}
		_, other, _ := newPair(b)
		want, err := goMultiply(a, other)
		if err != nil {
			t.Fatal(err)
		}
		for _, once := range []bool{false, true} {
			if x, err := multiply(a, other, once); err != nil || x != want {
				t.Fatalf("secret of %x with %x, once %v: %x, %v, want %x", a, other, once, x, err, want)
			}
		}
		hash := sha256.Sum256(a[:])
		for _, s := range []func([32]byte) ([64]byte, error){c.sign, g.sign} {
			sig, err := s(hash)
			if err != nil || !check(public, hash, sig) || !goCheck(public, hash, sig) {
				t.Fatalf("a signature of %x is not taken by both: %v", a, err)
			}
			sig[40] ^= 1
			if check(public, hash, sig) || goCheck(public, hash, sig) {
				t.Fatal("a spoiled signature is taken")
			}
		}
	}
}

// Half of all 32-byte strings are no key; a stranger chooses them. Both must
// refuse the same ones.
func TestTheCurveInCAndInGoRefuseTheSameKeys(t *testing.T) {
	prime, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", 16)
	keys := [][32]byte{{}, {31: 1}}
	for d := int64(-3); d < 4; d++ {
		keys = append(keys, [32]byte(new(big.Int).Add(prime, big.NewInt(d)).Bytes()))
	}
	for range 200 {
		keys = append(keys, randomSecret(t))
	}
	refused, secret := 0, randomSecret(t)
	for _, k := range keys {
		x, err := multiply(secret, k, false)
		want, wantErr := goMultiply(secret, k)
		if (err == nil) != (wantErr == nil) || x != want {
			t.Errorf("%x: %x, %v; want %x, %v", k, x, err, want, wantErr)
		}
		if err != nil {
			refused++
		}
	}
	if refused == 0 || refused == len(keys) {
		t.Errorf("%d of %d refused", refused, len(keys))
	}
}

// The two factors must multiply to the secret, also at the edges of its range.
func TestASecretIsTheProductOfItsFactors(t *testing.T) {
	n, _ := new(big.Int).SetString(order, 16)
	most := [32]byte(new(big.Int).Sub(n, big.NewInt(1)).Bytes())
	for _, s := range [][32]byte{{31: 1}, {31: 2}, most, randomSecret(t)} {
		a, b, err := factors(s)
		if err != nil {
			t.Fatal(err)
		}
		got := new(big.Int).Mul(new(big.Int).SetBytes(a[:]), new(big.Int).SetBytes(b[:]))
		if got.Mod(got, n).Cmp(new(big.Int).SetBytes(s[:])) != 0 {
			t.Errorf("%x is not %x times %x", s, a, b)
		}
		if a == s || b == s {
			t.Errorf("%x is a factor of itself", s)
		}
	}
}

func BenchmarkCurve(b *testing.B) {
	s := randomSecret(b)
	p, public, err := newPair(s)
	if err != nil {
		b.Fatal(err)
	}
	g, _, _ := newGoPair(s)
	hash := sha256.Sum256(s[:])
	sig, err := p.sign(hash)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range []struct {
		name string
		f    func()
	}{
		{"pair/built", func() { newPair(s) }},
		{"pair/go", func() { newGoPair(s) }},
		{"sign/built", func() { p.sign(hash) }},
		{"sign/go", func() { g.sign(hash) }},
		{"check/built", func() { check(public, hash, sig) }},
		{"check/go", func() { goCheck(public, hash, sig) }},
		{"multiply/built", func() { multiply(s, public, false) }},
		{"multiply/built-once", func() { multiply(s, public, true) }},
		{"multiply/go", func() { goMultiply(s, public) }},
	} {
		b.Run(r.name, func(b *testing.B) {
			for b.Loop() {
				r.f()
			}
		})
	}
}
