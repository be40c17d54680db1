package nip

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

type vectors44 struct {
	V2 struct {
		Valid struct {
			RawConv []map[string]string `json:"get_conversation_key"`
			Padded  [][2]int            `json:"calc_padded_len"`
			Encrypt []map[string]string `json:"encrypt_decrypt"`
			Long    []struct {
				Key     string `json:"conversation_key"`
				Nonce   string `json:"nonce"`
				Pattern string `json:"pattern"`
				Repeat  int    `json:"repeat"`
				Plain   string `json:"plaintext_sha256"`
				Payload string `json:"payload_sha256"`
			} `json:"encrypt_decrypt_long_msg"`
		} `json:"valid"`
		Invalid struct {
			Conversation []map[string]string `json:"get_conversation_key"`
			Decrypt      []map[string]string `json:"decrypt"`
		} `json:"invalid"`
	} `json:"v2"`
}

func loadVectors(t *testing.T) vectors44 {
	t.Helper()
	raw, err := os.ReadFile("testdata/nip44.vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(raw); got != "269ed0f69e4c192512cc779e78c555090cebc7c785b609e338a62afc3ce25040" {
		t.Fatalf("vectors are not the ones NIP-44 names: %s", got)
	}
	var v vectors44
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func hex32(t *testing.T, s string) (b [32]byte) {
	t.Helper()
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b
}

// Excludes: an own NIP-44 that talks to itself alone.
func TestNIP44MatchesTheOfficialVectors(t *testing.T) {
	v := loadVectors(t).V2
	for _, c := range v.Valid.RawConv {
		k, err := NewKey(hex32(t, c["sec1"]))
		if err != nil {
			t.Fatal(err)
		}
		x, err := k.ecdh(hex32(t, c["pub2"]))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := conversation(x); err != nil || hex.EncodeToString(key[:]) != c["conversation_key"] {
			t.Errorf("conversation key of %s: %x, %v", c["sec1"], key, err)
		}
	}
	for _, c := range v.Valid.Padded {
		if got := pad44(c[0]); got != c[1] {
			t.Errorf("pad(%d) = %d, want %d", c[0], got, c[1])
		}
	}
	for _, c := range v.Valid.Encrypt {
		key := hex32(t, c["conversation_key"])
		got, err := seal44(key, hex32(t, c["nonce"]), c["plaintext"])
		if err != nil || got != c["payload"] {
			t.Errorf("encrypt %q: %v", cut(c["plaintext"], 20), err)
		}
		if text, err := open44(key, c["payload"]); err != nil || text != c["plaintext"] {
			t.Errorf("decrypt %q: %v", cut(c["plaintext"], 20), err)
		}
	}
	for _, c := range v.Valid.Long {
		text := strings.Repeat(c.Pattern, c.Repeat)
		got, err := seal44(hex32(t, c.Key), hex32(t, c.Nonce), text)
		if err != nil || sum([]byte(got)) != c.Payload {
			t.Errorf("long %q: %v", c.Pattern, err)
		}
	}
}

// Excludes: keys off the curve and damaged payloads being let through.
func TestNIP44RefusesTheInvalidVectors(t *testing.T) {
	v := loadVectors(t).V2
	for _, c := range v.Invalid.Conversation {
		k, err := NewKey(hex32(t, c["sec1"]))
		if err == nil {
			_, err = k.ecdh(hex32(t, c["pub2"]))
		}
		if err == nil {
			t.Errorf("accepted: %s", c["note"])
		}
	}
	for _, c := range v.Invalid.Decrypt {
		if _, err := open44(hex32(t, c["conversation_key"]), c["payload"]); err == nil {
			t.Errorf("accepted: %s", c["note"])
		}
	}
}

// Excludes: the short form being used where the length no longer fits, and one
// text having two payloads. Boundaries are those of NIP-44's text of 2026.
func TestNIP44LongForm(t *testing.T) {
	a, b := testKey(t, 1), testKey(t, 2)
	for _, n := range []int{1, 32, 33, 65_535, 65_536, 65_537, maxPlaintext} {
		text := strings.Repeat("x", n)
		payload, err := Encrypt44(a, b.Public(), text, rand.Reader)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		raw, _ := base64.StdEncoding.DecodeString(payload)
		head := 2
		if n >= 65_536 {
			head = 6
		}
		if len(raw) != overhead44+head+pad44(n) {
			t.Errorf("%d: payload of %d bytes", n, len(raw))
		}
		if got, err := Decrypt44(b, a.Public(), payload); err != nil || got != text {
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, err := Encrypt44(a, b.Public(), strings.Repeat("x", maxPlaintext+1), rand.Reader); err == nil {
		t.Error("a text above our limit was encrypted")
	}
	if _, err := Encrypt44(a, b.Public(), "", rand.Reader); err == nil {
		t.Error("an empty text was encrypted")
	}
	// the long form around a short length is a second spelling of the same text
	body := make([]byte, 6+pad44(65_535))
	body[3], body[4], body[5] = 0, 0xff, 0xff
	if _, err := unpad44(body); err == nil {
		t.Error("long form with a short length accepted")
	}
}

// Excludes: 132 line breaks taking the process down (bad-input 83), and payloads
// that a stranger can respell (85).
func TestNIP44IsNotMalleable(t *testing.T) {
	a, b := testKey(t, 1), testKey(t, 2)
	good, err := Encrypt44(a, b.Public(), "hello", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		raw, _ := base64.StdEncoding.DecodeString(good)
		raw[(i+len(raw))%len(raw)] ^= 1
		return base64.StdEncoding.EncodeToString(raw)
	}
	for name, bad := range map[string]string{
		"newlines": strings.Repeat("\n", 132), "leading newline": "\n" + good, "trailing newline": good + "\n",
		"inner newline": good[:40] + "\n" + good[40:], "carriage return": good[:40] + "\r" + good[40:],
		"space": good + " ", "url alphabet": strings.NewReplacer("+", "-", "/", "_").Replace(good)[:131] + "_",
		"empty": "", "cut": good[:131], "mac": flip(-1), "nonce": flip(5), "ciphertext": flip(40),
		"other payload": good + good,
	} {
		if _, err := Decrypt44(b, a.Public(), bad); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	for _, bad := range []string{"#" + good, flip(0)} {
		if _, err := Decrypt44(b, a.Public(), bad); !errors.Is(err, ErrVersion) {
			t.Errorf("%.8s: %v, want unsupported version", bad, err)
		}
	}
}

// Excludes: a memory that grows with every stranger.
func TestSecretsAreBounded(t *testing.T) {
	s := newSecrets(3)
	for i := range byte(10) {
		s.put(timmy.PubKey{i}, sha256.Sum256([]byte{i}))
		s.get(timmy.PubKey{0})
	}
	if s.order.Len() != 3 || len(s.byKey) != 3 {
		t.Fatalf("%d kept", s.order.Len())
	}
	if _, ok := s.get(timmy.PubKey{0}); !ok {
		t.Error("the one in use was dropped")
	}
}

func FuzzDecrypt44(f *testing.F) {
	a, b := testKey(f, 1), testKey(f, 2)
	good, err := Encrypt44(a, b.Public(), "hello", rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(strings.Repeat("\n", 132))
	f.Add("#" + good)
	f.Fuzz(func(t *testing.T, payload string) {
		if text, err := Decrypt44(b, a.Public(), payload); err == nil && text == "" {
			t.Error("an empty text decrypted")
		}
	})
}
