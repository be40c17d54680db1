package nip

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// Encrypt04 encrypts text by NIP-04, for those whose client reads nothing
// better. It hides neither who talks to whom nor how much, and does not notice
// tampering.
func Encrypt04(k Key, to timmy.PubKey, text string, rnd io.Reader) (string, error) {
	x, err := k.remembered(to)
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	var iv [aes.BlockSize]byte
	if _, err := io.ReadFull(rnd, iv[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	block, err := aes.NewCipher(x[:])
	if err != nil {
		return "", fmt.Errorf("starting the cipher: %w", err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	body := append([]byte(text), strings.Repeat(string(rune(pad)), pad)...)
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(body, body)
	return base64.StdEncoding.EncodeToString(body) + "?iv=" + base64.StdEncoding.EncodeToString(iv[:]), nil
}

// Decrypt04 decrypts a NIP-04 content. Whatever is wrong, the error is
// [ErrDecrypt]: there is no MAC, and a reason would be a padding oracle. The
// text is not authenticated beyond the signature of the event that carried it.
func Decrypt04(k Key, from timmy.PubKey, content string) (string, error) {
	if len(content) > maxCipher04 || strings.Count(content, "?iv=") != 1 {
		return "", ErrDecrypt
	}
	b, v, _ := strings.Cut(content, "?iv=")
	body, err := unbase64(b, maxCipher04)
	if err != nil || len(body) == 0 || len(body)%aes.BlockSize != 0 {
		return "", ErrDecrypt
	}
	iv, err := unbase64(v, maxCipher04)
	if err != nil || len(iv) != aes.BlockSize {
		return "", ErrDecrypt
	}
	x, err := k.remembered(from)
	if err != nil {
		return "", ErrDecrypt
	}
	block, err := aes.NewCipher(x[:])
	if err != nil {
		return "", ErrDecrypt
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(body, body)
	return unpad04(body)
}

func unpad04(body []byte) (string, error) {
	pad := int(body[len(body)-1])
	if pad < 1 || pad > aes.BlockSize {
		return "", ErrDecrypt
	}
	for _, c := range body[len(body)-pad:] {
		if int(c) != pad {
			return "", ErrDecrypt
		}
	}
	text := body[:len(body)-pad]
	if !utf8.Valid(text) {
		return "", ErrDecrypt
	}
	return string(text), nil
}
