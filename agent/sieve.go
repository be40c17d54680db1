package agent

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// secretKey is a Nostr secret key (NIP-19): whoever it belongs to, it must not be
// published by us.
var secretKey = regexp.MustCompile(`(?i)nsec1[02-9ac-hj-np-z]{58}`)

// cleaner drops what is no text from a stream of pieces: control characters,
// terminal escape sequences, invalid UTF-8. Its zero value is ready.
type cleaner struct{ state escape }

// escape is where in a terminal escape sequence a cleaner is.
type escape byte

const (
	escNone    escape = iota
	escStart          // after ESC
	escControl        // after ESC [, until a letter
	escString         // after ESC ] and the like, until BEL, ESC \ or the line's end
	escFinish         // an ESC inside that string
)

// clean keeps the text of one piece.
func (c *cleaner) clean(piece string) string {
	var b strings.Builder
	b.Grow(len(piece))
	for _, r := range strings.ToValidUTF8(piece, "\uFFFD") {
		if c.keeps(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// keeps moves the state on and says whether the character is text.
func (c *cleaner) keeps(r rune) bool {
	switch c.state {
	case escStart:
		c.state = escNone
		switch r {
		case '[':
			c.state = escControl
		case ']', 'P', 'X', '^', '_':
			c.state = escString
		}
		return false
	case escControl:
		if r < 0x20 || r >= 0x40 {
			c.state = escNone
		}
		return r == '\n'
	case escFinish:
		c.state = escNone
		return false
	case escString:
		switch r {
		case 0x1b:
			c.state = escFinish
		case 0x07, '\n':
			c.state = escNone
		}
		return r == '\n'
	}
	if r == 0x1b {
		c.state = escStart
		return false
	}
	return r == '\n' || r == '\t' || !unicode.IsControl(r)
}

// clean is a whole text without control characters and escape sequences.
func clean(s string) string {
	var c cleaner
	return c.clean(s)
}

// sieve takes an answer in pieces and lets out what may be seen: cleaned, secret
// keys cut out, and nothing any more once the canary shows. It keeps the last
// [holdBack] bytes back, for a secret may come in pieces.
type sieve struct {
	canary string
	most   int
	delta  func(string)
	cleaner
	out  strings.Builder
	held string
}

func newSieve(canary string, most int, delta func(string)) *sieve {
	if delta == nil {
		delta = func(string) {}
	}
	return &sieve{canary: canary, most: most, delta: delta}
}

// push takes a piece.
func (s *sieve) push(piece string) error {
	if piece == "" {
		return nil
	}
	s.held += s.clean(piece)
	if strings.Contains(strings.ToLower(s.held), s.canary) {
		return fmt.Errorf("%w: it holds the canary", errUnusable)
	}
	s.held = secretKey.ReplaceAllString(s.held, "[secret key removed]")
	if s.out.Len()+len(s.held) > s.most {
		return errLarge
	}
	if cut := len(s.held) - holdBack; cut > 0 {
		for cut > 0 && s.held[cut]&0xC0 == 0x80 { // not inside a character
			cut--
		}
		s.emit(cut)
	}
	return nil
}

// emit lets the first bytes of what is held out.
func (s *sieve) emit(n int) {
	piece := s.held[:n]
	s.held = s.held[n:]
	if s.out.Len() == 0 {
		piece = strings.TrimLeftFunc(piece, unicode.IsSpace)
	}
	if piece == "" {
		return
	}
	s.out.WriteString(piece)
	s.delta(piece)
}

// finish lets the rest out and returns the whole. An answer of nothing but space
// is none, and one that spells the canary out is not let out as an answer.
func (s *sieve) finish() (string, error) {
	s.held = strings.TrimRightFunc(s.held, unicode.IsSpace)
	if spells(s.out.String()+s.held, s.canary) {
		return "", fmt.Errorf("%w: it spells the canary", errUnusable)
	}
	s.emit(len(s.held))
	text := strings.TrimRightFunc(s.out.String(), unicode.IsSpace)
	if text == "" {
		return "", fmt.Errorf("%w: it is empty", errUnusable)
	}
	return text, nil
}

// leaks reports whether a text gives the canary away.
func (m *OpenAI) leaks(text string) bool { return spells(text, m.canary) }

// spells finds the canary also with spaces, dashes or capitals in it.
func spells(text, canary string) bool {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
	return strings.Contains(letters, canary)
}
