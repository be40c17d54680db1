package main

import (
	"strings"
	"testing"
)

// A decimal that is rounded, or read with an exponent, is a wrong price.
func TestDecimalsAreExact(t *testing.T) {
	for s, want := range map[string]Micro{
		"0": 0, "3": 3_000_000, "0.25": 250_000, "0.000001": 1, "1000000000": maxMicro, "007.5": 7_500_000,
	} {
		got, err := ParseMicro(s)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "1,5", "1_000", " 1", "1000000000.1", "0x1", "NaN", "٣", "99999999999999999999"} {
		if got, err := ParseMicro(s); err == nil {
			t.Errorf("%q: accepted as %d", s, got)
		}
	}
}

// What is printed can be read back, whatever was typed.
func FuzzParseMicro(f *testing.F) {
	for _, s := range []string{"0.25", "1000000000", "1e3", "0.0000001", "-0", "1.10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMicro(s)
		if err != nil {
			return
		}
		again, err := ParseMicro(m.String())
		if err != nil || again != m || m < 0 || m > maxMicro || strings.HasSuffix(m.String(), ".") {
			t.Errorf("%q is %d, printed %s, read %d (%v)", s, m, m, again, err)
		}
	})
}
