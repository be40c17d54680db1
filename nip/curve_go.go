//go:build !libsecp256k1

package nip

// native tells tests and the benchmark which code is built in.
const native = false

type pair = goPair

func newPair(secret [32]byte) (*pair, [32]byte, error) { return newGoPair(secret) }

func check(public, hash [32]byte, sig [64]byte) bool { return goCheck(public, hash, sig) }

func multiply(secret, public [32]byte, _ bool) ([32]byte, error) { return goMultiply(secret, public) }
