package nip

import (
	"crypto/rand"
	"errors"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// The curve is reached by three operations: a pair that signs, check, and
// multiply. libsecp256k1 does them under the build tag of that name, and the Go
// code below without it; tests hold one against the other.

var errCurve = errors.New("not on the curve")

// goPair is a secret with its point, in Go.
type goPair struct{ secret *btcec.PrivateKey }

func newGoPair(secret [32]byte) (*goPair, [32]byte, error) {
	private, public := btcec.PrivKeyFromBytes(secret[:])
	return &goPair{private}, [32]byte(schnorr.SerializePubKey(public)), nil
}

func (p *goPair) sign(hash [32]byte) (sig [64]byte, err error) {
	s, err := schnorr.Sign(p.secret, hash[:])
	if err != nil {
		return sig, errors.New("signing failed") // the cause could repeat the secret
	}
	return [64]byte(s.Serialize()), nil
}

func goCheck(public, hash [32]byte, sig [64]byte) bool {
	p, err := schnorr.ParsePubKey(public[:])
	if err != nil {
		return false
	}
	s, err := schnorr.ParseSignature(sig[:])
	return err == nil && s.Verify(hash[:], p)
}

func goMultiply(secret, public [32]byte) (x [32]byte, err error) {
	p, err := schnorr.ParsePubKey(public[:])
	if err != nil {
		return x, errCurve
	}
	private, _ := btcec.PrivKeyFromBytes(secret[:])
	copy(x[:], btcec.GenerateSharedSecret(private, p))
	return x, nil
}

// factors splits a secret into a random factor and the one that belongs to it.
func factors(secret [32]byte) (first, second [32]byte, err error) {
	if _, err := rand.Read(first[:]); err != nil {
		return first, second, errors.New("reading randomness for a factor")
	}
	var a, b btcec.ModNScalar
	if a.SetBytes(&first); a.IsZero() {
		return first, second, errors.New("a factor of zero")
	}
	first = a.Bytes()
	b.SetBytes(&secret)
	second = a.InverseNonConst().Mul(&b).Bytes()
	return first, second, nil
}
