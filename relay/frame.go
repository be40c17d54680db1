package relay

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// What is wrong with a frame, in words for its sender.
var (
	errEmpty     = errors.New("invalid: empty message")
	errText      = errors.New("invalid: not UTF-8")
	errNotArray  = errors.New("invalid: not a JSON array")
	errTrailing  = errors.New("invalid: more than one JSON value")
	errDeep      = errors.New("invalid: nested too deep")
	errDuplicate = errors.New("invalid: duplicate key")
)

// splitFrame reads a frame as one JSON array and returns its items, which are
// slices of b. It is stricter than encoding/json: duplicate keys (of which every
// program believes another one), deep nesting, bytes that are not UTF-8 and a
// second value are refused.
func splitFrame(b []byte) ([]json.RawMessage, error) {
	if len(b) == 0 {
		return nil, errEmpty
	}
	if !utf8.Valid(b) {
		return nil, errText
	}
	s := scanner{b: b}
	s.space()
	if !s.take('[') {
		return nil, errNotArray
	}
	var items []json.RawMessage
	err := s.list(']', func() error {
		from := s.i
		if err := s.value(1); err != nil {
			return err
		}
		items = append(items, b[from:s.i:s.i])
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.space(); s.i != len(b) {
		return nil, errTrailing
	}
	return items, nil
}

// members reads a JSON object that splitFrame has passed.
func members(b []byte) (map[string]json.RawMessage, error) {
	if len(b) == 0 || b[0] != '{' {
		return nil, errNotArray
	}
	var m map[string]json.RawMessage
	err := json.Unmarshal(b, &m)
	return m, err
}

// text reads a JSON string.
func text(b []byte) (string, bool) {
	if len(b) < 2 || b[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

// scanner walks over JSON text once, without building anything.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// list reads what stands between an opening bracket, already taken, and its end.
func (s *scanner) list(end byte, item func() error) error {
	if s.space(); s.take(end) {
		return nil
	}
	for {
		s.space()
		if err := item(); err != nil {
			return err
		}
		s.space()
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return errNotArray
		}
	}
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	if s.i >= len(s.b) {
		return errNotArray
	}
	switch c := s.b[s.i]; {
	case c == '[':
		s.i++
		return s.list(']', func() error { return s.value(depth + 1) })
	case c == '{':
		s.i++
		return s.object(depth)
	case c == '"':
		return s.str()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return nil
		}
	}
	return errNotArray
}

func (s *scanner) object(depth int) error {
	keys := make(map[string]struct{}, 8)
	return s.list('}', func() error {
		from := s.i
		if err := s.str(); err != nil {
			return err
		}
		key, ok := text(s.b[from:s.i])
		if !ok {
			return errNotArray
		}
		if _, known := keys[key]; known {
			return errDuplicate
		}
		keys[key] = struct{}{}
		if s.space(); !s.take(':') {
			return errNotArray
		}
		s.space()
		return s.value(depth + 1)
	})
}

func (s *scanner) str() error {
	if !s.take('"') {
		return errNotArray
	}
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return nil
		case c < 0x20:
			return errNotArray
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return errNotArray
}

func (s *scanner) escape() error {
	if s.i >= len(s.b) {
		return errNotArray
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			if s.i >= len(s.b) || !isHex(s.b[s.i]) {
				return errNotArray
			}
			s.i++
		}
		return nil
	}
	return errNotArray
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return errNotArray
	}
	if s.take('.') && !s.digits() {
		return errNotArray
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return errNotArray
		}
	}
	return nil
}
