package nip

import (
	"crypto/aes"
	"crypto/cipher"
	"strings"

	"github.com/timmy-tower/timmy"
)

// KindPrivateZap is the event inside a private zap: signed by who really pays. No
// NIP describes it; Damus and Amethyst send it.
const KindPrivateZap = 9733

// OpenPrivateZap says who made a private zap to k, and what they wrote. The anon
// tag of the request, which a throw-away key signed, has the real event encrypted
// for the recipient: "pzap1…_iv1…", two bech32 texts of AES-256-CBC under NIP-04's
// shared secret. [timmy.Invalid]: it cannot be opened, is not signed, or was made
// for another recipient or another note.
func OpenPrivateZap(k Key, z ZapRequest) (from timmy.PubKey, comment string, err error) {
	text, ok := decryptZap(k, z)
	if !ok {
		return from, "", badPrivateZap("cannot be opened with this tower's key")
	}
	ev, err := ParseEvent([]byte(text))
	if err != nil || ev.Kind != KindPrivateZap {
		return from, "", badPrivateZap("has no event of kind 9733 in it")
	}
	if p, ok := only(ev.Tags, "p"); !ok || p != k.Public().String() {
		return from, "", badPrivateZap("was made for somebody else")
	}
	if e := first(ev.Tags, "e"); e != "" && e != z.E {
		return from, "", badPrivateZap("was made for another note")
	}
	if err := Verify(ev); err != nil {
		return from, "", badPrivateZap("is not signed by its sender")
	}
	if from, err = timmy.ParsePubKey(ev.PubKey); err != nil {
		return from, "", badPrivateZap("names no sender")
	}
	return from, ev.Content, nil
}

func badPrivateZap(why string) error {
	return timmy.Errorf(timmy.Invalid, "the private zap %s", why)
}

// decryptZap opens the anon tag. The key that encrypted is used once, so what is
// shared with it is not kept.
func decryptZap(k Key, z ZapRequest) (string, bool) {
	body32, iv32, ok := strings.Cut(z.Private, "_")
	if !ok {
		return "", false
	}
	body, ok := decodeBech32("pzap", body32, maxZapRequest)
	if !ok || len(body) == 0 || len(body)%aes.BlockSize != 0 {
		return "", false
	}
	iv, ok := decodeBech32("iv", iv32, maxBech32)
	if !ok || len(iv) != aes.BlockSize {
		return "", false
	}
	x, err := k.ecdh(z.From)
	if err != nil {
		return "", false
	}
	block, err := aes.NewCipher(x[:])
	if err != nil {
		return "", false
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(body, body)
	text, err := unpad04(body)
	return text, err == nil
}
