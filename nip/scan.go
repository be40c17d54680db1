package nip

import (
	"encoding/json"
	"errors"
	"strconv"
)

var errSyntax = errors.New("not JSON")

// scanner reads JSON strictly, one value after the other. encoding/json alone
// will not do: it lets duplicate keys win silently, matches names whatever
// their case, and takes 1e3 for an integer.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// take consumes c, if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// end reports whether nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// quoted finds the string that is next and reports whether it has escapes.
func (s *scanner) quoted() (raw []byte, escaped bool, err error) {
	if !s.take('"') {
		return nil, false, errSyntax
	}
	start := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1], escaped, nil
		case c == '\\':
			escaped = true
			s.i++
		case c < 0x20:
			return nil, false, errSyntax
		}
	}
	return nil, false, errSyntax
}

func (s *scanner) str() (string, error) {
	raw, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if !escaped {
		return string(raw), nil
	}
	var out string
	if json.Unmarshal(s.b[s.i-len(raw)-2:s.i], &out) != nil {
		return "", errSyntax
	}
	return out, nil
}

// integer reads digits only: no sign, fraction, exponent or leading zero.
func (s *scanner) integer() (int64, error) {
	s.space()
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	digits := s.b[start:s.i]
	if len(digits) == 0 || (len(digits) > 1 && digits[0] == '0') {
		return 0, errSyntax
	}
	if s.i < len(s.b) {
		switch s.b[s.i] {
		case '.', 'e', 'E':
			return 0, errSyntax
		}
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, errSyntax
	}
	return n, nil
}

// skip passes over one value of any type.
func (s *scanner) skip() error {
	s.space()
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			if _, _, err := s.quoted(); err != nil {
				return err
			}
		case '{', '[':
			if depth++; depth > maxFieldDepth {
				return errSyntax
			}
			s.i++
		case '}', ']':
			if depth == 0 {
				return s.valid(start)
			}
			depth--
			s.i++
		case ',':
			if depth == 0 {
				return s.valid(start)
			}
			s.i++
		default:
			s.i++
		}
	}
	return s.valid(start)
}

func (s *scanner) valid(start int) error {
	if !json.Valid(s.b[start:s.i]) {
		return errSyntax
	}
	return nil
}
