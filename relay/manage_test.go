package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/nip"
)

// onceIdentity checks NIP-98 and remembers what was used, as the ledger does.
type onceIdentity struct{ used map[string]bool }

func (o onceIdentity) Verify(_ context.Context, header, method, url string, body []byte) (timmy.PubKey, error) {
	a, err := nip.CheckHTTPAuth(header, method, url, body, time.Now())
	if err != nil {
		return timmy.PubKey{}, err
	}
	if o.used[a.ID] {
		return timmy.PubKey{}, timmy.Errorf(timmy.Unauthorized, "used before")
	}
	o.used[a.ID] = true
	return a.From, nil
}

const testWeb = "https://relay.example/nostr"

// managedSite is a relay with one operator.
func managedSite(t *testing.T, change ...func(*Config)) (*site, nip.Key) {
	t.Helper()
	boss := newKey(t)
	return newSite(t, append([]func(*Config){func(c *Config) {
		c.Operators, c.Identity = []timmy.PubKey{boss.Public()}, onceIdentity{map[string]bool{}}
	}}, change...)...), boss
}

// rpc posts a call and returns its status and answer.
func (s *site) rpc(t *testing.T, header, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http"+strings.TrimPrefix(s.url, "ws"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeRPC)
	if header != "" {
		req.Header.Set("Authorization", header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(b))
}

// call signs and posts; every call is another one, for a second has many.
func (s *site) call(t *testing.T, k nip.Key, method string, params ...any) (int, string) {
	t.Helper()
	if params == nil {
		params = []any{}
	}
	b, err := json.Marshal(map[string]any{"method": method, "params": params, "nonce": time.Now().UnixNano()})
	if err != nil {
		t.Fatal(err)
	}
	header, err := nip.SignHTTP(k, http.MethodPost, testWeb, b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.rpc(t, header, string(b))
}

// TestOnlyOperatorsManage is the table of who gets in, and with what status.
// Excluded: a kind 1 that passes as authorisation, a replay, a swapped body, a body
// without bound.
func TestOnlyOperatorsManage(t *testing.T) {
	s, boss := managedSite(t)
	body := `{"method":"supportedmethods","params":[]}`
	sign := func(k nip.Key, url, body string, at time.Time) string {
		h, err := nip.SignHTTP(k, http.MethodPost, url, []byte(body), at)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	note := signed(t, boss, 1, "", nostr.Tag{"u", testWeb}, nostr.Tag{"method", "POST"})
	used := sign(boss, testWeb, body, time.Now())
	now := time.Now()
	for i, c := range []struct {
		what, header, body string
		status             int
	}{
		{"used first", used, body, 200},
		{"used twice", used, body, 401},
		{"no header", "", body, 401},
		{"not base64", "Nostr ***", body, 401},
		{"another scheme", "Bearer x", body, 401},
		{"a kind 1", "Nostr " + b64(note.String()), body, 401},
		{"a stranger", sign(newKey(t), testWeb, body, now), body, 403},
		{"another body", sign(boss, testWeb, body, now.Add(-time.Second)), strings.Replace(body, "supported", "banned", 1), 401},
		{"too old", sign(boss, testWeb, body, now.Add(-2*time.Minute)), body, 401},
		{"in the future", sign(boss, testWeb, body, now.Add(2*time.Minute)), body, 401},
		{"another relay", sign(boss, "https://evil.example/", body, now), body, 401},
		{"as wss, with a slash", sign(boss, testURL+"/", body, now), body, 200},
		{"as wss", sign(boss, testURL, body, now), body, 200},
		{"as https, with a slash", sign(boss, testWeb+"/", body, now), body, 200},
		{"empty", sign(boss, testWeb, "", now), "", 400},
		{"not JSON", sign(boss, testWeb, "{", now), "{", 400},
		{"twice the same key", sign(boss, testWeb, `{"method":"a","method":"b"}`, now), `{"method":"a","method":"b"}`, 400},
		{"no such method", sign(boss, testWeb, `{"method":"stop"}`, now), `{"method":"stop"}`, 404},
		{"no parameter", sign(boss, testWeb, `{"method":"banpubkey","params":[]}`, now), `{"method":"banpubkey","params":[]}`, 400},
		{"too long", sign(boss, testWeb, body, now), body + strings.Repeat(" ", maxCall), 413},
	} {
		status, answer := s.rpc(t, c.header, c.body)
		var a struct {
			Result any
			Error  string
		}
		if err := json.Unmarshal([]byte(answer), &a); err != nil || status != c.status || (status == 200) != (a.Error == "") {
			t.Errorf("%d, %s: %d %s (%v), want %d", i, c.what, status, answer, err, c.status)
		}
	}
	off := newSite(t)
	if status, _ := off.call(t, boss, "supportedmethods"); status != http.StatusUnsupportedMediaType {
		t.Errorf("without operators: %d", status)
	}
}

// TestEveryMethodDoesWhatItSays calls each method and looks at the relay.
func TestEveryMethodDoesWhatItSays(t *testing.T) {
	s, boss := managedSite(t, func(c *Config) { c.Policy.Writers = WritersAllowed })
	k, icon := newKey(t), "https://relay.example/i.png"
	hex := k.Public().String()
	ev := signed(t, k, 1, "to be banned")
	must := func(want, method string, params ...any) {
		t.Helper()
		if status, answer := s.call(t, boss, method, params...); status != 200 || answer != `{"result":`+want+`}` {
			t.Errorf("%s %v: %d %s, want %s", method, params, status, answer, want)
		}
	}
	writes := func(want string, ev *nostr.Event) {
		t.Helper()
		if ok, why := s.dial(t).publish(ev); why != want || ok != (want == "" || strings.HasPrefix(want, "duplicate")) {
			t.Errorf("OK %v %q, want %q", ok, why, want)
		}
	}
	must(`[]`, "listallowedpubkeys")
	writes(errNotListed.Error(), ev)
	must(`true`, "allowpubkey", hex, "a friend")
	must(`[{"pubkey":"`+hex+`","reason":"a friend"}]`, "listallowedpubkeys")
	writes("", ev)
	must(`true`, "banevent", ev.ID, "spam")
	must(`[{"id":"`+ev.ID+`","reason":"spam"}]`, "listbannedevents")
	writes(errBannedEvent.Error(), ev)
	if ids, _ := s.dial(t).query("q", `{"ids":["`+ev.ID+`"]}`); len(ids) != 0 {
		t.Error("a banned event is served")
	}
	gone(t, s, nostr.Filter{IDs: []string{ev.ID}})
	must(`true`, "unbanevent", ev.ID)
	must(`[]`, "listbannedevents")
	writes("", ev)
	must(`[]`, "listdisallowedkinds")
	must(`true`, "disallowkind", 1)
	must(`[1]`, "listdisallowedkinds")
	writes("blocked: kind 1 is not taken here", signed(t, k, 1, "x"))
	must(`true`, "allowkind", 1)
	must(`[1]`, "listallowedkinds")
	must(`true`, "banpubkey", hex, "enough")
	must(`[{"pubkey":"`+hex+`","reason":"enough"}]`, "listbannedpubkeys")
	must(`[]`, "listallowedpubkeys")
	writes(errBannedKey.Error(), signed(t, k, 1, "y"))
	gone(t, s, nostr.Filter{Authors: []string{hex}})
	must(`true`, "unallowpubkey", hex) // changes nothing: it is banned
	writes(errBannedKey.Error(), signed(t, k, 1, "y"))
	must(`true`, "unbanpubkey", hex)
	writes(errNotListed.Error(), signed(t, k, 1, "y"))
	must(`true`, "changerelayname", "another")
	must(`true`, "changerelaydescription", "words")
	must(`true`, "changerelayicon", icon)
	_, doc := s.http(t, http.MethodGet, http.Header{"Accept": {typeInfo}})
	for _, want := range []string{`"name":"another"`, `"description":"words"`, `"icon":"` + icon + `"`} {
		if !strings.Contains(doc, want) {
			t.Errorf("the document has no %s: %s", want, doc)
		}
	}
	var names []string
	_, answer := s.call(t, boss, "supportedmethods")
	if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(answer, `{"result":`), "}")), &names); err != nil || len(names) != len(methods())-1 {
		t.Errorf("%s (%v)", answer, err)
	}
	for method, params := range map[string][]any{
		"banpubkey": {"npub1x"}, "banevent": {strings.ToUpper(ev.ID)}, "allowkind": {65536}, "disallowkind": {"1"}, "blockip": {"0.0.0.0/0"},
		"unblockip": {"nobody"}, "changerelayname": {strings.Repeat("x", 30)}, "changerelayicon": {"javascript:alert(1)"}, "changerelaydescription": {1},
	} {
		if status, answer := s.call(t, boss, method, params...); status != 400 {
			t.Errorf("%s %v: %d %s", method, params, status, answer)
		}
	}
	for _, own := range []timmy.PubKey{boss.Public(), s.self.Public()} {
		if status, _ := s.call(t, boss, "banpubkey", own.String()); status != 400 {
			t.Error("somebody banned the tower or its operator")
		}
	}
}

// gone waits until the store has nothing more of what a filter matches.
func gone(t *testing.T, s *site, f nostr.Filter) {
	t.Helper()
	for range 200 {
		if list, err := s.Query(t.Context(), f); err != nil || len(list) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("still stored: %v", f)
}

// TestBlockedAddresses are cut off and not let in again, alone or as a network.
func TestBlockedAddresses(t *testing.T) {
	s, boss := managedSite(t)
	for _, address := range []string{"127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1"} {
		p := s.dial(t)
		if _, err := s.Manage(t.Context(), Call{Method: "blockip", Params: []json.RawMessage{[]byte(fmt.Sprintf("%q", address))}}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.next(10 * time.Second); err == nil {
			t.Error("still connected")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, res, err := websocket.Dial(ctx, s.url, nil); err == nil || res == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: let in again", address)
		}
		cancel()
		// The management API stays: it is how an operator lets himself in again.
		if status, answer := s.call(t, boss, "unblockip", address); status != 200 {
			t.Fatal(status, answer)
		}
		_ = s.dial(t).ws.CloseNow()
	}
	if status, answer := s.call(t, boss, "listblockedips"); status != 200 || answer != `{"result":[]}` {
		t.Error(status, answer)
	}
}

// TestRulesSurviveARestart, and what a ban deletes is deleted though the tower
// stopped in between.
func TestRulesSurviveARestart(t *testing.T) {
	d := dbtest.Open(t, newPlace(t))
	k := newKey(t)
	hex := []json.RawMessage{[]byte(`"` + k.Public().String() + `"`)}
	r, err := New(Config{URL: testURL, DB: d})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.SaveEvent(t.Context(), signed(t, k, 1, "x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Call{{"banpubkey", hex}, {"changerelayname", []json.RawMessage{[]byte(`"kept"`)}}} {
		if _, err := r.Manage(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, func(c *Config) { c.DB = d })
	if ok, why := s.dial(t).publish(signed(t, k, 1, "y")); ok || why != errBannedKey.Error() {
		t.Error(ok, why)
	}
	if _, doc := s.http(t, http.MethodGet, http.Header{"Accept": {typeInfo}}); !strings.Contains(doc, `"name":"kept"`) {
		t.Error(doc)
	}
	gone(t, s, nostr.Filter{Authors: []string{k.Public().String()}})
}

// TestDocumentShowsThePolicy holds NIP-11 equal to what the guard asks for.
func TestDocumentShowsThePolicy(t *testing.T) {
	for name, c := range map[string]struct {
		policy     Policy
		managed    bool
		restricted bool
		nips       string
		has        []string
	}{
		"open":    {nips: "[1,9,11,17,40,42,44,59,62,67,70]"},
		"pow":     {policy: Policy{PowBits: 12}, restricted: true, nips: "[1,9,11,13,17,40,42,44,59,62,67,70]", has: []string{`"min_pow_difficulty":12`}},
		"managed": {managed: true, nips: "[1,9,11,17,40,42,44,59,62,67,70,86,98]"},
		"wraps":   {policy: Policy{AuthWraps: true}, restricted: true, nips: "[1,9,11,17,40,42,44,59,62,67,70]"},
		"paid": {
			policy:     Policy{Writers: WritersAllowed, Admission: 500 * timmy.Sat, PayAt: "https://relay.example/relay"},
			restricted: true, nips: "[1,9,11,17,40,42,44,59,62,67,70]",
			has: []string{`"fees":{"admission":[{"amount":500000,"unit":"msats"}]}`, `"payments_url":"https://relay.example/relay"`},
		},
	} {
		change := func(cfg *Config) { cfg.Policy = c.policy }
		s := newSite(t, change)
		if c.managed {
			s, _ = managedSite(t, change)
		}
		_, doc := s.http(t, http.MethodGet, http.Header{"Accept": {typeInfo}})
		for _, want := range append(c.has, `"supported_nips":`+c.nips, fmt.Sprintf(`"restricted_writes":%v`, c.restricted), `"payment_required":false`, `"auth_required":false`) {
			if !strings.Contains(doc, want) {
				t.Errorf("%s: no %s in %s", name, want, doc)
			}
		}
		if len(c.has) == 0 && (strings.Contains(doc, "fees") || strings.Contains(doc, "payments_url")) {
			t.Errorf("%s: fees that nobody asks for: %s", name, doc)
		}
	}
}
