package wallet

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// publicClient connects to public addresses only, and through no proxy: a
// provider's answer names the next address, and must not reach into this network.
func publicClient() *http.Client {
	t := newTransport()
	t.Proxy = nil
	t.ResponseHeaderTimeout = callTimeout
	t.DialContext = (&net.Dialer{Timeout: connectTimeout, Control: onlyPublic}).DialContext
	return &http.Client{Transport: t}
}

// onlyPublic judges the address after the name was looked up.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !isPublic(at.Addr()) {
		return fmt.Errorf("%w: %s", errPrivate, at.Addr())
	}
	return nil
}

var errPrivate = errors.New("refusing to call a private address")

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range [...]string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"} {
		if netip.MustParsePrefix(p).Contains(ip) {
			return false
		}
	}
	return true
}

// secureURL reads an address that a provider named: https, nothing secret in it.
func secureURL(s string) (*url.URL, error) {
	if len(s) > maxProviderURL {
		return nil, fmt.Errorf("an address of %d characters", len(s))
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("the provider names an address that is not https")
	}
	return u, nil
}

// addressURL is where a lightning address is looked up (LUD-16).
func addressURL(address string) (string, error) {
	name, host, ok := strings.Cut(address, "@")
	if !ok || name == "" || len(address) > maxAddress || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.+") != "" {
		return "", errors.New("want name@host")
	}
	u, err := secureURL("https://" + host)
	if err != nil || u.Host != host || u.Path != "" || u.RawQuery != "" {
		return "", errors.New("want name@host")
	}
	return "https://" + host + "/.well-known/lnurlp/" + name, nil
}
