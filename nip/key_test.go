package nip

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// noon is the time of all tests.
var noon = time.Unix(1_790_000_000, 0)

func testKey(tb testing.TB, n byte) Key {
	tb.Helper()
	k, err := NewKey([32]byte{0: 7, 31: n})
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// Excludes: a key that prints its secret when somebody logs the struct around it.
func TestKeyNeverPrintsItsSecret(t *testing.T) {
	k := testKey(t, 1)
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("start", "key", k, "in", struct{ K Key }{k})
	slog.New(slog.NewJSONHandler(&b, nil)).Info("start", "key", k, "in", struct{ K Key }{k})
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %q", k, k, k, k, &k, struct{ K Key }{k}, k)
	if strings.Contains(b.String(), k.Secret()) {
		t.Errorf("secret in %s", b.String())
	}
}

// Excludes: secrets that name no key, and errors that repeat what was typed.
func TestParseSecret(t *testing.T) {
	k := testKey(t, 1)
	for _, s := range []string{k.Secret(), " " + k.Nsec() + "\n", strings.ToUpper(k.Secret()), strings.ToUpper(k.Nsec())} {
		got, err := ParseSecret(s)
		if err != nil || got.Public() != k.Public() {
			t.Errorf("%.6s…: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "abc", strings.Repeat("0", 64), strings.Repeat("f", 64), order, k.Npub(), k.Nsec()[:60],
		k.Nsec() + "q", strings.Repeat("g", 64), "nsec1" + strings.Repeat("q", 3000),
	} {
		if _, err := ParseSecret(s); err == nil {
			t.Errorf("accepted %.10s", s)
		} else if len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

// Excludes: the CLI taking a secret for a public key, or hex of nobody.
func TestParseNpub(t *testing.T) {
	k := testKey(t, 1).Public()
	prof := Nprofile(k, []string{"wss://relay.example/", "wss://" + strings.Repeat("x", 300)})
	for _, s := range []string{k.String(), strings.ToUpper(k.String()), Npub(k), "nostr:" + Npub(k), "NOSTR:" + prof, " " + prof} {
		if got, _, err := ParseNpub(s); err != nil || got != k {
			t.Errorf("%.12s: %v", s, err)
		}
	}
	if _, relays, _ := ParseNpub(prof); len(relays) != 1 || relays[0] != "wss://relay.example" {
		t.Errorf("relays %v", relays)
	}
	sec := testKey(t, 1).Nsec()
	for _, s := range []string{"", "npub1", sec, "nostr:", strings.Repeat("f", 64), "note1" + Npub(k)[5:], "nprofile1qq"} {
		if _, _, err := ParseNpub(s); err == nil || strings.Contains(err.Error(), sec) {
			t.Errorf("%.12s: %v", s, err)
		}
	}
}

// Excludes: a stranger's relay list that makes us knock at our own doors.
func TestPublicRelaysAreOnTheInternet(t *testing.T) {
	bad := []string{
		"ws://relay.example", "wss://localhost", "wss://127.0.0.1", "wss://10.0.0.1:443", "wss://169.254.169.254",
		"wss://[::1]", "wss://[::ffff:127.0.0.1]", "wss://[fd00::1]", "wss://100.64.1.1", "wss://127.1", "wss://0x7f.1",
		"wss://2130706433", "wss://0177.0.0.1", "wss://nas.local", "wss://x.onion", "wss://u:p@relay.example", "wss://",
		"https://relay.example", "wss://relay.example/\r\nX: y", "wss://0.0.0.0", "wss://router", "wss://a.localhost.",
		"wss://255.255.255.255", "wss://224.0.0.1", "wss://relay.example#x", "", "wss://" + strings.Repeat("a", 300) + ".com",
	}
	if got := PublicRelays(bad); len(got) != 0 {
		t.Errorf("let through: %v", got)
	}
	got := PublicRelays(append(bad, "WSS://Relay.Example:443/", "wss://relay.example", "wss://8.8.8.8/path/"))
	if fmt.Sprint(got) != "[wss://relay.example wss://8.8.8.8/path]" {
		t.Errorf("got %v", got)
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("wss://r%d.example", i)
	}
	if got := PublicRelays(many); len(got) != MaxRelays {
		t.Errorf("%d relays", len(got))
	}
}

// Excludes: a bot that hides that it is one, or that cannot be written to.
func TestAnnouncements(t *testing.T) {
	k := testKey(t, 1)
	evs, err := Announcements(k, Profile{
		Name: "timmy", About: "I answer.", Lud16: "timmy@tower.example", Nip05: "timmy@tower.example",
		RelayURL: "wss://tower.example/", InboxRelays: []string{"wss://a.example", "wss://b.example", "wss://c.example"},
		Web: "https://njump.me/<bech32>", PriceLine: "About 20 sats.",
	}, noon)
	if err != nil || len(evs) != 4 {
		t.Fatal(len(evs), err)
	}
	for _, ev := range evs {
		if err := Verify(ev); err != nil {
			t.Errorf("kind %d: %v", ev.Kind, err)
		}
		if _, err := ParseEvent([]byte(ev.String())); err != nil {
			t.Errorf("kind %d: %v", ev.Kind, err)
		}
	}
	for _, want := range []string{`"bot":true`, `"lud16":"timmy@tower.example"`, `About 20 sats.`} {
		if !strings.Contains(evs[0].Content, want) {
			t.Errorf("profile lacks %s", want)
		}
	}
	if got := fmt.Sprint(InboxRelays(evs[2])); got != "[wss://tower.example wss://a.example wss://b.example]" {
		t.Errorf("inbox %s", got)
	}
	if InboxRelays(evs[1]) != nil || InboxRelays(nil) != nil {
		t.Error("inbox relays of something else")
	}
}

// Excludes: mail that others can read.
func TestPrivateEventsConcernTheirPartiesAlone(t *testing.T) {
	a, b, c := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	for _, kind := range []int{4, 13, 14, 15, 1059, 21059, 24133, 23194, 23195, 23196, 23197} {
		ev := eventFor(t, a, kind, b.Public())
		for key, want := range map[timmy.PubKey]bool{a.Public(): true, b.Public(): true, c.Public(): false} {
			if Concerns(ev, key.String()) != want {
				t.Errorf("kind %d for %s: not %v", kind, key, want)
			}
		}
		if Concerns(ev, "") {
			t.Errorf("kind %d for nobody", kind)
		}
	}
	if !Concerns(eventFor(t, a, 1, b.Public()), "") {
		t.Error("a public note is private")
	}
}
