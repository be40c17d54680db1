//go:build libsecp256k1

package nip

/*
#include <stddef.h>

// libsecp256k1 as go-nostr links it under the same tag. Only declared here: a
// second copy would clash with the first. The references are weak, so that this
// package alone still links for cgo's own look at it.
#define LINKED __attribute__((weak, visibility("hidden"))) extern

typedef struct { unsigned char data[64]; } timmy_point;
typedef struct { unsigned char data[96]; } timmy_pair;

LINKED const void *secp256k1_context_static;
LINKED void *secp256k1_context_create(unsigned int flags);
LINKED int secp256k1_context_randomize(void *ctx, const unsigned char *seed32);
LINKED int secp256k1_ec_pubkey_parse(const void *ctx, timmy_point *p, const unsigned char *in, size_t size);
LINKED int secp256k1_ec_pubkey_serialize(const void *ctx, unsigned char *out, size_t *size, const timmy_point *p, unsigned int flags);
LINKED int secp256k1_ec_pubkey_tweak_mul(const void *ctx, timmy_point *p, const unsigned char *scalar32);
LINKED int secp256k1_keypair_create(const void *ctx, timmy_pair *pair, const unsigned char *secret32);
LINKED int secp256k1_keypair_xonly_pub(const void *ctx, timmy_point *p, int *parity, const timmy_pair *pair);
LINKED int secp256k1_xonly_pubkey_parse(const void *ctx, timmy_point *p, const unsigned char *in32);
LINKED int secp256k1_xonly_pubkey_serialize(const void *ctx, unsigned char *out32, const timmy_point *p);
LINKED int secp256k1_schnorrsig_sign32(const void *ctx, unsigned char *sig64, const unsigned char *hash32, const timmy_pair *pair, const unsigned char *aux32);
LINKED int secp256k1_schnorrsig_verify(const void *ctx, const unsigned char *sig64, const unsigned char *msg, size_t size, const timmy_point *p);

static int timmy_linked(void) { return secp256k1_context_create && secp256k1_ec_pubkey_tweak_mul && secp256k1_schnorrsig_sign32; }

static void *timmy_context(const unsigned char *seed) {
	void *ctx = secp256k1_context_create(1);
	return ctx && secp256k1_context_randomize(ctx, seed) ? ctx : NULL;
}

// x only: the points of both signs have the same.
static int timmy_mul(unsigned char *x32, const unsigned char *in32, const unsigned char *first, const unsigned char *second) {
	unsigned char b[33];
	size_t size = sizeof b;
	timmy_point p;
	b[0] = 2;
	__builtin_memcpy(b + 1, in32, 32);
	if (!secp256k1_ec_pubkey_parse(secp256k1_context_static, &p, b, sizeof b) ||
	    !secp256k1_ec_pubkey_tweak_mul(secp256k1_context_static, &p, first) ||
	    (second && !secp256k1_ec_pubkey_tweak_mul(secp256k1_context_static, &p, second)) ||
	    !secp256k1_ec_pubkey_serialize(secp256k1_context_static, b, &size, &p, 258))
		return 0;
	__builtin_memcpy(x32, b + 1, 32);
	return 1;
}

static int timmy_make(const void *ctx, timmy_pair *pair, unsigned char *public32, const unsigned char *secret32) {
	timmy_point p;
	return secp256k1_keypair_create(ctx, pair, secret32) &&
	    secp256k1_keypair_xonly_pub(secp256k1_context_static, &p, NULL, pair) &&
	    secp256k1_xonly_pubkey_serialize(secp256k1_context_static, public32, &p);
}

static int timmy_verify(const unsigned char *sig64, const unsigned char *hash32, const unsigned char *public32) {
	timmy_point p;
	return secp256k1_xonly_pubkey_parse(secp256k1_context_static, &p, public32) &&
	    secp256k1_schnorrsig_verify(secp256k1_context_static, sig64, hash32, 32, &p);
}
*/
import "C"

import (
	"crypto/rand"
	"errors"
	"sync"
	"unsafe"
)

// native tells tests and the benchmark which code is built in.
const native = true

// pair is a secret with its point, so that signing does not compute it again.
type pair struct{ c C.timmy_pair }

// context is libsecp256k1's tables for signing, blinded once: the library asks
// for one that lives as long as the process.
var context = sync.OnceValues(func() (unsafe.Pointer, error) {
	if C.timmy_linked() == 0 {
		return nil, errors.New("libsecp256k1 is not linked")
	}
	var seed [32]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, errors.New("reading randomness for the curve")
	}
	if ctx := C.timmy_context(u8(&seed[0])); ctx != nil {
		return ctx, nil
	}
	return nil, errors.New("libsecp256k1 did not start")
})

func u8(b *byte) *C.uchar { return (*C.uchar)(unsafe.Pointer(b)) }

// newPair makes a pair of a secret within the order.
func newPair(secret [32]byte) (*pair, [32]byte, error) {
	var public [32]byte
	ctx, err := context()
	if err != nil {
		return nil, public, err
	}
	p := new(pair)
	if C.timmy_make(ctx, &p.c, u8(&public[0]), u8(&secret[0])) != 1 {
		return nil, public, errCurve
	}
	return p, public, nil
}

// sign is BIP-340 over a 32-byte hash.
func (p *pair) sign(hash [32]byte) (sig [64]byte, err error) {
	ctx, err := context()
	if err != nil {
		return sig, err
	}
	var aux [32]byte
	if _, err := rand.Read(aux[:]); err != nil {
		return sig, errors.New("reading randomness for a signature")
	}
	if C.secp256k1_schnorrsig_sign32(ctx, u8(&sig[0]), u8(&hash[0]), &p.c, u8(&aux[0])) != 1 {
		return sig, errors.New("signing failed")
	}
	return sig, nil
}

// check verifies a BIP-340 signature.
func check(public, hash [32]byte, sig [64]byte) bool {
	return C.timmy_verify(u8(&sig[0]), u8(&hash[0]), u8(&public[0])) == 1
}

// multiply is the x coordinate of secret times the point. The library's product
// takes a time that depends on its scalar, so a secret that is used more than
// once goes in as two random factors: neither says anything of it.
func multiply(secret, public [32]byte, once bool) (x [32]byte, err error) {
	if once {
		if C.timmy_mul(u8(&x[0]), u8(&public[0]), u8(&secret[0]), nil) != 1 {
			return x, errCurve
		}
		return x, nil
	}
	first, second, err := factors(secret)
	if err != nil {
		return x, err
	}
	if C.timmy_mul(u8(&x[0]), u8(&public[0]), u8(&first[0]), u8(&second[0])) != 1 {
		return x, errCurve
	}
	return x, nil
}
