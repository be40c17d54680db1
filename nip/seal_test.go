package nip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nbd-wtf/go-nostr/nip59"
)

// Excludes: dates, keys and addresses that tell more than they must, a self copy
// that the tower takes for a question, and answers that only we can read.
func TestSealedLettersAreReadByTheirReaderAlone(t *testing.T) {
	tower, user := testKey(t, 1), testKey(t, 2)
	l := Letter{To: user.Public(), Scheme: NIP17, Text: "answer \x00 \xff", Parent: strings.Repeat("c", 64), At: noon, CopyToSelf: true}
	evs, err := Seal(tower, l, rand.Reader)
	if err != nil || len(evs) != 2 {
		t.Fatal(len(evs), err)
	}
	for i, reader := range []Key{user, tower} {
		ev := evs[i]
		if Verify(ev) != nil || ev.Kind != kindWrap || len(ev.Tags) != 1 || ev.Tags[0][1] != reader.Public().String() {
			t.Errorf("wrap %d: %v", i, ev)
		}
		if back := noon.Sub(ev.CreatedAt.Time()); back < 0 || back > 48*time.Hour {
			t.Errorf("wrap %d dated back by %v", i, back)
		}
		if ev.PubKey == tower.Public().String() {
			t.Error("the wrap names the tower")
		}
		// another implementation reads it as well
		rumor, err := nip59.GiftUnwrap(*ev, func(pub, text string) (string, error) {
			k, _, _ := ParseNpub(pub)
			return Decrypt44(reader, k, text)
		})
		if err != nil || rumor.PubKey != tower.Public().String() || rumor.Sig != "" {
			t.Errorf("nip59: %v, %v", rumor, err)
		}
	}
	m, err := Open(user, evs[0], noon)
	if err != nil || m.From != tower.Public() || m.Text != "answer \x00 \uFFFD" || m.Parent != l.Parent || !m.At.Equal(noon) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := Open(tower, evs[0], noon); !errors.Is(err, DropNotForUs) {
		t.Errorf("the sender opened the receiver's wrap: %v", err)
	}
	if _, err := Open(tower, evs[1], noon); !errors.Is(err, DropSelf) {
		t.Errorf("the self copy is a message: %v", err)
	}
	l.Expires = noon.Add(time.Hour)
	if evs, err = Seal(tower, l, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if m, err := Open(user, evs[0], noon); err != nil || m.Expires.Unix() != l.Expires.Unix() {
		t.Errorf("expiration: %+v, %v", m, err)
	}
	if _, err := Seal(tower, Letter{To: user.Public(), Scheme: "x", Text: "x"}, rand.Reader); err == nil {
		t.Error("unknown scheme accepted")
	}
	if _, err := Seal(tower, l, io.LimitReader(rand.Reader, 50)); err == nil {
		t.Error("sealed without randomness")
	}
}

// Excludes: seal and wrap that share one date, and all dates at one end.
func TestDatesAreSpread(t *testing.T) {
	seen := map[int64]bool{}
	for range 100 {
		at, err := someTimeBefore(noon, rand.Reader)
		if err != nil || at.Time().After(noon) || noon.Sub(at.Time()) > 48*time.Hour {
			t.Fatal(at, err)
		}
		seen[int64(at)/(6*3600)] = true
	}
	if len(seen) < 7 {
		t.Errorf("only %d of 8 quarter days", len(seen))
	}
}

// Excludes: answers that no relay takes, that lose a word, or that end in the
// middle of a rune (E11).
func TestEveryPartFitsARelay(t *testing.T) {
	tower, user := testKey(t, 1), testKey(t, 2)
	for name, text := range map[string]string{
		"short": "hello", "exact": strings.Repeat("x", MaxPart), "one more": strings.Repeat("x", MaxPart+1),
		"long word": strings.Repeat("x", 200_000), "words": strings.Repeat("word ", 30_000), "lines": strings.Repeat("some line\n", 9_000),
		"quotes": strings.Repeat(`"\`, 40_000), "controls": strings.Repeat("\x01", 30_000), "emoji": strings.Repeat("🗼", 30_000),
		"separators": strings.Repeat("\u2028", 20_000), "newlines": "a" + strings.Repeat("\n", 60_000) + "b", "megabyte": strings.Repeat("0123456789 abcdef\n", 58_255),
	} {
		parts := Split(text)
		var whole strings.Builder
		for i, p := range parts {
			body := p
			if len(parts) > 1 {
				var ok bool
				if body, ok = strings.CutPrefix(p, fmt.Sprintf("(%d/%d) ", i+1, len(parts))); !ok {
					t.Fatalf("%s: part %d starts with %.20q", name, i, p)
				}
			}
			if escapedLen(p) > MaxPart || !utf8.ValidString(p) || strings.TrimSpace(body) == "" && name != "separators" {
				t.Errorf("%s: part %d of %d bytes", name, i, len(p))
			}
			whole.WriteString(body)
			if i > 2 {
				continue
			}
			for _, scheme := range []Scheme{NIP17, NIP04} {
				evs, err := Seal(tower, Letter{To: user.Public(), Scheme: scheme, Text: p, At: noon, Parent: strings.Repeat("c", 64)}, rand.Reader)
				if err != nil {
					t.Fatalf("%s, part %d of %d, %s: %v", name, i, len(parts), scheme, err)
				}
				if _, err := ParseEvent([]byte(evs[0].String())); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		strip := strings.NewReplacer(" ", "", "\n", "")
		if strip.Replace(whole.String()) != strip.Replace(text) && name != "separators" {
			t.Errorf("%s: something was lost", name)
		}
	}
	if got := Split(" \n "); got != nil {
		t.Errorf("an empty text has parts: %q", got)
	}
	if _, err := Seal(tower, Letter{To: user.Public(), Scheme: NIP17, Text: strings.Repeat("x", 60_000), At: noon}, rand.Reader); err == nil {
		t.Error("a letter that no relay takes was sealed")
	}
}

// Excludes: a model that was talked into writing an invoice and puts a payable
// card, or a terminal sequence, into our chat.
func TestDefangBreaksWhatCanBePaid(t *testing.T) {
	for _, text := range []string{
		"lnbc1u1pabc", "LNBC10N1P", "pay:lnbcrt1xyz", "lntb1x", "lntbs1x", "lnurl1dp68", "LNURL1DP68", "cashuAeyJ0", "cashuBo2F",
		"lno1qcp", "lni1abc", "noffer1abc", "lightning:me@x.example", "bitcoin:bc1q", "LIGHTNING:LNBC1", "lnlnbc1x", "lnbclnbc1x",
		"ln\x00bc1x", "ln\x1b[31mbc1x", "l\u202enbc1", "lightning:lightning:lnbc1", "lnurlp:x.example", "ln\ufeffbc1x", "creqAabc",
	} {
		got := lower(Defang(text))
		for _, bad := range []string{"lnbc", "lntb", "lnurl1", "cashua", "cashub", "lno1", "lni1", "noffer1", "lightning:", "bitcoin:", "lnurlp:", "creqa", "\x1b", "\x00", "\u202e"} {
			if strings.Contains(got, bad) {
				t.Errorf("%q → %q", text, got)
			}
		}
	}
	for in, want := range map[string]string{
		"plain text\n\tindented": "plain text\n\tindented", "a\r\nb": "a\nb", "\x1b[1;31mred\x1b[0m": "red", "\x1b]0;title\x07x": "x",
		"h\xffi": "h\uFFFDi", "the catbird, an lnurl and cashew nuts": "the catbird, an lnurl and cashew nuts", "zürich 🗼 日本": "zürich 🗼 日本", "\u0085\u009bx": "x", "family 👨\u200d👩": "family 👨\u200d👩",
	} {
		if got := Defang(in); got != want {
			t.Errorf("%q → %q, want %q", in, got, want)
		}
	}
}
