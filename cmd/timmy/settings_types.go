package main

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Micro is an exact decimal with at most six digits after the point, in
// millionths: USD amounts and prices. Floats never touch money.
type Micro int64

const microDigits = 6

// maxMicro keeps products with token counts within 128 bits and catches slips of
// the keyboard: a billion dollars.
const maxMicro Micro = 1_000_000_000 * 1_000_000

// ParseMicro reads digits with an optional point: "3", "0.25". Signs, exponents
// and a seventh digit are refused.
func ParseMicro(s string) (Micro, error) {
	whole, frac, point := strings.Cut(s, ".")
	if whole == "" || (point && frac == "") || !allDigits(whole) || !allDigits(frac) {
		return 0, errNotDecimal
	}
	if len(frac) > microDigits {
		return 0, fmt.Errorf("%w; %d digits follow the point", errNotDecimal, len(frac))
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", microDigits-len(frac)), 10, 64)
	if err != nil || Micro(n) > maxMicro {
		return 0, fmt.Errorf("want at most %s", maxMicro)
	}
	return Micro(n), nil
}

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// String is the shortest decimal form.
func (m Micro) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	s := fmt.Sprintf("%s%d.%06d", sign, m/1_000_000, m%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// MarshalText is String.
func (m Micro) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMicro.
func (m *Micro) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMicro(string(b))
	return err
}

// Secret is a text that no log, error or dump shows. The pointer keeps it hidden
// from fmt even inside unexported fields.
type Secret struct{ text *string }

// NewSecret wraps s; an empty s is no secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the text, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// String tells only whether it is set.
func (s Secret) String() string {
	if s.IsSet() {
		return "(hidden)"
	}
	return ""
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
