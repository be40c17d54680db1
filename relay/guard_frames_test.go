package relay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// TestFramesAreAnswered holds the answer to every broken frame. Without it a
// client that makes a mistake waits for ever, or brings the relay down.
func TestFramesAreAnswered(t *testing.T) {
	s := newSite(t)
	notice := func(text string) string { return `["NOTICE","` + text + `"]` }
	notArray := notice("invalid: not a JSON array")
	noEvent := notice("invalid: EVENT needs an event")
	hex := strings.Repeat("a", 64)
	req := func(filter string) string { return `["REQ","a",` + filter + `]` }
	closed := func(text string) string { return `["CLOSED","a","` + text + `"]` }
	const eose = `["EOSE","a"]`
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	rows := []struct{ row, send, want string }{
		{"2", "", notice("invalid: empty message")},
		{"2b", "[]", notice("invalid: empty message")},
		{"3a", "[", notArray},
		{"3b", "{", notArray},
		{"3c", "null", notArray},
		{"3d", `"EVENT"`, notArray},
		{"3e", `["EVENT",`, notArray},
		{"3f", "[\"CLOSE\",\"\xff\"]", notice("invalid: not UTF-8")},
		{"3g", "[1]", notice("invalid: label must be a string")},
		{"4", `["EVENT"]`, noEvent},
		{"5a", `["EVENT",null]`, noEvent},
		{"5b", `["EVENT",[]]`, noEvent},
		{"5c", `["EVENT","x"]`, noEvent},
		{"7", `["FOO",1]`, notice("unsupported: FOO")},
		{"8", `["` + strings.Repeat("L", 10_000) + `"]`, notice("unsupported: " + strings.Repeat("L", 32))},
		{"11", strings.Repeat("[", 40) + strings.Repeat("]", 40), notice("invalid: nested too deep")},
		{"13", `["CLOSE","a"]["CLOSE","a"]`, notice("invalid: more than one JSON value")},
		{"14a", `["REQ"]`, notice("invalid: REQ needs a subscription id")},
		{"14b", `["REQ","a"]`, closed("invalid: no filters")},
		{"15", `["REQ","",{}]`, `["CLOSED","","invalid: subscription id must be 1-64 chars"]`},
		{"16a", `["REQ","` + hex + `b",{}]`, `["CLOSED","` + hex + `","invalid: subscription id must be 1-64 chars"]`},
		{"16b", `["REQ",5,{}]`, `["CLOSED","5","invalid: subscription id must be a string"]`},
		{"16c", `["REQ",null,{}]`, `["CLOSED","null","invalid: subscription id must be a string"]`},
		{"16d", `["REQ","a\"b\n",{}]`, `["CLOSED","a\"b\n","invalid: subscription id has quotes or control characters"]`},
		{"17", req("{}"), eose},
		{"19a", req(`{"kinds":["1"]}`), closed("invalid: kinds must be numbers from 0 to 65535")},
		{"19b", req(`{"kinds":[1.5]}`), closed("invalid: kinds must be numbers from 0 to 65535")},
		{"19c", req(`{"kinds":[-1]}`), closed("invalid: kinds must be numbers from 0 to 65535")},
		{"19d", req(`{"kinds":[65536]}`), closed("invalid: kinds must be numbers from 0 to 65535")},
		{"20a", req(`{"ids":["` + strings.Repeat("A", 64) + `"]}`), closed("invalid: ids must be 64 lower-case hex digits")},
		{"20b", req(`{"ids":["short"]}`), closed("invalid: ids must be 64 lower-case hex digits")},
		{"20c", req(`{"authors":["zz"]}`), closed("invalid: authors must be 64 lower-case hex digits")},
		{"20d", req(`{"#p":["zz"]}`), closed("invalid: #p must be 64 lower-case hex digits")},
		{"21a", req(`{"#e":[]}`), eose},
		{"21b", req(`{"kinds":[]}`), eose},
		{"21c", req(`{"ids":[]}`), eose},
		{"22a", req(`{"#ee":["x"]}`), closed("unsupported: filter contains unknown elements")},
		{"22b", req(`{"foo":1}`), closed("unsupported: filter contains unknown elements")},
		{"23a", req(`{"limit":-1}`), closed("invalid: limit must be a number of events")},
		{"23b", req(`{"limit":"5"}`), closed("invalid: limit must be a number of events")},
		{"23c", req(`{"limit":1e9}`), eose},
		{"25", req(`{"since":10,"until":5}`), eose},
		{"26a", req(`{"since":-1}`), closed("invalid: since must be a unix time in seconds")},
		{"26b", req(`{"until":9223372036854775808}`), closed("invalid: until must be a unix time in seconds")},
		{"26c", req(`{"until":1.5}`), closed("invalid: until must be a unix time in seconds")},
		{"26d", req(`{"since":"1"}`), closed("invalid: since must be a unix time in seconds")},
		{"27", req(many(11, "{}")), closed("invalid: too many filters")},
		{"28a", req(`{"authors":[` + many(501, `"`+hex+`"`) + `]}`), closed("invalid: too many values")},
		{"28b", req(`{"kinds":[` + many(21, "1") + `]}`), closed("invalid: too many values")},
		{"28c", req(`{"#t":[` + many(101, `"x"`) + `]}`), closed("invalid: too many values")},
		{"31", req(`{"kinds":[1]},{"kinds":[1059]}`), closed(errAuth.Error())},
		{"32", req(`{"search":"x"}`), closed("unsupported: search")},
		{"34b", `["CLOSE"]`, notice("invalid: CLOSE needs a subscription id and nothing else")},
		{"34c", `["CLOSE","a","b"]`, notice("invalid: CLOSE needs a subscription id and nothing else")},
		{"37", `["NEG-OPEN","n",{},"61"]`, `["NEG-ERR","n","unsupported: NEG-OPEN"]`},
		{"37b", `["COUNT","c",{}]`, `["CLOSED","c","unsupported: COUNT"]`},
		{"43", `["AUTH","x"]`, notice("invalid: AUTH needs an event")},
		{"63", `["EVENT",{"id":"a","id":"b"}]`, notice("invalid: duplicate key")},
	}
	for _, r := range rows {
		p := s.dial(t)
		p.send(r.send)
		if got := p.read(); got != r.want {
			t.Errorf("row %s: %.80q\n got %.200s\nwant %.200s", r.row, r.send, got, r.want)
		}
		p.silent() // still there, and no second answer
		_ = p.ws.CloseNow()
	}
}

// TestBrokenFramesCloseWithTheirCode: what cannot be read any further is closed,
// and the guest is told why first.
func TestBrokenFramesCloseWithTheirCode(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	if err := p.ws.Write(t.Context(), websocket.MessageBinary, []byte(`["CLOSE","a"]`)); err != nil {
		t.Fatal(err)
	}
	p.expect(`["NOTICE","invalid: text frames only"]`)
	p.closed(websocket.StatusUnsupportedData)

	p = s.dial(t)
	p.send(strings.Repeat("x", maxFrame+1))
	p.expect(`["NOTICE","invalid: message too long"]`)
	p.closed(websocket.StatusMessageTooBig)

	p = s.dial(t) // the same in fragments
	w, err := p.ws.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = w.Write([]byte(strings.Repeat("x", maxFrame/2))) // may be cut off
	}
	p.expect(`["NOTICE","invalid: message too long"]`)
	p.closed(websocket.StatusMessageTooBig)
}

// TestSubscriptionsAreCapped excludes a connection that fills the index, and one
// key's extra room being given to strangers.
func TestSubscriptionsAreCapped(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	open := func(n int) {
		t.Helper()
		for i := range n {
			if _, closed := p.query(fmt.Sprint(i), `{"kinds":[1]}`); closed != "" {
				t.Fatalf("subscription %d: %s", i, closed)
			}
		}
		if _, closed := p.query("more", `{"kinds":[1]}`); closed != "rate-limited: too many subscriptions" {
			t.Fatalf("subscription %d: %q", n+1, closed)
		}
	}
	open(maxSubs)
	if _, closed := p.query("0", `{"kinds":[2]}`); closed != "" {
		t.Fatalf("replacing: %s", closed)
	}
	p.send(`["CLOSE","0"]`)
	if _, closed := p.query("other", `{"kinds":[2]}`); closed != "" {
		t.Fatalf("after CLOSE: %s", closed)
	}
	p.send(`["CLOSE","other"]`)
	p.auth(newKey(t))
	open(maxSubsAuthed)
}

// TestValuesAreCapped: ten filters of 500 authors in each of 50 subscriptions
// would be 250,000 index entries of one guest.
func TestValuesAreCapped(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	var list []string
	for i := range maxIDs {
		list = append(list, fmt.Sprintf(`"%064x"`, i))
	}
	f := `{"authors":[` + strings.Join(list, ",") + `]}`
	for i := range 100 {
		_, closed := p.query(fmt.Sprint(i%maxSubs), f, `{"ids":[`+strings.Join(list, ",")+`]}`)
		if closed == "rate-limited: too many values in all subscriptions" {
			return
		}
		if closed != "" {
			t.Fatal(closed)
		}
	}
	if n := s.live.size(); n > maxValues {
		t.Fatalf("%d entries", n)
	}
}

// TestReqThenCloseLeaksNothing: both in one write must not leave a listener.
func TestReqThenCloseLeaksNothing(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	for i := range 50 {
		p.send(fmt.Sprintf(`["REQ","s%d",{"kinds":[1]}]`, i))
		p.send(fmt.Sprintf(`["CLOSE","s%d"]`, i))
	}
	p.send(`["CLOSE","unknown"]`)
	for range 50 {
		p.read()
	}
	p.silent()
	if n := s.live.size(); n != 0 {
		t.Fatalf("%d entries are left", n)
	}
}

// TestAuthIsRefusedExactly: each way to get AUTH wrong has its answer, and none
// of them makes a reader.
func TestAuthIsRefusedExactly(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	k := newKey(t)
	make := func(kind int, at time.Time, tags ...nostr.Tag) *nostr.Event {
		return signedAt(t, k, at, kind, "", tags...)
	}
	relay, challenge := nostr.Tag{"relay", testURL}, nostr.Tag{"challenge", p.challenge}
	forged := make(nip.KindAuth, time.Now(), relay, challenge)
	forged.Sig = strings.Repeat("0", 128)
	rows := []struct {
		row  string
		ev   *nostr.Event
		want string
	}{
		{"38", make(1, time.Now(), relay, challenge), "invalid: wrong kind"},
		{"39a", make(nip.KindAuth, time.Now(), relay, nostr.Tag{"challenge", "x"}), "invalid: challenge mismatch"},
		{"39b", make(nip.KindAuth, time.Now(), relay, nostr.Tag{"challenge", s.dial(t).challenge}), "invalid: challenge mismatch"},
		{"39c", make(nip.KindAuth, time.Now(), relay), "invalid: challenge mismatch"},
		{"39d", make(nip.KindAuth, time.Now(), challenge), "invalid: relay mismatch"},
		{"40", make(nip.KindAuth, time.Now(), nostr.Tag{"relay", "wss://evil.example"}, challenge), "invalid: relay mismatch"},
		{"41a", make(nip.KindAuth, time.Now().Add(11*time.Minute), relay, challenge), "invalid: created_at is not within ten minutes of now"},
		{"41b", make(nip.KindAuth, time.Now().Add(-11*time.Minute), relay, challenge), "invalid: created_at is not within ten minutes of now"},
		{"sig", forged, "invalid: bad signature"},
	}
	for _, r := range rows {
		p.send(frame(t, "AUTH", r.ev))
		if ok, why := p.ok(r.ev.ID); ok || why != r.want {
			t.Errorf("row %s: OK %v %q, want %q", r.row, ok, why, r.want)
		}
	}
	if _, closed := p.query("a", `{"kinds":[4]}`); closed != errAuth.Error() {
		t.Fatalf("after failed AUTH: %q", closed)
	}
}

// TestForwardedHostIsNotBelieved excludes AUTH that was signed for another relay
// and carried here by it.
func TestForwardedHostIsNotBelieved(t *testing.T) {
	s := newSite(t)
	ws, _, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{
		HTTPHeader: map[string][]string{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}},
		Host:       "evil.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, ws: ws}
	defer func() { _ = ws.CloseNow() }()
	challenge := strings.Split(p.read(), `"`)[3]
	ev, err := nip.Auth(newKey(t), "wss://evil.example", challenge, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.send(frame(t, "AUTH", ev))
	if ok, why := p.ok(ev.ID); ok || why != "invalid: relay mismatch" {
		t.Fatalf("OK %v %q", ok, why)
	}
}

// TestNinthKeyIsRefused: all keys count, up to eight.
func TestNinthKeyIsRefused(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	k := newKey(t)
	p.auth(k)
	p.auth(k) // the same again is none more
	for range maxKeys - 1 {
		p.auth(newKey(t))
	}
	ev, err := nip.Auth(newKey(t), testURL, p.challenge, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.send(frame(t, "AUTH", ev))
	if ok, why := p.ok(ev.ID); ok || why != "rate-limited: too many keys on one connection" {
		t.Fatalf("OK %v %q", ok, why)
	}
}

// TestFloodIsWarnedThenClosed: 1,000 frames a second and more.
func TestFloodIsWarnedThenClosed(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond = 100 })
	p := s.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for p.ws.Write(ctx, websocket.MessageText, []byte(`["CLOSE","x"]`)) == nil {
			time.Sleep(100 * time.Microsecond)
		}
	}()
	for range maxWarnings {
		p.expect(`["NOTICE","rate-limited: slow down"]`)
	}
	p.expect(`["NOTICE","rate-limited: too many messages"]`)
	p.closed(websocket.StatusPolicyViolation)
}
