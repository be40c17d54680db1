package nip

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

const zapAmount = 21_000 * timmy.Msat(1)

func zapRaw(tb testing.TB, z ZapRequest, fault func(*nostr.Event)) []byte {
	tb.Helper()
	user, tower := testKey(tb, 1), testKey(tb, 2)
	ev, err := ZapRequestEvent(user, tower.Public(), z, noon)
	if err != nil {
		tb.Fatal(err)
	}
	if fault != nil {
		fault(ev)
		if err := user.Sign(ev); err != nil {
			tb.Fatal(err)
		}
	}
	return []byte(ev.String())
}

// Excludes: rows 127 to 139 of the bad inputs, and receipts made for somebody
// else (C2).
func TestZapRequestFaults(t *testing.T) {
	tower := testKey(t, 2).Public()
	o := testKey(t, 3).Public().String()
	add := func(tag ...string) func(*nostr.Event) {
		return func(e *nostr.Event) { e.Tags = append(e.Tags, tag) }
	}
	setP := func(v string) func(*nostr.Event) { return func(e *nostr.Event) { e.Tags[1][1] = v } }
	e64 := strings.Repeat("e", 64)
	faults := map[string]func(*nostr.Event){
		"kind 9735": kind(9735), "kind 1": kind(1), "no tags": func(e *nostr.Event) { e.Tags = nostr.Tags{} },
		"two p": add("p", tower.String()), "two different p": add("p", o), "foreign p": setP(o), "upper p": setP(strings.ToUpper(tower.String())),
		"no p": func(e *nostr.Event) { e.Tags = e.Tags[:1] }, "empty p": setP(""),
		"two e": func(e *nostr.Event) { add("e", e64)(e); add("e", e64)(e) }, "malformed e": add("e", "x"), "upper e": add("e", strings.ToUpper(e64)),
		"malformed a": add("a", "x:y"), "a without d": add("a", "30023:"+o), "a with leading zero": add("a", "030023:"+o+":x"), "a kind": add("a", "70000:"+o+":x"),
		"foreign P": add("P", o), "two P": func(e *nostr.Event) { add("P", tower.String())(e); add("P", tower.String())(e) },
		"year old": at(-365 * 24 * time.Hour), "future": at(2 * time.Hour), "just stale": at(-time.Hour - time.Second),
		"expired":     add("expiration", fmt.Sprint(noon.Unix())),
		"two amounts": func(e *nostr.Event) { add("amount", "21000")(e); add("amount", "21000")(e) },
		"two relays":  add("relays", "wss://x.example"), "too long": func(e *nostr.Event) { e.Content = strings.Repeat("x", maxZapRequest) },
	}
	for _, a := range []string{"21001", "021000", "21000.0", "-1", "9e3", "", " 21000", "+21000", "21", "0"} {
		faults["amount "+a] = add("amount", a)
	}
	for name, fault := range faults {
		if _, err := ParseZapRequest(zapRaw(t, ZapRequest{}, fault), tower, tower, zapAmount, noon); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := string(zapRaw(t, ZapRequest{Amount: zapAmount}, nil))
	for name, raw := range map[string]string{
		"bad id":  strings.Replace(good, `"content":""`, `"content":"x"`, 1),
		"bad sig": good[:strings.Index(good, `"sig":"`)+7] + strings.Repeat("0", 128) + `"}`,
		"cut":     good[:100], "empty": "", "list": "[" + good + "]",
	} {
		if _, err := ParseZapRequest([]byte(raw), tower, tower, zapAmount, noon); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Excludes: refusing what Damus, Amethyst and others send.
func TestGoodZapRequests(t *testing.T) {
	user, tower := testKey(t, 1).Public(), testKey(t, 2).Public()
	full := ZapRequest{
		Amount: zapAmount, Relays: []string{"wss://a.example/", "wss://a.example", "ws://localhost", "http://x"}, E: strings.Repeat("e", 64),
		A: "30023:" + user.String() + ":a:b", K: "1", Lnurl: "lnurl1x", Comment: "⚡", Anonymous: true,
	}
	raw := zapRaw(t, full, func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"P", tower.String()}) })
	z, err := ParseZapRequest(raw, tower, tower, zapAmount, noon.Add(50*time.Minute))
	if err != nil || z.From != user || !z.Anonymous || z.E != full.E || z.A != full.A || z.K != "1" || z.Lnurl != "lnurl1x" ||
		z.Comment != "⚡" || string(z.Raw) != string(raw) || fmt.Sprint(z.Relays) != "[wss://a.example ws://localhost]" {
		t.Errorf("%+v, %v", z, err)
	}
	if got := ReceiptRelays(raw); fmt.Sprint(got) != "[wss://a.example]" {
		t.Errorf("receipt to %v", got)
	}
	for name, fault := range map[string]func(*nostr.Event){
		"no relays": func(e *nostr.Event) { e.Tags = e.Tags[1:] }, "no amount": nil,
		"empty relays": func(e *nostr.Event) { e.Tags[0] = nostr.Tag{"relays"} },
		"bare anon":    func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"anon"}) },
		"private":      func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"anon", "pzap1x_iv1y"}) },
		"300 relays": func(e *nostr.Event) {
			for i := range 300 {
				e.Tags[0] = append(e.Tags[0], fmt.Sprintf("wss://r%d.example", i))
			}
		},
	} {
		z, err := ParseZapRequest(zapRaw(t, ZapRequest{}, fault), tower, tower, zapAmount, noon)
		if err != nil || len(z.Relays) > MaxRelays || z.Anonymous != (name == "bare anon" || name == "private") {
			t.Errorf("%s: %+v, %v", name, z, err)
		}
	}
}

// Excludes: two receipts for one payment, and one that does not commit to the
// request's bytes (C3, C7).
func TestReceiptIsTheSameEveryTime(t *testing.T) {
	tower := testKey(t, 2)
	raw := zapRaw(t, ZapRequest{Amount: zapAmount, E: strings.Repeat("e", 64), Comment: "ü <&> \u2028 \"", Relays: []string{"wss://a.example"}}, nil)
	raw = []byte(strings.Replace(string(raw), `"kind":9734,`, ` "kind" : 9734,`, 1)) // any spelling is kept
	inv := timmy.Invoice{Bolt11: "lnbcrt1x"}
	a, err := Receipt(tower, raw, inv, [32]byte{1}, noon)
	if err != nil || Verify(a) != nil || a.Content != "" || a.CreatedAt.Time() != noon {
		t.Fatal(a, err)
	}
	b, _ := Receipt(tower, raw, inv, [32]byte{1}, noon)
	if a.ID != b.ID {
		t.Error("two ids")
	}
	got, err := ParseEvent([]byte(a.String()))
	if err != nil {
		t.Fatal(err)
	}
	if d := first(got.Tags, "description"); sha256.Sum256([]byte(d)) != sha256.Sum256(raw) {
		t.Errorf("description changed: %s", d)
	}
	for name, want := range map[string]string{
		"p": tower.Public().String(), "P": testKey(t, 1).Public().String(), "e": strings.Repeat("e", 64), "bolt11": "lnbcrt1x",
		"preimage": "01" + strings.Repeat("0", 62),
	} {
		if v, ok := only(got.Tags, name); !ok || v != want {
			t.Errorf("%s = %q", name, v)
		}
	}
	if c, _ := Receipt(tower, raw, inv, [32]byte{}, noon); len(all(c.Tags, "preimage")) != 0 {
		t.Error("a preimage of zeros")
	}
	if _, err := Receipt(tower, []byte("{}"), inv, [32]byte{}, noon); err == nil {
		t.Error("a receipt for nothing")
	}
}

func FuzzParseZapRequest(f *testing.F) {
	tower := testKey(f, 2).Public()
	f.Add(zapRaw(f, ZapRequest{Amount: zapAmount, Relays: []string{"wss://a.example"}, A: "1:x:y"}, nil))
	f.Add([]byte(`{"kind":9734,"tags":[["relays"],["p"]]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		z, err := ParseZapRequest(raw, tower, tower, zapAmount, noon)
		if err == nil && (first(z.Event.Tags, "p") != tower.String() || string(z.Raw) != string(raw)) {
			t.Errorf("%+v", z)
		}
		_ = ReceiptRelays(raw)
	})
}

// Excludes: a signature that is good for another call, another time or another
// body than the one it was made for.
func TestHTTPAuthIsForOneCall(t *testing.T) {
	k := testKey(t, 1)
	const url = "https://tower.example/sessions?a=1"
	body := []byte(`{"amount_sats":500}`)
	sign := func(f func(*nostr.Event)) string {
		ev := &nostr.Event{Kind: KindHTTPAuth, CreatedAt: nostr.Timestamp(noon.Unix()), Tags: nostr.Tags{{"u", url}, {"method", "POST"}, {"payload", sum(body)}}}
		f(ev)
		if err := k.Sign(ev); err != nil {
			t.Fatal(err)
		}
		return "Nostr " + b64(ev.String())
	}
	header, err := SignHTTP(k, "POST", url, body, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{header, "nostr " + header[6:], sign(at(59 * time.Second)), sign(at(-59 * time.Second))} {
		if a, err := CheckHTTPAuth(h, "POST", url, body, noon); err != nil || a.From != k.Public() || len(a.ID) != 64 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	empty, _ := SignHTTP(k, "GET", url, nil, noon)
	if _, err := CheckHTTPAuth(empty, "GET", url, nil, noon); err != nil {
		t.Error(err)
	}
	drop := func(i int) func(*nostr.Event) {
		return func(e *nostr.Event) { e.Tags = append(e.Tags[:i:i], e.Tags[i+1:]...) }
	}
	for name, h := range map[string]string{
		"empty": "", "no scheme": header[6:], "bearer": "Bearer " + header[6:], "not base64": "Nostr ***", "not an event": "Nostr " + b64("{}"),
		"newline": header[:50] + "\n" + header[50:], "too long": "Nostr " + strings.Repeat("A", maxHeader), "kind 1": sign(kind(1)), "kind 22242": sign(kind(22242)),
		"old": sign(at(-61 * time.Second)), "future": sign(at(61 * time.Second)), "no u": sign(drop(0)), "no method": sign(drop(1)), "no payload": sign(drop(2)),
		"two u": sign(func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"u", url}) }), "two payloads": sign(func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"payload", sum(body)}) }),
		"u without query": sign(func(e *nostr.Event) { e.Tags[0][1] = "https://tower.example/sessions" }), "u of another host": sign(func(e *nostr.Event) { e.Tags[0][1] = "https://evil.example/sessions?a=1" }),
		"other method": sign(func(e *nostr.Event) { e.Tags[1][1] = "GET" }), "other payload": sign(func(e *nostr.Event) { e.Tags[2][1] = sum(nil) }),
		"forged": "Nostr " + b64(strings.Replace(unb64(t, header[6:]), `"content":""`, `"content":"x"`, 1)),
	} {
		if _, err := CheckHTTPAuth(h, "POST", url, body, noon); timmy.CodeOf(err) != timmy.Unauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func unb64(t *testing.T, s string) string {
	t.Helper()
	b, err := unbase64(s, maxHeader)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzCheckHTTPAuth(f *testing.F) {
	h, _ := SignHTTP(testKey(f, 1), "POST", "https://x/", []byte("x"), noon)
	f.Add(h)
	f.Add("Nostr e30=")
	f.Fuzz(func(t *testing.T, h string) {
		if a, err := CheckHTTPAuth(h, "POST", "https://x/", []byte("x"), noon); err == nil && a.From != testKey(t, 1).Public() {
			t.Errorf("%+v", a)
		}
	})
}

// Excludes: an AUTH for another relay, another challenge or another time
// (bad-inputs 38 to 41).
func TestAuthIsForThisChallenge(t *testing.T) {
	k := testKey(t, 1)
	const relay, challenge = "wss://tower.example", "c0ffee"
	make := func(f func(*nostr.Event)) *nostr.Event {
		ev, err := Auth(k, relay, challenge, noon)
		if err != nil {
			t.Fatal(err)
		}
		if f != nil {
			f(ev)
			_ = k.Sign(ev)
		}
		return ev
	}
	setRelay := func(u string) *nostr.Event { return make(func(e *nostr.Event) { e.Tags[0][1] = u }) }
	for _, ev := range []*nostr.Event{
		make(nil), setRelay("wss://tower.example/"), setRelay("WSS://TOWER.example:443"), setRelay("ws://tower.example"),
		setRelay("wss://tower.example/inbox"), make(at(9 * time.Minute)), make(at(-9 * time.Minute)),
	} {
		if err := CheckAuth(ev, relay, challenge, noon); err != nil {
			t.Errorf("%v: %v", ev, err)
		}
	}
	local, _ := Auth(k, "ws://localhost:8080/", challenge, noon)
	if err := CheckAuth(local, "ws://127.0.0.1:8080", challenge, noon); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		ev   *nostr.Event
		want string
	}{
		"kind 1":         {make(kind(1)), "invalid: wrong kind"},
		"other relay":    {setRelay("wss://evil.example"), "invalid: relay mismatch"},
		"other port":     {setRelay("wss://tower.example:8443"), "invalid: relay mismatch"},
		"no URL":         {setRelay("tower"), "invalid: relay mismatch"},
		"no relay":       {make(func(e *nostr.Event) { e.Tags = e.Tags[1:] }), "invalid: relay mismatch"},
		"two relays":     {make(func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"relay", relay}) }), "invalid: relay mismatch"},
		"challenge":      {make(func(e *nostr.Event) { e.Tags[1][1] = "x" }), "invalid: challenge mismatch"},
		"no challenge":   {make(func(e *nostr.Event) { e.Tags = e.Tags[:1] }), "invalid: challenge mismatch"},
		"old":            {make(at(-11 * time.Minute)), "invalid: created_at"},
		"future":         {make(at(11 * time.Minute)), "invalid: created_at"},
		"year 1":         {make(at(-1 << 62)), "invalid: created_at"},
		"not signed":     {func() *nostr.Event { e := make(nil); e.Sig = strings.Repeat("0", 128); return e }(), "invalid: bad signature"},
		"under other id": {func() *nostr.Event { e := make(nil); e.ID = strings.Repeat("0", 64); return e }(), "invalid: id does not match"},
	} {
		if err := CheckAuth(c.ev, relay, challenge, noon); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if CheckAuth(make(func(e *nostr.Event) { e.Tags[1][1] = "" }), relay, "", noon) == nil {
		t.Error("an empty challenge was answered")
	}
}

func BenchmarkOpen(b *testing.B) {
	user, tower := testKey(b, 1), testKey(b, 2)
	wrap := parcel{}.build(b, user, tower.Public())
	for b.Loop() {
		if _, err := Open(tower, wrap, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	user, tower := testKey(b, 1), testKey(b, 2)
	for b.Loop() {
		if _, err := Seal(tower, Letter{To: user.Public(), Scheme: NIP17, Text: "hello", At: noon}, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}
