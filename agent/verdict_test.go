package agent

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// TestVerdictIsStrict is bad-inputs 207: a gate that was talked into something
// else does not open.
func TestVerdictIsStrict(t *testing.T) {
	for text, want := range map[string]*timmy.Verdict{
		`{"accepted":true,"reason":""}`:                                {Accepted: true},
		" \n{ \"reason\" : \"\", \"accepted\" : true }\n":              {Accepted: true},
		`{"accepted":false,"reason":"no","abuse":true}`:                {Abuse: true, Reason: "no"},
		`{"accepted":false,"reason":"no","abuse":false}`:               {Reason: "no"},
		`{"accepted":false,"reason":"n\u0000\u001b[31mo"}`:             {Reason: "no"},
		`{"accepted":true,"reason":"","abuse":true}`:                   nil,
		`{"accepted":"true","reason":""}`:                              nil,
		`{"accepted":1,"reason":""}`:                                   nil,
		`{"accepted":null,"reason":""}`:                                nil,
		`{"accepted":true}`:                                            nil,
		`{"reason":"fine"}`:                                            nil,
		`{"Accepted":true,"reason":""}`:                                nil,
		`{"accepted":true,"reason":null}`:                              nil,
		`{"accepted":true,"reason":["a"]}`:                             nil,
		`{"accepted":true,"reason":"","price":0}`:                      nil,
		`{"accepted":false,"reason":"","accepted":true}`:               nil,
		`{"accepted":false,"reason":"a"}{"accepted":true,"reason":""}`: nil,
		`{"accepted":true,"reason":""} Sure, happy to help!`:           nil,
		"```json\n{\"accepted\":true,\"reason\":\"\"}\n```":            nil,
		`[{"accepted":true,"reason":""}]`:                              nil,
		`{"accepted":true,"reason":""`:                                 nil,
		`{"accepted":true,"reason":"`:                                  nil,
		`Sure! {"accepted":true,"reason":""}`:                          nil,
		`true`:                                                         nil,
		`accepté`:                                                      nil,
		``:                                                             nil,
		`{}`:                                                           nil,
		`{"accepted":{"accepted":true},"reason":""}`:                   nil,
	} {
		got, err := parseVerdict(text)
		if (want == nil) != (err != nil) {
			t.Errorf("%s: %+v, %v", text, got, err)
		} else if want != nil && got != *want {
			t.Errorf("%s: %+v, want %+v", text, got, *want)
		}
	}
	long, err := parseVerdict(`{"accepted":false,"reason":"` + strings.Repeat("ñ", 4000) + `"}`)
	if err != nil || len(long.Reason) > maxReason || !utf8.ValidString(long.Reason) {
		t.Errorf("a long reason: %d bytes, %v", len(long.Reason), err)
	}
}

// FuzzParseVerdict holds that a verdict is either refused or whole.
func FuzzParseVerdict(f *testing.F) {
	for _, s := range []string{`{"accepted":true,"reason":""}`, `{"accepted":false,"reason":"x","abuse":true}`, `{`, `[]`, `"`, "\x00", `{"accepted":true,"reason":""}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVerdict(s)
		if err != nil && v != (timmy.Verdict{}) {
			t.Fatalf("%q: refused and yet %+v", s, v)
		}
		if v.Accepted && v.Abuse || len(v.Reason) > maxReason || clean(v.Reason) != v.Reason {
			t.Fatalf("%q: %+v", s, v)
		}
	})
}

// TestSieveHoldsSecretsBack excludes a canary or a secret key that leaves in
// pieces, and whatever a terminal obeys (bad-inputs 206, 208).
func TestSieveHoldsSecretsBack(t *testing.T) {
	const canary = "0123456789abcdef01234567"
	nsec := "nsec1" + strings.Repeat("q", 58)
	filler := strings.Repeat("some words ", 40)
	for name, c := range map[string]struct {
		text string
		want string
		bad  bool
	}{
		"plain":               {"hello", "hello", false},
		"space around":        {"\n\n hello \n", "hello", false},
		"canary":              {filler + canary + filler, "", true},
		"canary in capitals":  {filler + strings.ToUpper(canary), "", true},
		"canary with dashes":  {filler + strings.Join(strings.Split(canary, ""), "-"), "", true},
		"secret key":          {filler + nsec + " " + filler, filler + "[secret key removed] " + strings.TrimSpace(filler), false},
		"secret key at end":   {"key: " + nsec, "key: [secret key removed]", false},
		"colours":             {"a\x1b[31mb\x1b[0mc", "abc", false},
		"title":               {"a\x1b]0;owned\x07b", "ab", false},
		"title without end":   {"a\x1b]0;owned\nb", "a\nb", false},
		"nul, bell, c1":       {"a\x00\x07\u009b31mb\tc\r\nd", "a31mb\tc\nd", false},
		"invalid utf-8":       {"a\xff\xfeb", "a\uFFFDb", false},
		"empty":               {"", "", true},
		"only space":          {" \n\t ", "", true},
		"only controls":       {"\x00\x1b[0m", "", true},
		"one very large line": {strings.Repeat("x", 100_000), strings.Repeat("x", 100_000), false},
		"too large":           {strings.Repeat("x", 300_000), "", true},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			if size == 1 && len(c.text) > 10_000 || size == 7 && len(c.text) > 200_000 {
				continue
			}
			if name == "invalid utf-8" && size == 1 {
				continue // two bad bytes in one piece are one replacement
			}
			var out strings.Builder
			s := newSieve(canary, 200_000, func(p string) { out.WriteString(p) })
			var err error
			for rest := c.text; rest != "" && err == nil; {
				n := min(size, len(rest))
				for n < len(rest) && !utf8.RuneStart(rest[n]) {
					n++ // pieces come from JSON, which has no halves of characters
				}
				err = s.push(rest[:n])
				rest = rest[n:]
			}
			var got string
			if err == nil {
				got, err = s.finish()
			}
			if c.bad != (err != nil) || got != c.want {
				t.Errorf("%s by %d: %.80q, %v", name, size, got, err)
			}
			if strings.Contains(strings.ToLower(out.String()), canary) || strings.Contains(out.String(), nsec) {
				t.Errorf("%s by %d: the secret was streamed", name, size)
			}
			if err == nil && out.String() != got {
				t.Errorf("%s by %d: streamed %.80q", name, size, out.String())
			}
		}
	}
}
