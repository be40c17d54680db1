package rest

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestATokenIsMadeOfAProof: the proof is checked against the configured URL, not
// the Host header, and against the body.
func TestATokenIsMadeOfAProof(t *testing.T) {
	d := open(t, nil)
	d.tier[alice] = timmy.TierElite
	d.nip98 = func(header, method, url string, body []byte) bool {
		return header == "Nostr abc" && method == "POST" && url == "https://tower.example/identity/token?x=%20y" && string(body) == "{}"
	}
	g := d.want(d.call("POST", "/identity/token?x=%20y", "{}", "Authorization: Nostr abc"), 200, "")
	if f := fields(g.json); !maps.Equal(f, set("nostr_token", "pubkey", "trust_tier", "expires_at")) {
		t.Errorf("fields %v", f)
	}
	if g.str("pubkey") != alice.String() || g.str("trust_tier") != "elite" || g.str("expires_at") != "2026-01-03T03:04:05.000Z" {
		t.Errorf("got %s", g.body)
	}
	me := d.want(d.call("GET", "/identity/me", "", "X-Nostr-Token: "+g.str("nostr_token")), 200, "")
	if me.str("pubkey") != alice.String() || me.str("expires_at") != g.str("expires_at") {
		t.Errorf("got %s", me.body)
	}
	if s := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, "X-Nostr-Token: "+g.str("nostr_token")), 201, ""); s.str("trust_tier") != "elite" {
		t.Errorf("got %s", s.body)
	}
	d.pass(24 * time.Hour)
	d.want(d.call("GET", "/identity/me", "", "X-Nostr-Token: "+g.str("nostr_token")), 401, msgToken)
}

// TestProofsAreRefused: whatever the codec refuses, and what is no proof at all.
func TestProofsAreRefused(t *testing.T) {
	d := open(t, nil)
	for _, h := range [][]with{
		{}, {"Authorization: Nostr x"}, {"Authorization: Nostr"}, {"Authorization: Bearer x"}, {"Authorization: Basic x"},
	} {
		if g := d.want(d.call("POST", "/identity/token", "", h...), 401, ""); g.header.Get("WWW-Authenticate") == "" {
			t.Error("a 401 without WWW-Authenticate")
		}
		d.want(d.call("GET", "/identity/me", "", h...), 401, "")
	}
	d.nip98 = func(string, string, string, []byte) bool { return true }
	d.want(d.call("POST", "/identity/token", "", "Authorization: Nostr a", "Authorization: Nostr b"), 401, "")
	d.want(d.call("GET", "/identity/me", "", "Authorization: nostr a"), 200, "")
	d.want(d.call("GET", "/identity/me", "", "Authorization: Nostr a", "X-Nostr-Token: garbage"), 401, msgToken)
	d.want(d.call("POST", "/identity/token", strings.Repeat("x", 65537), "Authorization: Nostr a"), 413, "")
	d.fail = func(string) error { return timmy.Errorf(timmy.Internal, "secret") }
	d.want(d.call("GET", "/identity/me", "", "Authorization: Nostr a"), 500, "Failed to fetch identity")
	d.want(d.call("POST", "/identity/token", "", "Authorization: Nostr a"), 500, "Failed to issue token")
}

// TestTokensCannotBeForged: no bit of a token may change, and another tower's
// are no use here.
func TestTokensCannotBeForged(t *testing.T) {
	d := open(t, nil)
	other := open(t, func(c *Config, _ *world) { c.ServerKey = []byte(strings.Repeat("o", 32)) })
	tok := d.api.token(alice, d.clock().Add(time.Hour))
	if k, _, ok := d.api.readToken(tok); !ok || k != alice {
		t.Fatal("a good token is refused")
	}
	if _, _, ok := other.api.readToken(tok); ok {
		t.Error("another tower takes it")
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range tok {
		for _, c := range alphabet {
			if forged := tok[:i] + string(c) + tok[i+1:]; forged != tok {
				if _, _, ok := d.api.readToken(forged); ok {
					t.Fatalf("changed at %d, still good", i)
				}
			}
		}
	}
	for _, bad := range []string{"", tok + "=", tok + "A", tok[1:], tok + "\n"} {
		if _, _, ok := d.api.readToken(bad); ok {
			t.Errorf("%q is good", bad)
		}
	}
}
