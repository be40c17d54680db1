package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// TestFinishMeansAll is NIP-67. It excludes a "finish" after a limit, also one that
// an event found twice filled, and one that tells of mail for others.
func TestFinishMeansAll(t *testing.T) {
	s := newSite(t)
	p, k := s.dial(t), newKey(t)
	at := time.Now().Add(-time.Hour)
	for i := range 3 {
		p.mustPublish(signedAt(t, k, at.Add(time.Duration(i)*time.Second), 1, fmt.Sprint(i), nostr.Tag{"t", "x"}, nostr.Tag{"t", "y"}))
	}
	p.mustPublish(signed(t, newKey(t), 1059, "x", nostr.Tag{"p", newKey(t).Public().String()}))
	long := `"` + strings.Repeat("z", 8) + `"`
	for filters, finished := range map[string]bool{
		`{"kinds":[1]}`: true, `{"kinds":[1],"limit":4}`: true, `{"kinds":[2]}`: true, `{}`: true,
		`{"kinds":[1],"limit":2}`: false, `{"kinds":[1],"limit":0}`: false,
		`{"kinds":[1]},{"kinds":[1],"limit":1}`:       false,
		`{"#t":["x","y",` + long + `],"limit":3}`:     false,
		`{"#t":["x","y"],"kinds":[1],"limit":50}`:     true,
		`{"kinds":[1],"until":1}`:                     true,
		`{"authors":["` + k.Public().String() + `"]}`: true,
	} {
		p.send(`["REQ","a",` + filters + `]`)
		got := p.read()
		for strings.HasPrefix(got, `["EVENT"`) {
			got = p.read()
		}
		want := `["EOSE","a"]`
		if finished {
			want = `["EOSE","a",["finish"]]`
		}
		if got != want {
			t.Errorf("%s: %s, want %s", filters, got, want)
		}
	}
}
