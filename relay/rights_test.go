package relay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// TestPrivateKindsAreNips keeps the list in SQL equal to the rule in Go.
func TestPrivateKindsAreNips(t *testing.T) {
	var list []string
	for k := range 65536 {
		if nip.Private(k) {
			list = append(list, fmt.Sprint(k))
		}
	}
	if got := strings.Join(list, ","); got != privateKinds {
		t.Fatalf("SQL has %s, nip.Private has %s", privateKinds, got)
	}
}

// TestNobodyReadsOthersMail is the privacy matrix: every private kind, asked for
// in every way (ids, authors, tags, no kinds, "limit":0, COUNT, NEG), stored and
// live, by everybody. Excluded: "limit":0 that skips the check, filters without
// kinds, refused filters that stay live, the last of two keys winning.
func TestNobodyReadsOthersMail(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Inbox = nil })
	alice, bob, eve := newKey(t), newKey(t), newKey(t)
	var kinds []int
	for k := range strings.SplitSeq(privateKinds, ",") {
		var n int
		_, _ = fmt.Sscan(k, &n)
		kinds = append(kinds, n)
	}
	stored := storeDirectly(t, s, kinds, alice, bob)
	readers := map[string][]nip.Key{
		"nobody": nil, "eve": {eve}, "bob": {bob}, "alice": {alice}, "eve+bob": {eve, bob}, "bob+eve": {bob, eve},
	}
	for name, keys := range readers {
		mayRead := name != "nobody" && name != "eve"
		for _, kind := range kinds {
			checkPrivacy(t, s, name, kind, keys, mayRead, stored[kind], alice, bob)
		}
	}
}

// storeDirectly stores one message of each kind from alice to bob, also of kinds
// that no client may publish.
func storeDirectly(t *testing.T, s *site, kinds []int, alice, bob nip.Key) map[int]*nostr.Event {
	t.Helper()
	m := map[int]*nostr.Event{}
	for _, k := range kinds {
		m[k] = signed(t, alice, k, "secret", nostr.Tag{"p", bob.Public().String()})
		if err := s.store.SaveEvent(t.Context(), m[k]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func checkPrivacy(t *testing.T, s *site, name string, kind int, keys []nip.Key, mayRead bool, stored *nostr.Event, alice, bob nip.Key) {
	t.Helper()
	a, b := alice.Public().String(), bob.Public().String()
	shapes := []string{
		fmt.Sprintf(`{"kinds":[%d]}`, kind),
		fmt.Sprintf(`{"kinds":[%d],"limit":0}`, kind),
		fmt.Sprintf(`{"kinds":[%d],"#p":[%q]}`, kind, b),
		fmt.Sprintf(`{"kinds":[%d],"authors":[%q]}`, kind, a),
		fmt.Sprintf(`{"kinds":[1,%d]}`, kind),
		fmt.Sprintf(`{"#p":[%q]}`, b),
		fmt.Sprintf(`{"authors":[%q]}`, a),
		fmt.Sprintf(`{"ids":[%q]}`, stored.ID),
		`{}`, `{"limit":0}`,
		fmt.Sprintf(`{"kinds":[1]},{"kinds":[%d]}`, kind), // one allowed, one refused
	}
	p := s.dial(t)
	for _, k := range keys {
		p.auth(k)
	}
	found := false
	for i, f := range shapes {
		ids, closed := p.query(fmt.Sprint(i), f)
		for _, id := range ids {
			found = found || id == stored.ID
		}
		if len(keys) == 0 && i < 4 && closed != errAuth.Error() {
			t.Errorf("%s, kind %d, %s: CLOSED %q", name, kind, f, closed)
		}
		if name == "eve" && i == 2 && closed != errRestricted.Error() {
			t.Errorf("%s, kind %d, %s: CLOSED %q", name, kind, f, closed)
		}
		if mayRead && closed != "" && i != 2 && i != 3 {
			t.Errorf("%s, kind %d, %s: CLOSED %q", name, kind, f, closed)
		}
	}
	if found != mayRead {
		t.Errorf("%s, kind %d: stored event read: %v", name, kind, found)
	}
	// A count, or a set to be reconciled, would tell that it is there.
	for send, want := range map[string]string{
		`["COUNT","n",` + shapes[0] + `]`:         `["CLOSED","n","unsupported: COUNT"]`,
		`["COUNT","n",` + shapes[7] + `]`:         `["CLOSED","n","unsupported: COUNT"]`,
		`["NEG-OPEN","n",` + shapes[0] + `,"61"]`: `["NEG-ERR","n","unsupported: NEG-OPEN"]`,
		`["NEG-OPEN","n",` + shapes[8] + `,"61"]`: `["NEG-ERR","n","unsupported: NEG-OPEN"]`,
	} {
		p.send(send)
		p.expect(want)
	}
	// Live: a private one, then a public one that everybody may read, as an end.
	secret := signed(t, alice, kind, fmt.Sprint("live ", name), nostr.Tag{"p", b})
	public := signed(t, alice, 1, fmt.Sprint("live ", name, kind), nostr.Tag{"p", b})
	for _, ev := range []*nostr.Event{secret, public} {
		raw, err := ev.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		s.live.broadcast(ev, raw)
	}
	_ = s.live.candidates(public)
	if leaked := readLive(t, p, secret.ID); leaked != mayRead {
		t.Errorf("%s, kind %d: live event read: %v", name, kind, leaked)
	}
	_ = p.ws.CloseNow()
}

// readLive reads all that is waiting and reports whether an event was in it.
func readLive(t *testing.T, p *peer, id string) (found bool) {
	t.Helper()
	p.send(`["PING"]`)
	for {
		var parts []json.RawMessage
		got := p.read()
		if got == `["NOTICE","unsupported: PING"]` {
			return found
		}
		if err := json.Unmarshal([]byte(got), &parts); err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(got, id)
	}
}

// TestOthersMailIsRefusedInWords is row 33 and its neighbours.
func TestOthersMailIsRefusedInWords(t *testing.T) {
	s := newSite(t)
	me, you := newKey(t), newKey(t)
	m, y := me.Public().String(), you.Public().String()
	p := s.dial(t)
	p.auth(me)
	for f, want := range map[string]string{
		`{"kinds":[1059],"#p":["` + m + `","` + y + `"]}`:                      errRestricted.Error(),
		`{"kinds":[1059],"#p":["` + y + `"]}`:                                  errRestricted.Error(),
		`{"kinds":[1059],"#p":["` + m + `"]}`:                                  "",
		`{"kinds":[4],"authors":["` + m + `"],"#p":["` + y + `"]}`:             "",
		`{"kinds":[4],"authors":["` + y + `"],"#p":["` + m + `"]}`:             "",
		`{"kinds":[4,1059],"#p":["` + y + `"],"limit":0}`:                      errRestricted.Error(),
		`{"kinds":[1,1059],"#p":["` + y + `"]}`:                                "",
		`{"kinds":[1]},{"kinds":[1059],"#p":["` + y + `"]}`:                    errRestricted.Error(),
		`{"kinds":[4],"authors":["` + m + `","` + y + `"],"#p":["` + y + `"]}`: errRestricted.Error(),
	} {
		if _, closed := p.query("q", f); closed != want {
			t.Errorf("%s: CLOSED %q, want %q", f, closed, want)
		}
	}
}

// TestLimitCountsReadableEvents: others' wraps must not push mine out of an
// answer.
func TestLimitCountsReadableEvents(t *testing.T) {
	s := newSite(t)
	me, you := newKey(t), newKey(t)
	at := time.Now().Add(-time.Hour)
	mine := signedAt(t, newKey(t), at, 1059, "mine", nostr.Tag{"p", me.Public().String()})
	if err := s.store.SaveEvent(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		ev := signedAt(t, newKey(t), at.Add(time.Duration(i)*time.Second), 1059, "yours", nostr.Tag{"p", you.Public().String()})
		if err := s.store.SaveEvent(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	p := s.dial(t)
	p.auth(me)
	for _, f := range []string{`{"kinds":[1059],"limit":5}`, `{"limit":5}`} {
		if ids, closed := p.query("q", f); closed != "" || len(ids) != 1 || ids[0] != mine.ID {
			t.Errorf("%s: %d events, CLOSED %q", f, len(ids), closed)
		}
	}
}

// TestFramesOfOneGuestAreInOrder: AUTH and REQ in one write must not race.
func TestFramesOfOneGuestAreInOrder(t *testing.T) {
	s := newSite(t)
	for range 50 {
		p, k := s.dial(t), newKey(t)
		ev, err := nip.Auth(k, testURL, p.challenge, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		p.send(frame(t, "AUTH", ev))
		p.send(`["REQ","a",{"kinds":[1059],"#p":["` + k.Public().String() + `"]}]`)
		p.expect(frame(t, "OK", ev.ID, true, ""), `["EOSE","a"]`)
		_ = p.ws.CloseNow()
	}
}
