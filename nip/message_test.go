package nip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// parcel is a wrap that is taken apart for one fault each: a nil hook changes
// nothing.
type parcel struct {
	rumor    func(*nostr.Event) // before its id is made
	rumorRaw func(string) string
	seal     func(*nostr.Event) // before it is signed
	sealRaw  func(string) string
	wrap     func(*nostr.Event) // before it is signed
}

func (p parcel) build(tb testing.TB, from Key, to timmy.PubKey) *nostr.Event {
	tb.Helper()
	once := testKey(tb, 99)
	at := nostr.Timestamp(noon.Unix())
	do := func(f func(*nostr.Event), ev *nostr.Event) {
		if f != nil {
			f(ev)
		}
	}
	raw := func(f func(string) string, ev *nostr.Event) string {
		if f != nil {
			return f(ev.String())
		}
		return ev.String()
	}
	encrypt := func(k Key, text string) string {
		s, err := Encrypt44(k, to, text, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
	rumor := &nostr.Event{PubKey: from.Public().String(), Kind: kindChat, CreatedAt: at, Tags: nostr.Tags{{"p", to.String()}}, Content: "hello"}
	do(p.rumor, rumor)
	rumor.ID = rumor.GetID()
	seal := &nostr.Event{Kind: kindSeal, CreatedAt: at - 90_000, Tags: nostr.Tags{}, Content: encrypt(from, raw(p.rumorRaw, rumor))}
	do(p.seal, seal)
	if err := from.Sign(seal); err != nil {
		tb.Fatal(err)
	}
	wrap := &nostr.Event{Kind: kindWrap, CreatedAt: at - 170_000, Tags: nostr.Tags{{"p", to.String()}}, Content: encrypt(once, raw(p.sealRaw, seal))}
	do(p.wrap, wrap)
	if err := once.Sign(wrap); err != nil {
		tb.Fatal(err)
	}
	return wrap
}

func tag(t ...string) func(*nostr.Event) {
	return func(ev *nostr.Event) { ev.Tags = append(ev.Tags, t) }
}

func replace(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

func kind(n int) func(*nostr.Event) { return func(ev *nostr.Event) { ev.Kind = n } }

func at(d time.Duration) func(*nostr.Event) {
	return func(ev *nostr.Event) { ev.CreatedAt = nostr.Timestamp(noon.Add(d).Unix()) }
}

// Excludes: every way in which a wrap that looks right says something wrong
// (bad-inputs 83 to 101).
func TestEverySingleFaultDropsTheWrap(t *testing.T) {
	user, tower, other := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	u, o := user.Public().String(), other.Public().String()
	past := fmt.Sprint(noon.Unix() - 1)
	for name, c := range map[string]struct {
		p    parcel
		want Drop
	}{
		"wrap kind 1058":         {parcel{wrap: kind(1058)}, DropKind},
		"wrap kind 1":            {parcel{wrap: kind(1)}, DropKind},
		"wrap for another":       {parcel{wrap: func(e *nostr.Event) { e.Tags[0][1] = o }}, DropNotForUs},
		"wrap without p":         {parcel{wrap: func(e *nostr.Event) { e.Tags = nil }}, DropNotForUs},
		"wrap with two p":        {parcel{wrap: tag("p", o)}, DropNotForUs},
		"wrap with our p twice":  {parcel{wrap: tag("p", tower.Public().String())}, DropNotForUs},
		"wrap expired":           {parcel{wrap: tag("expiration", past)}, DropExpired},
		"wrap of newlines":       {parcel{wrap: func(e *nostr.Event) { e.Content = strings.Repeat("\n", 132) }}, DropDecrypt},
		"wrap with a newline":    {parcel{wrap: func(e *nostr.Event) { e.Content = e.Content[:9] + "\n" + e.Content[9:] }}, DropDecrypt},
		"wrap empty":             {parcel{wrap: func(e *nostr.Event) { e.Content = "" }}, DropDecrypt},
		"no seal":                {parcel{sealRaw: func(string) string { return "hello" }}, DropSealShape},
		"seal twice the field":   {parcel{sealRaw: replace(`"kind":13`, `"kind":13,"kind":13`)}, DropSealShape},
		"seal kind 1":            {parcel{seal: kind(1)}, DropSealKind},
		"seal kind 4":            {parcel{seal: kind(4)}, DropSealKind},
		"seal kind 23194":        {parcel{seal: kind(23194)}, DropSealKind},
		"seal with tags":         {parcel{seal: tag("p", o)}, DropSealTags},
		"seal expired":           {parcel{seal: tag("expiration", past)}, DropExpired},
		"seal id":                {parcel{sealRaw: replace(`"created_at":1`, `"created_at":2`)}, DropSealSignature},
		"seal by another":        {parcel{sealRaw: replace(u, o)}, DropSealSignature},
		"seal unsigned":          {parcel{sealRaw: replace(`"sig":"`, `"sig":"`+strings.Repeat("0", 128)+`","x":"`)}, DropSealSignature},
		"seal content":           {parcel{seal: func(e *nostr.Event) { e.Content = "hello" }}, DropDecrypt},
		"no rumor":               {parcel{rumorRaw: func(string) string { return "hello" }}, DropRumorShape},
		"rumor without id":       {parcel{rumorRaw: replace(`"id":`, `"x":`)}, DropRumorShape},
		"rumor id wrong":         {parcel{rumorRaw: replace(`hello`, `hullo`)}, DropRumorID},
		"rumor signed":           {parcel{rumorRaw: replace(`"kind":`, `"sig":"`+strings.Repeat("0", 128)+`","kind":`)}, DropRumorSigned},
		"rumor by the victim":    {parcel{rumor: func(e *nostr.Event) { e.PubKey = o }}, DropImpersonation},
		"rumor kind 1":           {parcel{rumor: kind(1)}, DropRumorKind},
		"rumor kind 7":           {parcel{rumor: kind(7)}, DropRumorKind},
		"rumor kind 9734":        {parcel{rumor: kind(9734)}, DropRumorKind},
		"rumor kind 30023":       {parcel{rumor: kind(30023)}, DropRumorKind},
		"rumor not for us":       {parcel{rumor: func(e *nostr.Event) { e.Tags[0][1] = o }}, DropRumorNotForUs},
		"rumor to a group":       {parcel{rumor: tag("p", o)}, DropGroup},
		"rumor expired":          {parcel{rumor: tag("expiration", past)}, DropExpired},
		"rumor two hours ahead":  {parcel{rumor: at(2 * time.Hour)}, DropFuture},
		"rumor 73 hours old":     {parcel{rumor: at(-73 * time.Hour)}, DropOld},
		"rumor with 10,000 tags": {parcel{rumor: func(e *nostr.Event) { e.Tags = append(e.Tags, make(nostr.Tags, 10_000)...) }}, DropRumorShape},
	} {
		if _, err := Open(tower, c.p.build(t, user, tower.Public()), noon); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := Open(tower, parcel{}.build(t, tower, tower.Public()), noon); !errors.Is(err, DropSelf) {
		t.Errorf("own copy: %v", err)
	}
	if _, err := Open(Key{}, parcel{}.build(t, user, tower.Public()), noon); !errors.Is(err, DropNotForUs) {
		t.Errorf("no key: %v", err)
	}
}

// Excludes: refusing what good clients send.
func TestGoodWrapsAreOpened(t *testing.T) {
	user, tower := testKey(t, 1), testKey(t, 2)
	id, soon := strings.Repeat("a", 64), fmt.Sprint(noon.Add(time.Hour).Unix())
	for name, c := range map[string]struct {
		p     parcel
		check func(Message) bool
	}{
		"plain":              {parcel{}, func(m Message) bool { return m.Text == "hello" && m.Kind == 14 && m.At.Equal(noon) }},
		"ephemeral":          {parcel{wrap: kind(kindEphemeral)}, nil},
		"file":               {parcel{rumor: kind(kindFile)}, func(m Message) bool { return m.Kind == KindFile }},
		"empty":              {parcel{rumor: func(e *nostr.Event) { e.Content = "" }}, func(m Message) bool { return m.Text == "" }},
		"empty sig":          {parcel{rumorRaw: replace(`"kind":`, `"sig":"","kind":`)}, nil},
		"author in the room": {parcel{rumor: tag("p", user.Public().String())}, nil},
		"reply":              {parcel{rumor: tag("e", id, "wss://x", "reply")}, func(m Message) bool { return m.Parent == id }},
		"malformed reply":    {parcel{rumor: tag("e", "x")}, func(m Message) bool { return m.Parent == "" }},
		"subject":            {parcel{rumor: tag("subject", "S")}, func(m Message) bool { return m.Subject == "S" }},
		"disappearing":       {parcel{wrap: tag("expiration", soon), seal: tag("expiration", soon)}, func(m Message) bool { return m.Expires.Unix() == noon.Add(time.Hour).Unix() }},
		"odd expiration":     {parcel{wrap: tag("expiration", "abc")}, func(m Message) bool { return m.Expires.IsZero() }},
		"a wrap as text":     {parcel{rumor: func(e *nostr.Event) { e.Content = `{"kind":1059}` }}, nil},
		"minutes ahead":      {parcel{rumor: at(30 * time.Minute)}, nil},
		"two days old":       {parcel{rumor: at(-48 * time.Hour)}, nil},
	} {
		m, err := Open(tower, c.p.build(t, user, tower.Public()), noon)
		if err != nil || m.From != user.Public() || m.Scheme != NIP17 || len(m.ID) != 64 || c.check != nil && !c.check(m) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	// the same rumor in two wraps is one message
	p := parcel{}
	a, _ := Open(tower, p.build(t, user, tower.Public()), noon)
	b, _ := Open(tower, p.build(t, user, tower.Public()), noon)
	if a.ID != b.ID {
		t.Error("one rumor has two ids")
	}
	// an old message is returned, so that its sender can be told
	old, err := Open(tower, parcel{rumor: at(-100 * time.Hour)}.build(t, user, tower.Public()), noon)
	if !errors.Is(err, DropOld) || old.From != user.Public() {
		t.Errorf("old: %+v, %v", old, err)
	}
}

// Excludes: kind 4 taking the process down or telling a forger why it failed
// (bad-inputs 103 to 109).
func TestLegacyMessages(t *testing.T) {
	user, tower, other := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	evs, err := Seal(user, Letter{To: tower.Public(), Scheme: NIP04, Text: "hällo", At: noon, Parent: strings.Repeat("b", 64)}, rand.Reader)
	if err != nil || len(evs) != 1 || Verify(evs[0]) != nil {
		t.Fatal(err)
	}
	m, err := Open(tower, evs[0], noon)
	if err != nil || m.Text != "hällo" || m.ID != evs[0].ID || m.Scheme != NIP04 || m.Parent == "" || m.From != user.Public() {
		t.Fatalf("%+v, %v", m, err)
	}
	b64 := base64.StdEncoding.EncodeToString
	iv := b64(make([]byte, 16))
	padded := func(body []byte) string {
		x, _ := user.ecdh(tower.Public())
		block, _ := aes.NewCipher(x[:])
		out := make([]byte, len(body))
		cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(out, body)
		return b64(out) + "?iv=" + iv
	}
	good, _, _ := strings.Cut(evs[0].Content, "?iv=")
	for name, content := range map[string]string{
		"empty": "", "no iv": good, "iv of 8": good + "?iv=" + b64(make([]byte, 8)), "iv of 0": good + "?iv=",
		"iv of 17": good + "?iv=" + b64(make([]byte, 17)), "iv not base64": good + "?iv=***", "two iv": good + "?iv=" + iv + "?iv=" + iv,
		"body of 0": "?iv=" + iv, "body of 15": b64(make([]byte, 15)) + "?iv=" + iv, "body of 17": b64(make([]byte, 17)) + "?iv=" + iv,
		"newline":   good[:4] + "\n" + good[4:] + "?iv=" + iv,
		"padding 0": padded(make([]byte, 16)), "padding 17": padded(bytes.Repeat([]byte{17}, 32)),
		"padding 255": padded(bytes.Repeat([]byte{255}, 16)), "padding uneven": padded(append(make([]byte, 14), 1, 2)),
		"not UTF-8": padded(append([]byte{0xff, 0xfe}, bytes.Repeat([]byte{14}, 14)...)),
		"too long":  strings.Repeat("A", maxCipher04) + "?iv=" + iv,
	} {
		ev := *evs[0]
		ev.Content = content
		if _, err := Open(tower, &ev, noon); !errors.Is(err, DropDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, k := range []Key{other, {}} {
		if _, err := Open(k, evs[0], noon); !errors.Is(err, DropNotForUs) {
			t.Errorf("for another: %v", err)
		}
	}
	own, _ := Seal(tower, Letter{To: tower.Public(), Scheme: NIP04, Text: "x", At: noon}, rand.Reader)
	if _, err := Open(tower, own[0], noon); !errors.Is(err, DropSelf) {
		t.Errorf("own: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	user, tower := testKey(f, 1), testKey(f, 2)
	wrap := parcel{}.build(f, user, tower.Public())
	f.Add(wrap.Content, "plain", "plain", 1059)
	f.Add(strings.Repeat("\n", 132), `{"id":`, `{"kind":13,"tags":[[]]}`, 4)
	f.Add("A?iv=A", `{"tags":[["p"]]}`, `{}`, 21059)
	f.Fuzz(func(t *testing.T, content, rumor, seal string, kind int) {
		ev := *wrap
		ev.Content, ev.Kind = content, kind
		_, _ = Open(tower, &ev, noon)
		for _, p := range []parcel{{rumorRaw: func(string) string { return rumor }}, {sealRaw: func(string) string { return seal }}} {
			if rumor == "" || seal == "" || len(rumor) > 9_000 || len(seal) > 9_000 {
				continue
			}
			if m, err := Open(tower, p.build(t, user, tower.Public()), noon); errors.Is(err, DropPanic) || err == nil && m.From != user.Public() {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}

func FuzzDecrypt04(f *testing.F) {
	a, b := testKey(f, 1), testKey(f, 2)
	good, _ := Encrypt04(a, b.Public(), "hello", rand.Reader)
	f.Add(good)
	f.Add("?iv=")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==?iv=AAAAAAAAAAAAAAAAAAAAAA==")
	f.Fuzz(func(t *testing.T, content string) {
		if _, err := Decrypt04(b, a.Public(), content); err != nil && !errors.Is(err, ErrDecrypt) {
			t.Errorf("a reason leaks: %v", err)
		}
	})
}
