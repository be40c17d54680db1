package nip

import "strings"

// The alphabet and generator of BIP-173. go-nostr's own bech32 knows NIP-19's
// prefixes alone.
const bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// encodeBech32 writes bytes under a human-readable prefix, however long.
func encodeBech32(prefix string, b []byte) string {
	data := regroup(b, 8, 5)
	sum := polymod(append(expandPrefix(prefix), append(data, make([]byte, 6)...)...)) ^ 1
	var out strings.Builder
	out.WriteString(prefix + "1")
	for _, v := range data {
		out.WriteByte(bech32Alphabet[v])
	}
	for i := range 6 {
		out.WriteByte(bech32Alphabet[sum>>(5*(5-i))&31])
	}
	return out.String()
}

// decodeBech32 reads what encodeBech32 wrote, in either case, of at most most
// characters.
func decodeBech32(prefix, s string, most int) ([]byte, bool) {
	if len(s) > most || len(s) < len(prefix)+1+6 || s != lower(s) && s != strings.ToUpper(s) {
		return nil, false
	}
	rest, ok := strings.CutPrefix(lower(s), prefix+"1")
	if !ok {
		return nil, false
	}
	values := make([]byte, len(rest))
	for i := range len(rest) {
		v := strings.IndexByte(bech32Alphabet, rest[i])
		if v < 0 {
			return nil, false
		}
		values[i] = byte(v)
	}
	if polymod(append(expandPrefix(prefix), values...)) != 1 {
		return nil, false
	}
	return regroup(values[:len(values)-6], 5, 8), true
}

func expandPrefix(s string) []byte {
	out := make([]byte, 0, 2*len(s)+1)
	for i := range len(s) {
		out = append(out, s[i]>>5)
	}
	out = append(out, 0)
	for i := range len(s) {
		out = append(out, s[i]&31)
	}
	return out
}

// polymod is BIP-173's checksum.
func polymod(values []byte) uint32 {
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	c := uint32(1)
	for _, v := range values {
		top := c >> 25
		c = c&0x1ffffff<<5 ^ uint32(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				c ^= g
			}
		}
	}
	return c
}

// regroup turns groups of from bits into groups of to bits. Going up to 5 bits
// the rest is padded with zeros; going back it is dropped.
func regroup(in []byte, from, to uint) []byte {
	var out []byte
	acc, n := uint32(0), uint(0)
	for _, v := range in {
		acc, n = acc<<from|uint32(v), n+from
		for n >= to {
			n -= to
			out = append(out, byte(acc>>n&(1<<to-1)))
		}
	}
	if to < from && n > 0 {
		out = append(out, byte(acc<<(to-n)&(1<<to-1)))
	}
	return out
}
