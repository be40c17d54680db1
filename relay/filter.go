package relay

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"github.com/nbd-wtf/go-nostr"
)

var (
	errFilter  = errors.New("invalid: filter must be an object")
	errUnknown = errors.New("unsupported: filter contains unknown elements")
	errSearch  = errors.New("unsupported: search")
	errMany    = errors.New("invalid: too many values")
)

// parseFilter reads one filter of a REQ (NIP-01). What it does not know it
// refuses: a filter that is half understood would answer with events that were
// not asked for. The limit is cut to [maxLimit]; none means [defaultLimit].
func parseFilter(raw []byte) (f nostr.Filter, err error) {
	m, err := members(raw)
	if err != nil {
		return f, errFilter
	}
	f.Limit = defaultLimit
	for key, v := range m {
		if err := parseMember(&f, key, v); err != nil {
			return f, err
		}
	}
	return f, nil
}

func parseMember(f *nostr.Filter, key string, v json.RawMessage) (err error) {
	switch key {
	case "ids":
		f.IDs, err = hexList(key, v, maxIDs)
	case "authors":
		f.Authors, err = hexList(key, v, maxIDs)
	case "kinds":
		f.Kinds, err = kindList(v)
	case "since":
		f.Since, err = timestamp(key, v)
	case "until":
		f.Until, err = timestamp(key, v)
	case "limit":
		f.Limit, err = limit(v)
		f.LimitZero = f.Limit == 0
	case "search":
		return errSearch
	default:
		return parseTagMember(f, key, v)
	}
	return err
}

func parseTagMember(f *nostr.Filter, key string, v json.RawMessage) error {
	if len(key) != 2 || key[0] != '#' || !letter(key[1]) {
		return errUnknown
	}
	var values []string
	var err error
	if key == "#e" || key == "#p" {
		values, err = hexList(key, v, maxTagValues)
	} else {
		values, err = stringList(key, v, maxTagValues)
	}
	if err != nil {
		return err
	}
	if f.Tags == nil {
		f.Tags = nostr.TagMap{}
	}
	if len(f.Tags) == maxTagNames {
		return errMany
	}
	f.Tags[key[1:]] = values
	return nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func stringList(key string, v json.RawMessage, most int) ([]string, error) {
	var raw []json.RawMessage
	if len(v) == 0 || v[0] != '[' || json.Unmarshal(v, &raw) != nil {
		return nil, errors.New("invalid: " + key + " must be a list")
	}
	if len(raw) > most {
		return nil, errMany
	}
	list := make([]string, 0, len(raw))
	for _, r := range raw {
		s, ok := text(r)
		if !ok || len(s) > maxTagItem {
			return nil, errors.New("invalid: " + key + " must be a list of strings")
		}
		list = append(list, s)
	}
	return list, nil
}

func hexList(key string, v json.RawMessage, most int) ([]string, error) {
	list, err := stringList(key, v, most)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if !hex64(s) {
			return nil, errors.New("invalid: " + key + " must be 64 lower-case hex digits")
		}
	}
	return list, nil
}

func hex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

func kindList(v json.RawMessage) ([]int, error) {
	var raw []json.RawMessage
	if len(v) == 0 || v[0] != '[' || json.Unmarshal(v, &raw) != nil {
		return nil, errors.New("invalid: kinds must be a list")
	}
	if len(raw) > maxKinds {
		return nil, errMany
	}
	list := make([]int, 0, len(raw))
	for _, r := range raw {
		k, err := strconv.ParseUint(string(r), 10, 16)
		if err != nil {
			return nil, errors.New("invalid: kinds must be numbers from 0 to 65535")
		}
		list = append(list, int(k))
	}
	return list, nil
}

func timestamp(key string, v json.RawMessage) (*nostr.Timestamp, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		return nil, errors.New("invalid: " + key + " must be a unix time in seconds")
	}
	t := nostr.Timestamp(n)
	return &t, nil
}

// limit takes 1e9 as well: it is a number without a fraction, if a strange one.
func limit(v json.RawMessage) (int, error) {
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil && !math.IsInf(n, 1) || n < 0 || !math.IsInf(n, 1) && n != math.Trunc(n) {
		return 0, errors.New("invalid: limit must be a number of events")
	}
	return int(min(n, maxLimit)), nil
}

// nothing reports whether no event can match: an empty list matches nothing
// (NIP-01), and neither does a window that ends before it begins.
func nothing(f nostr.Filter) bool {
	if f.IDs != nil && len(f.IDs) == 0 || f.Authors != nil && len(f.Authors) == 0 || f.Kinds != nil && len(f.Kinds) == 0 {
		return true
	}
	for _, values := range f.Tags {
		if len(values) == 0 {
			return true
		}
	}
	return f.Since != nil && f.Until != nil && *f.Since > *f.Until
}

// size is how many values a filter holds.
func size(f nostr.Filter) int {
	n := 1 + len(f.IDs) + len(f.Authors) + len(f.Kinds)
	for _, values := range f.Tags {
		n += len(values)
	}
	return n
}

// matches is filter.Matches, except that an empty list matches nothing and that
// only the first value of a single-letter tag counts.
func matches(f nostr.Filter, ev *nostr.Event) bool {
	return !nothing(f) && f.Matches(ev)
}
