package nip

import (
	"crypto/aes"
	"crypto/cipher"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// sealZap encrypts as Damus does: for to, under a key that is used once.
func sealZap(tb testing.TB, once Key, to timmy.PubKey, text string) string {
	tb.Helper()
	x, err := once.ecdh(to)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := aes.NewCipher(x[:])
	if err != nil {
		tb.Fatal(err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	body := []byte(text + strings.Repeat(string(rune(pad)), pad))
	iv := []byte("0123456789abcdef")
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
	return encodeBech32("pzap", body) + "_" + encodeBech32("iv", iv)
}

// Excludes: a private zap that credits nobody or the throw-away key; and one with
// another's event in it, made for somebody else or another note, that credits.
func TestPrivateZaps(t *testing.T) {
	once, tower, payer := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	e64, other := strings.Repeat("e", 64), strings.Repeat("d", 64)
	comment := strings.Repeat("ü", 280)
	inside := func(change func(*nostr.Event)) string {
		ev := &nostr.Event{
			Kind: KindPrivateZap, CreatedAt: nostr.Timestamp(noon.Unix()), Content: comment,
			Tags: nostr.Tags{{"p", tower.Public().String()}, {"e", e64}},
		}
		if change != nil {
			change(ev)
		}
		if err := payer.Sign(ev); err != nil {
			t.Fatal(err)
		}
		return ev.String()
	}
	open := func(anon, e string) (timmy.PubKey, string, error) {
		raw := zapRaw(t, ZapRequest{Amount: zapAmount, E: e}, func(ev *nostr.Event) { ev.Tags = append(ev.Tags, nostr.Tag{"anon", anon}) })
		z, err := ParseZapRequest(raw, tower.Public(), tower.Public(), zapAmount, noon)
		if err != nil || !z.Anonymous || z.Private != anon {
			t.Fatalf("%+v, %v", z, err)
		}
		return OpenPrivateZap(tower, z)
	}
	good := sealZap(t, once, tower.Public(), inside(nil))
	if from, said, err := open(good, e64); err != nil || from != payer.Public() || said != comment {
		t.Errorf("from %s, %q, %v", from, said, err)
	}
	profile := inside(func(ev *nostr.Event) { ev.Tags = ev.Tags[:1] })
	if from, _, err := open(sealZap(t, once, tower.Public(), profile), ""); err != nil || from != payer.Public() {
		t.Errorf("of the profile: %s, %v", from, err)
	}
	forged := strings.Replace(inside(nil), payer.Public().String(), testKey(t, 4).Public().String(), 1)
	for name, c := range map[string]struct{ anon, e string }{
		"another note": {good, other}, "no note": {good, ""},
		"another key's": {sealZap(t, testKey(t, 5), tower.Public(), inside(nil)), e64},
		"forged":        {sealZap(t, once, tower.Public(), forged), e64},
		"kind 1":        {sealZap(t, once, tower.Public(), inside(func(ev *nostr.Event) { ev.Kind = 1 })), e64},
		"for another":   {sealZap(t, once, tower.Public(), inside(func(ev *nostr.Event) { ev.Tags[0][1] = other })), e64},
		"for two": {sealZap(t, once, tower.Public(), inside(func(ev *nostr.Event) {
			ev.Tags = append(ev.Tags, nostr.Tag{"p", other})
		})), e64},
		"no event": {sealZap(t, once, tower.Public(), "hello"), e64}, "nothing": {sealZap(t, once, tower.Public(), ""), e64},
		"no iv": {strings.Split(good, "_")[0], e64}, "short iv": {strings.Split(good, "_")[0] + "_" + encodeBech32("iv", []byte("x")), e64},
		"cut": {good[:50] + good[60:], e64}, "rubbish": {"pzap1x_iv1y", e64}, "mixed": {encodeBech32("pzap", []byte("x")) + "_" + encodeBech32("iv", make([]byte, 16)), e64},
	} {
		if from, _, err := open(c.anon, c.e); timmy.CodeOf(err) != timmy.Invalid || !from.IsZero() {
			t.Errorf("%s: %s, %v", name, from, err)
		}
	}
}

func FuzzOpenPrivateZap(f *testing.F) {
	tower := testKey(f, 2)
	f.Add(sealZap(f, testKey(f, 1), tower.Public(), `{"kind":9733}`))
	f.Add("pzap1_iv1")
	f.Fuzz(func(t *testing.T, anon string) {
		from, _, err := OpenPrivateZap(tower, ZapRequest{Private: anon, From: testKey(t, 1).Public()})
		if err == nil || !from.IsZero() {
			t.Errorf("%s opened it", from)
		}
	})
}
