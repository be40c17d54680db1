package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// eose sends a REQ and returns the EOSE after its events.
func (p *peer) eose(filters string) string {
	p.t.Helper()
	p.send(`["REQ","a",` + filters + `]`)
	got := p.read()
	for strings.HasPrefix(got, `["EVENT"`) {
		got = p.read()
	}
	return got
}

// TestTheHintCorrectsWhatIsUsuallyRead is NIP-67: fewer events than were asked for, or than
// the relay's limits, are all there are. It excludes a hint where that is right, for strict clients
// cannot read one; and an answer that is whole, or cut, without its hint where it is not.
func TestTheHintCorrectsWhatIsUsuallyRead(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond = 1_000_000 })
	p, k := s.dial(t), newKey(t)
	at := time.Now().Add(-time.Hour)
	for i := range maxLimit {
		p.mustPublish(signedAt(t, k, at.Add(time.Duration(i)*time.Second), 1, fmt.Sprint(i), nostr.Tag{"t", "x"}, nostr.Tag{"t", "y"}))
		if i < defaultLimit {
			p.mustPublish(signedAt(t, k, at.Add(time.Duration(i)*time.Second), 7, fmt.Sprint(i), nostr.Tag{"t", "x"}, nostr.Tag{"t", "y"}))
		}
	}
	p.mustPublish(signed(t, newKey(t), 1059, "x", nostr.Tag{"p", newKey(t).Public().String()}))
	const plain, finish, more = `["EOSE","a"]`, `["EOSE","a",["finish"]]`, `["EOSE","a",["more"]]`
	check := func(want string, filters ...string) {
		t.Helper()
		for _, f := range filters {
			if got := p.eose(f); got != want {
				t.Errorf("%s: %s, want %s", f, got, want)
			}
		}
	}
	exactly := []string{`{"kinds":[7]}`, `{"kinds":[1],"limit":500}`, `{"kinds":[1],"limit":5000}`, `{"#t":["x","y"],"kinds":[7]}`}
	check(finish, exactly...)
	check(plain, `{"kinds":[2]}`, `{"kinds":[1],"limit":2}`, `{"kinds":[1],"limit":0}`, `{"kinds":[1],"until":1}`,
		`{"kinds":[1],"limit":499}`, `{"kinds":[1]},{"kinds":[1],"limit":1}`, `{"ids":["`+strings.Repeat("0", 64)+`"]}`)

	for _, kind := range []int{1, 7} {
		p.mustPublish(signed(t, k, kind, "one more", nostr.Tag{"t", "x"}))
	}
	check(plain, exactly...)

	// Fewer than asked for, and cut: long ones fill a reader's queue.
	for i := range maxQueueBytes/60_000 + 2 {
		p.mustPublish(signed(t, k, 30_000, strings.Repeat("z", 60_000), nostr.Tag{"d", fmt.Sprint(i)}))
	}
	check(more, `{"kinds":[30000]}`, `{"kinds":[30000],"limit":100}`)
	check(plain, `{"kinds":[30000],"limit":10}`)
}
