package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// ErrAddress refuses to connect to a relay because of where it is.
var ErrAddress = errors.New("relay address refused")

// relayPorts are the ports on which relays are found. Others belong to databases
// and mail servers that a stranger's relay list must not make us talk to.
var relayPorts = map[string]bool{
	"": true, "80": true, "443": true, "3334": true, "4848": true, "7000": true,
	"7447": true, "7777": true, "8008": true, "8080": true, "8443": true, "8888": true,
}

// reservedNets are the ranges that netip does not class but that are nobody's
// public relay; the IPv6 ones embed or translate to IPv4.
var reservedNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// CleanRelayURL brings a relay's address into its one form (lower-case host, no
// default port, no trailing slash) or refuses it. Without allowPrivate only wss
// to a public-looking host on a usual port passes; what the name resolves to is
// checked when it is dialled.
func CleanRelayURL(raw string, allowPrivate bool) (string, error) {
	if len(raw) > clientMaxURL {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrAddress, clientMaxURL)
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", fmt.Errorf("%w: not a URL", ErrAddress)
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname())
	if scheme != "wss" && (scheme != "ws" || !allowPrivate) {
		return "", fmt.Errorf("%w: not wss", ErrAddress)
	}
	if u.User != nil || u.Fragment != "" || host == "" {
		return "", fmt.Errorf("%w: user, fragment or no host", ErrAddress)
	}
	if !allowPrivate {
		if err := publicHost(host, u.Port()); err != nil {
			return "", err
		}
	}
	port := u.Port()
	if (scheme == "wss" && port == "443") || (scheme == "ws" && port == "80") {
		port = ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	out := url.URL{Scheme: scheme, Host: host, Path: strings.TrimRight(u.Path, "/"), RawQuery: u.RawQuery}
	return out.String(), nil
}

// publicHost refuses what can be refused without asking the resolver.
func publicHost(host, port string) error {
	if !relayPorts[port] {
		return fmt.Errorf("%w: port %s", ErrAddress, port)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return publicAddr(a)
	}
	if !strings.Contains(host, ".") || strings.HasSuffix(host, ".") {
		return fmt.Errorf("%w: not a public name", ErrAddress)
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".onion", ".lan", ".home.arpa"} {
		if strings.HasSuffix(host, suffix) {
			return fmt.Errorf("%w: not a public name", ErrAddress)
		}
	}
	return nil
}

// publicAddr refuses every address that is not one of the open internet:
// loopback, private, link-local (cloud metadata), multicast, reserved.
func publicAddr(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	bad := !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
	for _, p := range reservedNets {
		bad = bad || p.Contains(a)
	}
	if bad {
		return fmt.Errorf("%w: not a public address", ErrAddress)
	}
	return nil
}

// checkDialled looks at the address that is really about to be connected to, so
// that a name which resolves differently the second time gains nothing.
func checkDialled(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	return publicAddr(ap.Addr())
}

// handshakeClient makes the HTTP client of one handshake: no proxy, no
// redirects, no cookies, nothing kept.
func handshakeClient(o DialOptions) *http.Client {
	d := &net.Dialer{Timeout: clientDialTimeout}
	if !o.AllowPrivate {
		d.Control = checkDialled
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return d.DialContext(ctx, network, addr)
			},
			TLSHandshakeTimeout:    clientDialTimeout,
			ResponseHeaderTimeout:  clientDialTimeout,
			MaxResponseHeaderBytes: clientMaxHeader,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
