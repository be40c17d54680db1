package nip

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

func walletPair(tb testing.TB) (u WalletURI, wallet Key) {
	tb.Helper()
	wallet = testKey(tb, 20)
	u, err := ParseWalletURI(fmt.Sprintf("nostr+walletconnect://%s?relay=wss%%3A%%2F%%2Frelay.example&secret=%s", wallet.Public(), testKey(tb, 21).Secret()))
	if err != nil {
		tb.Fatal(err)
	}
	return u, wallet
}

// said is an event of the wallet.
func said(tb testing.TB, u WalletURI, wallet Key, kind int, scheme Scheme, text string, tags ...nostr.Tag) *nostr.Event {
	tb.Helper()
	encrypt := Encrypt44
	if scheme == NIP04 {
		encrypt = Encrypt04
	}
	content, err := encrypt(wallet, u.Key.Public(), text, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	ev := &nostr.Event{Kind: kind, CreatedAt: 1, Content: content, Tags: append(nostr.Tags{{"p", u.Key.Public().String()}}, tags...)}
	if err := wallet.Sign(ev); err != nil {
		tb.Fatal(err)
	}
	return ev
}

// Excludes: a connection string that is taken in another sense than the wallet's,
// and a secret that is repeated in an error.
func TestWalletURI(t *testing.T) {
	w, s := testKey(t, 20).Public().String(), testKey(t, 21).Secret()
	good := "nostr+walletconnect://" + w + "?relay=wss://a.example&relay=wss://B.example/&secret=" + s + "&lud16=me@a.example"
	for _, in := range []string{good, strings.Replace(good, "://", ":", 1), " " + good + "\n", strings.Replace(good, "nostr+", "nostr", 1)} {
		u, err := ParseWalletURI(in)
		if err != nil || u.Wallet.String() != w || u.Key.Secret() != s || !slices.Equal(u.Relays, []string{"wss://a.example", "wss://b.example"}) {
			t.Errorf("%v, %v", u, err)
		}
		if text := fmt.Sprintf("%v %+v %#v", u, u, u); strings.Contains(text, s) {
			t.Error("the secret is printed")
		}
	}
	for name, in := range map[string]string{
		"empty": "", "scheme": strings.Replace(good, "nostr+walletconnect", "https", 1), "no secret": strings.Split(good, "&secret")[0],
		"two secrets": good + "&secret=" + s, "no relay": "nostr+walletconnect://" + w + "?secret=" + s,
		"relay of http": "nostr+walletconnect://" + w + "?relay=https://a.example&secret=" + s, "short key": strings.Replace(good, w, w[:62], 1),
		"own key": "nostr+walletconnect://" + testKey(t, 21).Public().String() + "?relay=wss://a.example&secret=" + s,
		"zero":    strings.Replace(good, s, strings.Repeat("0", 64), 1), "not on the curve": strings.Replace(good, w, strings.Repeat("f", 64), 1),
		"long": good + "&x=" + strings.Repeat("x", 5000), "bad escape": good + "&x=%zz",
	} {
		if u, err := ParseWalletURI(in); err == nil || strings.Contains(err.Error(), s) {
			t.Errorf("%s: %v, %v", name, u, err)
		}
	}
}

// Excludes: an encryption that the wallet cannot read, or the weak one where it
// knows better.
func TestWalletInfo(t *testing.T) {
	for said, want := range map[string]Scheme{"nip44_v2 nip04": NIP44, "nip04 nip44_v2": NIP44, "nip44_v2,nip04": NIP44, "nip04": NIP04, "": "", "nip44_v3": ""} {
		ev := &nostr.Event{Kind: KindWalletInfo, Content: "make_invoice lookup_invoice", Tags: nostr.Tags{{"encryption", said}, {"notifications", "payment_received payment_sent"}}}
		info, err := ParseWalletInfo(ev)
		got, ok := info.Scheme()
		if err != nil || got != want || ok != (want != "") || len(info.Methods) != 2 || len(info.Notifications) != 2 {
			t.Errorf("%q: %+v, %v", said, info, err)
		}
	}
	if info, err := ParseWalletInfo(&nostr.Event{Kind: KindWalletInfo}); err != nil || info.Schemes[0] != NIP04 {
		t.Errorf("no tag: %+v, %v", info, err)
	}
	if _, err := ParseWalletInfo(&nostr.Event{Kind: 1}); err == nil {
		t.Error("a note is no info event")
	}
}

// Excludes: a request that a wallet would not take, or whose content names no
// encryption.
func TestWalletRequest(t *testing.T) {
	u, wallet := walletPair(t)
	for _, scheme := range []Scheme{NIP44, NIP04} {
		call := WalletCall{Method: "make_invoice", Params: map[string]int{"amount": 1000}, Scheme: scheme, Expires: noon.Add(time.Minute)}
		ev, err := WalletRequest(u, call, noon, rand.Reader)
		if err != nil || Verify(ev) != nil || ev.Kind != KindWalletRequest || ev.PubKey != u.Key.Public().String() || first(ev.Tags, "p") != u.Wallet.String() {
			t.Fatalf("%v, %v", ev, err)
		}
		if at, ok := expiration(ev.Tags); !ok || !at.Equal(call.Expires) {
			t.Errorf("expires %v", at)
		}
		open, tag := Decrypt44, string(NIP44)
		if scheme == NIP04 {
			open, tag = Decrypt04, ""
		}
		text, err := open(wallet, u.Key.Public(), ev.Content)
		if err != nil || text != `{"method":"make_invoice","params":{"amount":1000}}` || first(ev.Tags, "encryption") != tag {
			t.Errorf("%s: %q, %v", scheme, text, err)
		}
		again, err := WalletRequest(u, call, noon, rand.Reader)
		if err != nil || again.ID == ev.ID {
			t.Errorf("the same event twice: %v", err)
		}
	}
}

// Excludes: an answer of somebody else, to another request or method, and a
// refusal that is taken for an answer.
func TestWalletAnswers(t *testing.T) {
	u, wallet := walletPair(t)
	e := nostr.Tag{"e", strings.Repeat("a", 64)}
	open := func(ev *nostr.Event) (json.RawMessage, error) { return OpenWalletAnswer(u, ev, e[1], "get_info") }
	for text, code := range map[string]string{
		`{"result_type":"get_info","error":null,"result":{"a":1}}`: "",
		`{"result":{"a":1}}`: "",
		`{"result_type":"get_info","error":{"code":"RATE_LIMITED","message":"x"},"result":{"a":1}}`:  WalletRateLimited,
		`{"result_type":"get_info","error":{},"result":{"a":1}}`:                                     WalletOther,
		`{"result_type":"get_info","error":"no","result":{"a":1}}`:                                   WalletOther,
		`{"result_type":"get_info","error":false,"result":{"a":1}}`:                                  WalletOther,
		`{"result_type":"get_info","error":{"code":"UNSUPPORTED_ENCRYPTION"}}`:                       WalletUnsupported,
		`{"result_type":"get_info"}`:                                                                 WalletOther,
		`{"result_type":"get_info","result":null}`:                                                   WalletOther,
		`{"result_type":"get_info","error":{"code":"` + strings.Repeat("X", 500) + `"},"result":{}}`: strings.Repeat("X", 64),
	} {
		for _, scheme := range []Scheme{NIP44, NIP04} {
			got, err := open(said(t, u, wallet, KindWalletResponse, scheme, text, e))
			if w, ok := errors.AsType[*WalletError](err); (code == "") != (err == nil && string(got) == `{"a":1}`) || code != "" && (!ok || w.Code != code) {
				t.Errorf("%s: %s, %v", text, got, err)
			}
		}
	}
	for name, ev := range map[string]*nostr.Event{
		"kind":      said(t, u, wallet, KindWalletNote44, NIP44, `{"result":{}}`, e),
		"other":     said(t, u, wallet, KindWalletResponse, NIP44, `{"result":{}}`, nostr.Tag{"e", strings.Repeat("b", 64)}),
		"no e":      said(t, u, wallet, KindWalletResponse, NIP44, `{"result":{}}`),
		"stranger":  said(t, u, testKey(t, 30), KindWalletResponse, NIP44, `{"result":{}}`, e),
		"method":    said(t, u, wallet, KindWalletResponse, NIP44, `{"result_type":"pay_invoice","result":{}}`, e),
		"no json":   said(t, u, wallet, KindWalletResponse, NIP44, `paid`, e),
		"encrypted": {Kind: KindWalletResponse, PubKey: u.Wallet.String(), Tags: nostr.Tags{{"p", u.Key.Public().String()}, e}, Content: "AAAA"},
	} {
		if _, refused := errors.AsType[*WalletError](func() error { _, err := open(ev); return err }()); refused {
			t.Errorf("%s is taken for a refusal", name)
		}
		if got, err := open(ev); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Excludes: a notification of a stranger, or about nothing.
func TestWalletNotes(t *testing.T) {
	u, wallet := walletPair(t)
	h := timmy.Hash{1, 2}
	text := `{"notification_type":"payment_received","notification":{"payment_hash":"` + h.String() + `","amount":1}}`
	for kind, scheme := range map[int]Scheme{KindWalletNote44: NIP44, KindWalletNote04: NIP04} {
		n, err := OpenWalletNote(u, said(t, u, wallet, kind, scheme, text))
		if err != nil || n.Hash != h || n.Type != "payment_received" {
			t.Errorf("%+v, %v", n, err)
		}
	}
	for _, ev := range []*nostr.Event{
		said(t, u, testKey(t, 30), KindWalletNote44, NIP44, text),
		said(t, u, wallet, KindWalletResponse, NIP44, text),
		said(t, u, wallet, KindWalletNote44, NIP44, `{"notification_type":"payment_received","notification":{}}`),
		said(t, u, wallet, KindWalletNote44, NIP44, `[]`),
	} {
		if n, err := OpenWalletNote(u, ev); err == nil {
			t.Errorf("%+v", n)
		}
	}
}

// FuzzWallet: what a wallet says, and a connection string, never panic and never
// become an answer without a result.
func FuzzWallet(f *testing.F) {
	u, wallet := walletPair(f)
	e := nostr.Tag{"e", strings.Repeat("a", 64)}
	f.Add(`{"result_type":"get_info","error":null,"result":{}}`)
	f.Add("nostr+walletconnect:" + wallet.Public().String() + "?relay=wss://a&secret=1")
	f.Fuzz(func(t *testing.T, text string) {
		if u, err := ParseWalletURI(text); err == nil && (u.Key.IsZero() || len(u.Relays) == 0) {
			t.Error("an empty connection")
		}
		if text == "" || len(text) > 60_000 {
			return
		}
		ev := said(t, u, wallet, KindWalletResponse, NIP44, text, e)
		if got, err := OpenWalletAnswer(u, ev, e[1], "get_info"); err == nil && !json.Valid(got) {
			t.Errorf("%q", got)
		}
		ev.Kind = KindWalletNote44
		_, _ = OpenWalletNote(u, ev)
		_, _ = ParseWalletInfo(&nostr.Event{Kind: KindWalletInfo, Content: text, Tags: nostr.Tags{{"encryption", text}}})
	})
}
