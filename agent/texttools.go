package agent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var toolCall = regexp.MustCompile(`(?is)^(count|count words(?: in)?|count characters(?: in)?|word count|upper|uppercase|lower|lowercase|reverse|sha256|sha-256|` +
	`base64|base64 encode|encode base64|base64 decode|decode base64|hex|hex encode|encode hex|hex decode|decode hex|unhex)\s*(?::|\s|\bof\b)\s*(.+)$`)

// textTools does what its first words say to the rest.
func (b *Builtin) textTools(_ context.Context, q string) (string, bool) {
	m := toolCall.FindStringSubmatch(q)
	if m == nil {
		return "", false
	}
	tool, text := strings.ToLower(m[1]), strings.TrimSpace(m[2])
	// "base64 decode x" matches the shorter name first.
	if verb, rest, ok := strings.Cut(text, " "); ok && (verb == "decode" || verb == "encode") {
		tool, text = tool+" "+verb, strings.TrimSpace(rest)
	}
	switch tool {
	case "upper", "uppercase":
		return strings.ToUpper(text), true
	case "lower", "lowercase":
		return strings.ToLower(text), true
	case "reverse":
		runes := []rune(text)
		slices.Reverse(runes)
		return string(runes), true
	case "sha256", "sha-256":
		return fmt.Sprintf("sha256: %x", sha256.Sum256([]byte(text))), true
	case "base64", "base64 encode", "encode base64":
		return base64.StdEncoding.EncodeToString([]byte(text)), true
	case "hex", "hex encode", "encode hex":
		return hex.EncodeToString([]byte(text)), true
	case "base64 decode", "decode base64":
		return decoded("base64", fromBase64, text), true
	case "hex decode", "decode hex", "unhex":
		return decoded("hex", hex.DecodeString, text), true
	}
	return counted(text), true
}

// counted is the size of a text.
func counted(text string) string {
	lines := strings.Count(text, "\n") + 1
	return fmt.Sprintf("%d words, %d characters, %d bytes, %d lines",
		len(strings.Fields(text)), utf8.RuneCountInString(text), len(text), lines)
}

// decoded shows what an encoded text holds, or says that it is not one.
func decoded(name string, decode func(string) ([]byte, error), text string) string {
	raw, err := decode(text)
	if err != nil {
		return "That is not valid " + name + "."
	}
	return show(raw)
}

// show is bytes as text if they are text, and as hex otherwise.
func show(raw []byte) string {
	cut := raw[:min(len(raw), maxShown)]
	note := ""
	if len(cut) < len(raw) {
		note = fmt.Sprintf("\n(the first %d of %d bytes)", len(cut), len(raw))
	}
	if readable(raw) {
		return "text: " + strings.ToValidUTF8(string(cut), "") + note
	}
	return fmt.Sprintf("%d bytes: %s%s", len(raw), hex.EncodeToString(cut), note)
}

// readable: valid text without control characters.
func readable(raw []byte) bool {
	return len(raw) > 0 && utf8.Valid(raw) && !slices.ContainsFunc([]rune(string(raw)), func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	})
}

// fromBase64 reads the standard and the URL alphabet, padded or not.
func fromBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}

var (
	hexAlone  = regexp.MustCompile(`^(?:0x)?(?:[0-9a-fA-F]{2}){4,}$`)
	b64Alone  = regexp.MustCompile(`^[A-Za-z0-9+/_-]{12,}={0,2}$`)
	decodeAsk = regexp.MustCompile(`(?is)^(?:please\s+)?(?:decode|explain|what is|what's|parse|read)\s*:?\s+(?:this\s*:?\s*)?`)
)

// decode tries the decoders on the text, and on its longest word: people paste
// an invoice with a question around it.
func (b *Builtin) decode(_ context.Context, q string) (string, bool) {
	text := strings.TrimSpace(strings.TrimSuffix(decodeAsk.ReplaceAllString(q, ""), "?"))
	longest := ""
	for word := range strings.FieldsSeq(text) {
		if len(word) > len(longest) {
			longest = word
		}
	}
	longest = strings.TrimPrefix(strings.TrimPrefix(longest, "lightning:"), "nostr:")
	for _, decoder := range b.cfg.Decoders {
		for _, try := range []string{text, longest} {
			if answer, ok := decoder(try); ok {
				return answer, true
			}
		}
	}
	return "", false
}

// guessEncoding shows a lone hex or base64 text, if it is readable or hex.
func guessEncoding(q string) (string, bool) {
	text := strings.TrimSpace(decodeAsk.ReplaceAllString(q, ""))
	if hexAlone.MatchString(text) {
		raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
		if err != nil {
			return "", false
		}
		if readable(raw) {
			return "hex of the " + show(raw), true
		}
		return fmt.Sprintf("hex of %d bytes; as base64: %s", len(raw),
			base64.StdEncoding.EncodeToString(raw[:min(len(raw), maxShown)])), true
	}
	if b64Alone.MatchString(text) && (len(text)%4 == 0 || strings.ContainsAny(text, "=")) {
		if raw, err := fromBase64(text); err == nil && readable(raw) {
			return "base64 of the " + show(raw), true
		}
	}
	return "", false
}
