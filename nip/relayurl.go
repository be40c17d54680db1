package nip

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// RelayURL brings a relay's URL into one form: scheme and host in lower case, no
// default port, no slash at the end. Anything but ws and wss, user names and
// fragments are refused (ok is false).
func RelayURL(s string) (_ string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxRelay || strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r == 0x7f }) {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return "", false
	}
	u.Scheme, u.Host = lower(u.Scheme), lower(u.Host)
	if u.Scheme != "ws" && u.Scheme != "wss" {
		return "", false
	}
	u.Host = strings.TrimSuffix(u.Host, defaultPort(u.Scheme))
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u.String(), true
}

// RelayURLs is the first [MaxRelays] different ones of a stranger's list, in
// their one form. It looks at the text alone: see [PublicRelays].
func RelayURLs(list []string) []string {
	var out []string
	for _, s := range list {
		if u, ok := RelayURL(s); ok && !slices.Contains(out, u) {
			if out = append(out, u); len(out) == MaxRelays {
				break
			}
		}
	}
	return out
}

// PublicRelays is RelayURLs without what is not encrypted or not on the
// internet: a stranger must not make us knock at our own doors. Names are not
// resolved here; whoever connects has to look at the address once more.
func PublicRelays(list []string) []string {
	var public []string
	for _, s := range list {
		if u, ok := RelayURL(s); ok && strings.HasPrefix(u, "wss://") && !privateHost(u) {
			public = append(public, u)
		}
	}
	return RelayURLs(public)
}

func privateHost(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return true
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return !a.IsGlobalUnicast() || a.IsPrivate() || sharedAddress.Contains(a)
	}
	if !strings.Contains(host, ".") || onlyDigits(host) {
		return true
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".lan", ".home.arpa", ".onion", ".test", ".invalid"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// sharedAddress is what providers use behind their NAT (RFC 6598).
var sharedAddress = netip.MustParsePrefix("100.64.0.0/10")

// onlyDigits catches the short and octal forms of IPv4 ("127.1", "0177.0.0.1",
// "0x7f.1") that resolvers still take.
func onlyDigits(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
}

func defaultPort(scheme string) string {
	if scheme == "wss" {
		return ":443"
	}
	return ":80"
}

// sameRelay compares by host and port, which is what NIP-42 asks for: paths and
// proxies in front differ for good reasons. The names of this machine are one.
func sameRelay(a, b string) bool {
	x, okX := hostPort(a)
	y, okY := hostPort(b)
	return okX && okY && x == y
}

func hostPort(s string) (string, bool) {
	n, ok := RelayURL(s)
	if !ok {
		return "", false
	}
	u, err := url.Parse(n)
	if err != nil {
		return "", false
	}
	host, port := strings.TrimSuffix(u.Hostname(), "."), u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)[1:]
	}
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && a.IsLoopback() {
		host = "localhost"
	}
	if host != "localhost" && (port == "80" || port == "443") {
		port = "443" // a proxy may end TLS for us
	}
	return net.JoinHostPort(host, port), true
}
