package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/relay"
)

// offlineRate is the bitcoin price while neither wallet nor model are real, so
// that the first command works offline. It is shown as made up.
const offlineRate timmy.Rate = 100_000 * 1_000_000

// Derived is what follows from the settings.
type Derived struct {
	PublicURL   string         // scheme://host[:port], no slash at the end
	RelayURL    string         // the same with ws or wss
	Operators   []timmy.PubKey // may manage the tower
	Proxies     []netip.Prefix // whose forwarding header is believed
	StaticRate  timmy.Rate     // 0: ask the price sources
	MadeUpRate  bool           // StaticRate is nobody's setting
	MetricsAddr string         // empty: no metrics
	Policy      relay.Policy   // who may write on the relay
}

var (
	errHostPort = errors.New("want host:port, as in 127.0.0.1:8080")
	errNeeded   = errors.New("is needed")
)

// check judges single values first, then those that depend on each other.
func (c *Config) check() error {
	for _, f := range c.fields {
		if err := f.check(); err != nil {
			return f.error(c.where(f), shown(err, f.text()))
		}
	}
	for _, step := range []func() error{
		c.checkName, c.checkListen, c.checkPublic, c.checkOperators, c.checkModel, c.checkWallet, c.checkRefunds,
		c.checkDatabase, c.checkPrices, c.checkRate, c.checkSessions, c.checkProxies, c.checkIndexers, c.checkRelay,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// bad is an error about one variable.
func (c *Config) bad(variable string, err error) error {
	for _, f := range c.fields {
		if f.Env == variable {
			return f.error(c.where(f), err)
		}
	}
	return fmt.Errorf("%s: %w", variable, err)
}

func (c *Config) badf(variable, format string, args ...any) error {
	return c.bad(variable, fmt.Errorf(format, args...))
}

func (c *Config) checkName() error {
	if c.Tower.Name == "" || strings.ContainsFunc(c.Tower.Name, unicode.IsControl) {
		return c.badf("TIMMY_NAME", "want a name without control characters")
	}
	if c.Tower.DataDir == "" {
		return c.badf("TIMMY_DATA_DIR", "want a folder")
	}
	return nil
}

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errHostPort
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errHostPort
	}
	return nil
}

func (c *Config) checkListen() error {
	if err := checkHostPort(c.Tower.Listen); err != nil {
		return c.bad("TIMMY_LISTEN", err)
	}
	c.MetricsAddr = c.HTTP.Metrics
	if c.MetricsAddr == "" || c.MetricsAddr == "off" {
		c.MetricsAddr = ""
		return nil
	}
	if err := checkHostPort(c.MetricsAddr); err != nil {
		return c.badf("TIMMY_METRICS_LISTEN", "%w, or off", err)
	}
	if c.MetricsAddr == c.Tower.Listen && !strings.HasSuffix(c.MetricsAddr, ":0") {
		return c.badf("TIMMY_METRICS_LISTEN", "is the same address as TIMMY_LISTEN; metrics are never public")
	}
	return nil
}

func (c *Config) checkPublic() error {
	if c.Tower.PublicURL == "" {
		c.bind(c.Tower.Listen)
		return nil
	}
	u, err := parsePublicURL(c.Tower.PublicURL)
	if err != nil {
		return c.bad("TIMMY_PUBLIC_URL", err)
	}
	c.setPublic(u)
	return nil
}

// parsePublicURL wants scheme and host alone, and encryption wherever strangers'
// bearers would cross the internet.
func parsePublicURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("want http(s)://host[:port]")
	}
	if u.User != nil {
		return nil, errors.New("want no user name or password in it")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "//") {
		return nil, errors.New("want host and port alone, without a path")
	}
	if u.Scheme == "http" && !isLocalHost(u.Hostname()) {
		return nil, errors.New("want https for a public host")
	}
	return u, nil
}

// localSuffixes are names that never leave a machine, a home or Tor.
var localSuffixes = []string{
	".localhost", ".local", ".lan", ".home.arpa", ".internal", ".test", ".example", ".onion",
}

func isLocalHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return isPrivate(ip)
	}
	host = strings.ToLower(host)
	return !strings.Contains(host, ".") || slices.ContainsFunc(localSuffixes, func(s string) bool { return strings.HasSuffix(host, s) })
}

func isPrivate(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

// bind derives the public URL from the address that is listened on, unless one
// is set. Call it again with the real address when the port was 0.
func (c *Config) bind(listen string) {
	if c.Tower.PublicURL != "" {
		return
	}
	host, port, _ := net.SplitHostPort(listen)
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1" // all addresses is no address: this one works here
	}
	c.setPublic(&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)})
}

func (c *Config) setPublic(u *url.URL) {
	host := strings.ToLower(u.Host)
	c.PublicURL = u.Scheme + "://" + host
	c.RelayURL = "ws" + strings.TrimPrefix(u.Scheme, "http") + "://" + host
}

func (c *Config) checkOperators() error {
	c.Operators = nil
	for _, s := range c.Tower.Operators {
		k, err := parsePubKey(s)
		if err != nil {
			return c.bad("TIMMY_OPERATORS", err)
		}
		if !slices.Contains(c.Operators, k) {
			c.Operators = append(c.Operators, k)
		}
	}
	return nil
}

func (c *Config) checkSessions() error {
	s := c.Sessions
	if s.MinDeposit > s.MaxDeposit {
		return c.badf("SESSION_MIN_DEPOSIT_SATS", "%d is more than SESSION_MAX_DEPOSIT_SATS, %d", s.MinDeposit, s.MaxDeposit)
	}
	if s.MinBalance > s.MinDeposit {
		return c.badf("SESSION_MIN_BALANCE_SATS", "%d is more than SESSION_MIN_DEPOSIT_SATS, %d: a session would start paused", s.MinBalance, s.MinDeposit)
	}
	return nil
}

func (c *Config) checkProxies() error {
	c.Proxies = nil
	for _, s := range c.HTTP.Proxies {
		p, err := parsePrefix(s)
		if err != nil {
			return c.badf("TIMMY_TRUSTED_PROXIES", "want networks such as 10.0.0.0/8")
		}
		if p.Bits() == 0 && !c.HTTP.AnyProxy {
			return c.badf("TIMMY_TRUSTED_PROXIES", "%s lets every caller claim any address; TIMMY_TRUST_ANY_PROXY=true allows it", p)
		}
		c.Proxies = append(c.Proxies, p)
	}
	return nil
}

// parsePrefix reads a network or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

func (c *Config) checkIndexers() (err error) {
	c.Relay.Indexers, err = c.relays("TIMMY_INDEXERS", c.Relay.Indexers)
	return err
}
