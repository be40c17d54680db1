package nip

import (
	"errors"
	"strings"
)

var errLNURL = errors.New("not an LNURL")

// EncodeLNURL writes a URL as lnurl1… (LUD-01). In upper case it makes a small QR
// code.
func EncodeLNURL(url string) string { return encodeBech32("lnurl", []byte(url)) }

// DecodeLNURL reads the URL in lnurl1… of either case, with or without
// "lightning:" before it.
func DecodeLNURL(s string) (string, error) {
	if i := len("lightning:"); len(s) > i && strings.EqualFold(s[:i], "lightning:") {
		s = s[i:]
	}
	b, ok := decodeBech32("lnurl", s, maxBech32)
	if !ok {
		return "", errLNURL
	}
	return string(b), nil
}
