package nip

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Split cuts a text into the parts that one message can carry, each with its
// number ("(1/3) …") if there is more than one. It cuts at a line, else at a
// word, else between two runes. No part is empty; an empty text is no part.
func Split(text string) []string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	if text == "" {
		return nil
	}
	if escapedLen(text) <= MaxPart {
		return []string{text}
	}
	const room = MaxPart - len("(99999/99999) ")
	var parts []string
	for text != "" {
		n := fitting(text, room)
		if n < len(text) {
			n = boundary(text, n)
		}
		if part := strings.TrimRight(text[:n], " \n"); part != "" {
			parts = append(parts, part)
		}
		text = strings.TrimLeft(text[n:], "\n")
	}
	for i, p := range parts {
		parts[i] = fmt.Sprintf("(%d/%d) %s", i+1, len(parts), p)
	}
	return parts
}

// fitting is how many bytes of text are at most room bytes of escaped JSON.
func fitting(text string, room int) int {
	used := 0
	for i, r := range text {
		if used += escapedRune(r); used > room {
			return i
		}
	}
	return len(text)
}

// boundary moves a cut back to the end of a line or a word, unless that would
// throw away more than half of the part.
func boundary(text string, n int) int {
	if i := strings.LastIndexByte(text[:n], '\n'); i > n/2 {
		return i + 1
	}
	if i := strings.LastIndexByte(text[:n], ' '); i > n/2 {
		return i + 1
	}
	return n
}

func escapedLen(text string) (n int) {
	for _, r := range text {
		n += escapedRune(r)
	}
	return n
}

// escapedRune is what a rune may take in JSON at most, whichever encoder writes
// it.
func escapedRune(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t':
		return 2
	case r < 0x20 || r == 0x7f || r == '\u2028' || r == '\u2029':
		return 6
	}
	return utf8.RuneLen(r)
}
