package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Why a body is refused.
var (
	errNotObject = errors.New("body must be a JSON object")
	errDuplicate = errors.New("body has a field twice")
	errDeep      = errors.New("body is nested too deeply")
)

// object is a JSON object with exact field names.
type object map[string]json.RawMessage

// str is the field as a string, if it is one.
func (o object) str(name string) (string, bool) {
	raw := o[name]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// read takes in the body. Compressed bodies are refused, for 64 KiB of gzip can
// be 64 MiB of text.
func (c *call) read() ([]byte, *answer) {
	if e := c.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, c.unread(http.StatusUnsupportedMediaType, "Content-Encoding is not supported")
	}
	if c.ContentLength > maxBody {
		return nil, c.unread(http.StatusRequestEntityTooLarge, "request body too large")
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	if err == nil {
		// All is here: the guard's deadline would only cancel the call when it passes.
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
		return b, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, c.unread(http.StatusRequestEntityTooLarge, "request body too large")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, c.unread(http.StatusRequestTimeout, "request body came too slowly")
	}
	return nil, c.unread(http.StatusBadRequest, "request body could not be read")
}

// unread refuses a body that was not read to its end. The connection is closed:
// net/http would read the rest before it answers.
func (c *call) unread(status int, message string) *answer {
	c.w.Header().Set("Connection", "close")
	return no(status, message)
}

// object takes in the body and parses it; what is no object at all gets the
// route's documented text. The content type does not matter if it parses.
func (c *call) object(documented string) (object, []byte, *answer) {
	raw, bad := c.read()
	if bad != nil {
		return nil, nil, bad
	}
	o, err := parseObject(raw)
	switch {
	case errors.Is(err, errNotObject):
		return nil, nil, no(http.StatusBadRequest, documented)
	case err != nil:
		return nil, nil, no(http.StatusBadRequest, err.Error())
	}
	return o, raw, nil
}

func no(status int, message string) *answer {
	a := refuse(status, message)
	return &a
}

// parseObject reads a JSON object strictly: valid UTF-8, no field twice at any
// depth, at most maxDepth levels, nothing behind it.
func parseObject(raw []byte) (object, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errNotObject
	}
	fields, flat := flatFields(raw)
	if !flat {
		if err := checkShape(raw); err != nil {
			return nil, err
		}
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		return nil, errNotObject
	}
	if flat && len(o) != fields {
		return nil, errDuplicate
	}
	return o, nil
}

// flatFields counts the fields of valid JSON in which nothing is nested, as in nearly all
// bodies: those have no depth, and a field twice if the map has fewer. To walk their tokens
// took a twentieth of a request.
func flatFields(raw []byte) (n int, flat bool) {
	inString, opened := false, 0
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			opened++
		case c == ':':
			n++
		}
	}
	return n, opened == 1
}

// checkShape walks valid JSON for depth and duplicate fields.
func checkShape(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	type level struct {
		fields map[string]bool // nil in an array
		key    bool            // the next token is a field's name
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errNotObject
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if top != nil && top.fields != nil {
			if name, ok := tok.(string); ok && top.key {
				if top.fields[name] {
					return errDuplicate
				}
				top.fields[name], top.key = true, false
				continue
			}
			top.key = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{fields: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, level{})
		}
		if len(stack) > maxDepth {
			return errDeep
		}
	}
}

// amount reads an integer-valued JSON number (500, 500.0, 5e2) or a string of
// digits. "500abc" and 500.9, which parseInt took, are refused: the documented
// error says integer, and money should not be guessed.
func amount(raw json.RawMessage) (int64, bool) {
	s := string(raw)
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
		if s == "" || strings.Trim(s, "0123456789") != "" {
			return 0, false
		}
	}
	return integer(s)
}

// integer is the value of a JSON number if it is a non-negative integer of at
// most maxDigits digits. Decimal all the way: a float would round.
func integer(s string) (int64, bool) {
	mantissa, exponent, hasExp := strings.Cut(strings.ToLower(s), "e")
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	shift := -len(frac)
	if hasExp {
		e, err := strconv.Atoi(exponent)
		if err != nil || e > maxBody || e < -maxBody {
			return 0, false
		}
		shift += e
	}
	trimmed := strings.TrimRight(digits, "0")
	shift += len(digits) - len(trimmed)
	if shift < 0 || len(trimmed)+shift > maxDigits {
		return 0, false
	}
	n, err := strconv.ParseInt(trimmed+strings.Repeat("0", shift), 10, 64)
	return n, err == nil
}

// requestText reads the documented field: a string that is not blank.
func requestText(o object) (string, *answer) {
	s, ok := o.str("request")
	if s = strings.TrimFunc(s, blank); !ok || s == "" {
		return "", no(http.StatusBadRequest, msgText)
	}
	if len(s) > maxText {
		return "", no(http.StatusRequestEntityTooLarge, "request too long")
	}
	if strings.ContainsRune(s, 0) {
		return "", no(http.StatusBadRequest, "request must not hold a NUL character")
	}
	return s, nil
}

// blank is what JavaScript trims: white space and the byte order mark.
func blank(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }
