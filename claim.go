package timmy

import (
	"io"
	"regexp"
	"strings"
)

// ClaimCode names an account to its holder alone. Written into the comment of an
// anonymous zap, or of any payment to the lightning address, it says who is
// credited and nothing about who that is: "CLAIM-7K3Q-M2XW", forty random bits in
// Crockford's base 32.
type ClaimCode string

const claimAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// claimLike is what a person may have typed for one: any case, spaces or no dash in
// the middle, the letters O, I and L for the digits.
var claimLike = regexp.MustCompile(`(?i)\bclaim[- ]([0-9a-z]{4})[- ]?([0-9a-z]{4})\b`)

// NewClaimCode makes a code of what it reads.
func NewClaimCode(random io.Reader) (ClaimCode, error) {
	var b [5]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	n := uint64(b[0])<<32 | uint64(b[1])<<24 | uint64(b[2])<<16 | uint64(b[3])<<8 | uint64(b[4])
	text := make([]byte, 8)
	for i := range text {
		text[i] = claimAlphabet[n>>(35-5*i)&31]
	}
	return ClaimCode("CLAIM-" + string(text[:4]) + "-" + string(text[4:])), nil
}

// FindClaimCode returns the first claim code in a text, in its one form.
func FindClaimCode(text string) (ClaimCode, bool) {
	m := claimLike.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	typed := strings.NewReplacer("O", "0", "I", "1", "L", "1")
	return ClaimCode("CLAIM-" + typed.Replace(strings.ToUpper(m[1])) + "-" + typed.Replace(strings.ToUpper(m[2]))), true
}
