package nip

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

func eventFor(tb testing.TB, k Key, kind int, to timmy.PubKey) *nostr.Event {
	tb.Helper()
	ev := &nostr.Event{Kind: kind, CreatedAt: nostr.Timestamp(noon.Unix()), Tags: nostr.Tags{{"p", to.String()}}, Content: "hi"}
	if err := k.Sign(ev); err != nil {
		tb.Fatal(err)
	}
	return ev
}

// Excludes: hashing other bytes than those that were signed.
func TestEventsSurviveTheRoundTrip(t *testing.T) {
	k := testKey(t, 1)
	for _, content := range []string{
		"", "plain", "\x00\x01\x1f\x7f\u0080\u2028\u2029", `"\/`, "\b\f\n\r\t", "🏳️‍🌈 \u200b", "</script>&<>", strings.Repeat("é", MaxContent/2),
	} {
		ev := &nostr.Event{Kind: 1, CreatedAt: 1, Content: content, Tags: nostr.Tags{{"t", content[:min(len(content)/2*2, 1000)]}, {"-"}, {"encrypted"}}}
		if err := k.Sign(ev); err != nil {
			t.Fatal(err)
		}
		got, err := ParseEvent([]byte(ev.String()))
		if err != nil {
			t.Fatalf("%.20q: %v", content, err)
		}
		if err := Verify(got); err != nil || got.Content != content || fmt.Sprint(got.Tags) != fmt.Sprint(ev.Tags) {
			t.Errorf("%.20q: %v", content, err)
		}
	}
}

// Excludes: rows 52 to 64 of the bad inputs.
func TestMalformedEventsAreRefused(t *testing.T) {
	k := testKey(t, 1)
	ev := eventFor(t, k, 1, k.Public())
	good := ev.String()
	with := func(old, new string) string {
		out := strings.Replace(good, old, new, 1)
		if out == good {
			t.Fatalf("nothing to replace: %s", old)
		}
		return out
	}
	tags := `[["p","` + k.Public().String() + `"]]`
	created := fmt.Sprint(`"created_at":`, ev.CreatedAt)
	for raw, want := range map[string]string{
		with(ev.ID, strings.ToUpper(ev.ID)):                                  "invalid: id",
		with(ev.ID, ev.ID[:63]):                                              "invalid: id",
		with(ev.ID, ev.ID+"0"):                                               "invalid: id",
		with(`"id":"`+ev.ID+`",`, ""):                                        "invalid: id",
		with(`"id":"`+ev.ID+`"`, `"id":7`):                                   "invalid: id",
		with(`"`+ev.PubKey+`","c`, `"`+strings.ToUpper(ev.PubKey)+`","c`):    "invalid: pubkey must be lower-case hex",
		with(`"`+ev.Sig, `"`+strings.ToUpper(ev.Sig)):                        "invalid: sig must be lower-case hex",
		with(`"kind":1`, `"kind":-1`):                                        "invalid: kind",
		with(`"kind":1`, `"kind":65536`):                                     "invalid: kind",
		with(`"kind":1`, `"kind":66595`):                                     "invalid: kind",
		with(`"kind":1`, `"kind":1e3`):                                       "invalid: kind",
		with(`"kind":1`, `"kind":1.0`):                                       "invalid: kind",
		with(`"kind":1`, `"kind":01`):                                        "invalid: ",
		with(`"kind":1`, `"kind":"1"`):                                       "invalid: kind",
		with(`"kind":1`, `"kind":null`):                                      "invalid: kind",
		with(`"kind":1`, `"kind":99999999999999999999999`):                   "invalid: kind",
		with(created, `"created_at":-1`):                                     "invalid: created_at",
		with(created, `"created_at":0`):                                      "invalid: created_at",
		with(created, `"created_at":4294967297`):                             "invalid: created_at",
		with(created, `"created_at":9223372036854775808`):                    "invalid: created_at",
		with(created, `"created_at":1.5`):                                    "invalid: created_at",
		with(`"tags":`+tags+`,`, ""):                                         "invalid: tag",
		with(tags, `null`):                                                   "invalid: tag",
		with(tags, `{}`):                                                     "invalid: tag",
		with(tags, `[null]`):                                                 "invalid: tag",
		with(tags, `[[]]`):                                                   "invalid: tag",
		with(tags, `[[1]]`):                                                  "invalid: tag",
		with(tags, `[["d"]]`):                                                "invalid: tag",
		with(tags, `[["p"]]`):                                                "invalid: tag",
		with(tags, `[["p",null]]`):                                           "invalid: tag",
		with(tags, `[["p",["x"]]]`):                                          "invalid: tag",
		with(tags, `[["p","`+strings.Repeat("x", MaxTagItem+1)+`"]]`):        "invalid: tag too long",
		with(tags, `[`+strings.Repeat(`["t","x"],`, MaxTags)+`["t","x"]]`):   "invalid: too many tags",
		with(`"content":"hi"`, `"content":"`+strings.Repeat("x", 65537)+`"`): "invalid: content too long",
		with(`"content":"hi"`, `"content":5`):                                "invalid: content",
		with(`"content":"hi"`, "\"content\":\"h\xff\""):                      "invalid: not UTF-8",
		with(`"content":"hi"`, "\"content\":\"h\ni\""):                       "invalid: not a JSON event",
		with(`"content":"hi"`, `"content":"h\x"`):                            "invalid: not a JSON event",
		with(`"content":"hi"`, `"content":"hi","content":"ho"`):              "invalid: duplicate field",
		with(`"content":"hi"`, `"content":"hi","\u0063ontent":"ho"`):         "invalid: duplicate field",
		with(`"kind":1`, `"kind":1,"x":1,"x":2`):                             "invalid: duplicate field",
		with(`"kind":1`, `"kind":1,"x":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]`): "invalid: not a JSON event",
		good + good:               "invalid: more than one JSON value",
		good[:len(good)-1]:        "invalid: not a JSON event",
		good[:len(good)-1] + ",}": "invalid: not a JSON event",
		"":                        "invalid: not a JSON event",
		"null":                    "invalid: not a JSON event",
		"[]":                      "invalid: not a JSON event",
		"{}":                      "invalid: id",
	} {
		_, err := ParseEvent([]byte(raw))
		m, ok := errors.AsType[*Malformed](err)
		if !ok || !strings.HasPrefix(m.Reason, want) {
			t.Errorf("%.300s\n\tgot %v, want %s", raw, err, want)
		}
	}
	if _, err := ParseEvent([]byte(with(tags, `{}`))); err.(*Malformed).ID != ev.ID {
		t.Error("the id was not found for the answer")
	}
	// field 64: an unknown field is dropped, whatever its type
	got, err := ParseEvent([]byte(with(`"kind":1`, `"kind":1,"extra":{"a":[1,null,"}"]},"y":-1.5e3`)))
	if err != nil || Verify(got) != nil {
		t.Errorf("unknown field: %v", err)
	}
}

// Excludes: a valid signature under somebody else's id, which lets one signed
// request be delivered under many.
func TestVerifyChecksIDAndSignature(t *testing.T) {
	k, other := testKey(t, 1), testKey(t, 2)
	for want, fault := range map[error]func(*nostr.Event){
		nil:          func(*nostr.Event) {},
		ErrID:        func(e *nostr.Event) { e.ID = strings.Repeat("0", 64) },
		ErrSignature: func(e *nostr.Event) { e.PubKey = other.Public().String(); e.ID = e.GetID() },
	} {
		ev := eventFor(t, k, 1, other.Public())
		fault(ev)
		if err := Verify(ev); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	for want, fault := range map[string]func(*nostr.Event){
		"invalid: pubkey":                        func(e *nostr.Event) { e.PubKey = strings.Repeat("f", 64); e.ID = e.GetID() },
		"invalid: id":                            func(e *nostr.Event) { e.ID = "" },
		"invalid: id does not match":             func(e *nostr.Event) { e.Content += " " },
		"invalid: pubkey must be lower-case hex": func(e *nostr.Event) { e.PubKey = strings.ToUpper(e.PubKey) },
		"invalid: sig must be lower-case hex":    func(e *nostr.Event) { e.Sig += "00" },
		"invalid: bad signature":                 func(e *nostr.Event) { e.Sig = strings.Repeat("0", 128) },
	} {
		ev := eventFor(t, k, 1, other.Public())
		fault(ev)
		if err := Verify(ev); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	k := testKey(f, 1)
	f.Add([]byte(eventFor(f, k, 1, k.Public()).String()))
	f.Add([]byte(`{"id":"","tags":[["a","\ud800"]],"x":{"y":[1,2]}}`))
	f.Add([]byte(`{"content":"\`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := ParseEvent(raw)
		if err != nil {
			if _, ok := errors.AsType[*Malformed](err); !ok {
				t.Errorf("foreign error %v", err)
			}
			return
		}
		again, err := ParseEvent([]byte(ev.String()))
		if err != nil || again.GetID() != ev.GetID() {
			t.Errorf("what was read cannot be written: %v", err)
		}
		_ = Verify(ev)
	})
}
