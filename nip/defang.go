package nip

import (
	"regexp"
	"strings"
	"unicode"
)

// payable matches the beginnings of what clients turn into a card that pays with
// one touch: BOLT 11 and 12, LNURL, Cashu, CLINK. It takes no character beyond,
// or "lnbclnbc1…" would hide the second behind the first.
var payable = regexp.MustCompile(`(?i)lnbc|lntb|lnsb|lnurl1|lno1|lni1|lnr1|cashu[ab]|creq[ab]|noffer1|ndebit1`)

// links matches the schemes that open a wallet.
var links = regexp.MustCompile(`(?i)(lightning|bitcoin|lnurlp|lnurlw|lnurlc|keyauth|cashu):`)

// ansi matches the escape sequences of terminals.
var ansi = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-_])")

// Defang makes a model's text harmless for those who read it: a zero-width space
// breaks whatever looks like an invoice, so that nobody who talked the model into
// writing one gets a payable card into our chat; control characters, terminal
// sequences and marks that turn the direction of writing go. Our own invoices
// are added after this.
func Defang(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	text = strings.Map(printable, ansi.ReplaceAllString(text, ""))
	text = links.ReplaceAllString(text, "$1\u200b:")
	return payable.ReplaceAllStringFunc(text, func(s string) string { return s[:2] + "\u200b" + s[2:] })
}

func printable(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r):
		return -1
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\ufeff':
		return -1
	}
	return r
}
