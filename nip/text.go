package nip

import (
	"strings"
	"unicode/utf8"

	"github.com/nbd-wtf/go-nostr"
)

func lower(s string) string { return strings.ToLower(s) }

// cut shortens s to at most n bytes, at a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// all returns the values of the tags of that name; one without a value counts
// as empty.
func all(tags nostr.Tags, name string) []string {
	var out []string
	for _, t := range tags {
		if len(t) > 0 && t[0] == name {
			if len(t) > 1 {
				out = append(out, t[1])
			} else {
				out = append(out, "")
			}
		}
	}
	return out
}

// only returns the value of the one tag of that name; ok is false when there is
// none or more than one.
func only(tags nostr.Tags, name string) (v string, ok bool) {
	vs := all(tags, name)
	if len(vs) != 1 {
		return "", false
	}
	return vs[0], true
}

// first returns the value of the first tag of that name, or "".
func first(tags nostr.Tags, name string) string {
	if vs := all(tags, name); len(vs) > 0 {
		return vs[0]
	}
	return ""
}
