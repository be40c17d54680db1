package timmy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// Excludes a client who chooses its address, by a header without a proxy, before the
// proxies' own words, or by nonsense in it.
func TestClientsDoNotChooseTheirAddress(t *testing.T) {
	proxies := timmy.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tc := range []struct {
		peer, forwarded, want string
		trusted               timmy.Proxies
	}{
		{"203.0.113.9:1", "", "203.0.113.9", proxies},
		{"203.0.113.9:1", "198.51.100.1", "203.0.113.9", proxies},
		{"10.0.0.1:1", "198.51.100.1", "10.0.0.1", nil},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1", proxies},
		{"10.0.0.1:1", "", "10.0.0.1", proxies},
		{"10.0.0.1:1", "192.0.2.1, 198.51.100.1, 10.0.0.2", "198.51.100.1", proxies},
		{"10.0.0.1:1", "192.0.2.1|198.51.100.1", "198.51.100.1", proxies},
		{"10.0.0.1:1", "192.0.2.1, nonsense, 10.0.0.2", "10.0.0.2", proxies},
		{"[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1", "198.51.100.1", proxies},
		{"[fd00::1%eth0]:1", "2001:db8::1%x", "2001:db8::1", proxies},
		{"10.0.0.1:1", "198.51.100.1" + strings.Repeat(",10.0.0.2", 15), "198.51.100.1", proxies},
		{"10.0.0.1:1", "198.51.100.1" + strings.Repeat(",10.0.0.2", 16), "10.0.0.2", proxies},
		{"@", "198.51.100.1", "invalid IP", proxies},
	} {
		lines := strings.Split(tc.forwarded, "|")
		if got := tc.trusted.Client(tc.peer, lines).String(); got != tc.want {
			t.Errorf("%s, %q: %s, want %s", tc.peer, lines, got, tc.want)
		}
	}
}

// Excludes a customer who is many because an address is written in another way.
func TestNetworksAreCountedAsOne(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9": "203.0.113.9/32", "::ffff:203.0.113.9": "203.0.113.9/32",
		"2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1%eth0": "2001:db8::/64",
	} {
		if got := timmy.Network(netip.MustParseAddr(addr), 32, 64).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if timmy.Network(netip.Addr{}, 32, 64).IsValid() {
		t.Error("no address has a network")
	}
}
