package relay

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
)

// FuzzSplitFrame: what passes is JSON, the items are its items, and whatever
// encoding/json refuses is refused too.
func FuzzSplitFrame(f *testing.F) {
	for _, s := range []string{
		"", "[]", "[", `["EVENT",{"a":[1,2.5e-3,null,true,false,"\u00e9\\\""]}]`, `[01]`, `[1.]`, `[-]`, `[1e]`,
		`["\ud800"]`, `["\x"]`, "[\"\n\"]", `[1,]`, `[,1]`, `{"a":1}`, `[{"a":1,"\u0061":2}]`, `[nul]`, ` [ 1 , { } ] `, `[1][2]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := splitFrame(b)
		if err != nil {
			return
		}
		if !utf8.Valid(b) || !json.Valid(b) {
			t.Fatalf("%q passed", b)
		}
		var want []json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil || len(want) != len(items) {
			t.Fatalf("%q: %d items, want %d (%v)", b, len(items), len(want), err)
		}
		for i := range want {
			if string(want[i]) != string(items[i]) {
				t.Fatalf("%q: item %d is %q, want %q", b, i, items[i], want[i])
			}
		}
	})
}

// FuzzFilter: a filter that passes keeps the limits and means the same to
// go-nostr.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"kinds":[1,2],"limit":5,"#t":["x"],"since":1,"until":2}`, `{"limit":0}`, `{"limit":1e400}`, `{"limit":-0}`,
		`{"limit":0.5}`, `{"#e":["a"]}`, `{"search":"x"}`, `{"ids":null}`, `{"kinds":{}}`, `null`, `[]`, `{"#tt":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := splitFrame([]byte("[" + string(b) + "]")); err != nil {
			return
		}
		got, err := parseFilter(b)
		if err != nil {
			return
		}
		if got.Limit < 0 || got.Limit > maxLimit || len(got.IDs) > maxIDs || len(got.Kinds) > maxKinds || len(got.Tags) > maxTagNames {
			t.Fatalf("%s: %+v", b, got)
		}
		var want nostr.Filter
		if json.Unmarshal(b, &want) != nil {
			return
		}
		want.Limit, want.LimitZero = got.Limit, got.LimitZero
		if !nothing(got) && !nostr.FilterEqual(got, want) {
			t.Fatalf("%s: %v, go-nostr reads %v", b, got, want)
		}
		scans(got, reader{strict: true, keys: []string{"aa"}}, 0, db.SQLite)
		entries(got)
	})
}

// TestGlanceNeverInvents: the id that answers a frame in excess is one that was
// sent.
func TestGlanceNeverInvents(t *testing.T) {
	ev := signed(t, newKey(t), 1, "x")
	if got := glance([]byte(frame(t, "EVENT", ev))); got != ev.ID {
		t.Fatalf("%q", got)
	}
	for _, s := range []string{"", `["EVENT",`, `["EVENT",{"id":"` + ev.ID[:63] + `"}]`, `["REQ","a",{"id":"` + ev.ID + `"}]`} {
		if got := glance([]byte(s)); got != "" {
			t.Errorf("%s: %q", s, got)
		}
	}
}
