package wallet

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// markOpen begins our mark at the end of a memo, where a backend has no better
// place for a reference: "Timmy: deposit (timmy:4f1c…)".
const markOpen = "(timmy:"

// labelPrefix begins a label or an external id of ours.
const labelPrefix = "timmy-"

// marked is the memo with the reference at its end.
func marked(text, ref string) string {
	mark := " " + markOpen + ref + ")"
	return cut(memo(text), maxMemo-len(mark)) + mark
}

// refOf finds the reference again; false: the invoice is somebody else's.
func refOf(text string) (string, bool) {
	i := strings.LastIndex(text, markOpen)
	if i < 0 || !strings.HasSuffix(text, ")") {
		return "", false
	}
	ref := text[i+len(markOpen) : len(text)-1]
	return ref, ours(ref)
}

// ours: not an invoice that only tried the wallet out.
func ours(ref string) bool { return len(ref) <= maxRef && !strings.HasPrefix(ref, ProbeRef) }

// labelled is the reference as a label; unlabelled reads it.
func labelled(ref string) string { return labelPrefix + ref }

func unlabelled(label string) (string, bool) {
	ref, labelled := strings.CutPrefix(label, labelPrefix)
	return ref, labelled && ours(ref)
}

// cut shortens valid text to at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:max(0, n)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// proves says whether the preimage is the payment's.
func proves(preimage []byte, h timmy.Hash) bool {
	return len(preimage) == 32 && sha256.Sum256(preimage) == h
}

// prove keeps the preimage of a settled payment, or says that it lacks one that
// fits: a node that settles knows it.
func prove(p *timmy.Payment, preimage []byte) {
	if p.Unproven = !proves(preimage, p.Hash); !p.Unproven {
		p.Preimage = [32]byte(preimage)
	}
}

// plausible is a settlement date, or now where the backend's cannot be.
func plausible(at, now time.Time) time.Time {
	if at.After(now) || now.Sub(at) > 366*24*time.Hour {
		return now.UTC()
	}
	return at.UTC()
}

// number is an integer, as JSON has it or as the text that protobuf makes of 64
// bits; Core Lightning used to write "123msat".
func (v loose) number() (int64, bool) {
	if n, ok := v.integer(); ok {
		return n, true
	}
	return loose(bytes.TrimSpace([]byte(strings.TrimSuffix(v.text(), "msat")))).integer()
}

// amount is what was received, or 0 for what cannot be: the ledger quarantines
// that.
func (v loose) amount() timmy.Msat {
	n, ok := v.number()
	if !ok || n <= 0 || n > int64(timmy.MaxMsat) {
		return 0
	}
	return timmy.Msat(n)
}
