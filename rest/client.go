package rest

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// clients are the token buckets, per address prefix, and who is asking.
type clients struct {
	proxies  []netip.Prefix
	now      Clock
	all      *buckets
	sessions *buckets
}

func newClients(l Limits, proxies []netip.Prefix, now Clock) (*clients, error) {
	all, err := newBuckets(l.PerMinute, l.Burst)
	if err != nil {
		return nil, err
	}
	sessions, err := newBuckets(l.SessionsPerMinute, l.SessionsBurst)
	return &clients{proxies: proxies, now: now, all: all, sessions: sessions}, err
}

func (c *clients) allow(r *http.Request) bool { return c.all.allow(c.prefix(r), c.now()) }

func (c *clients) allowSession(r *http.Request) bool {
	return c.sessions.allow(c.prefix(r), c.now())
}

// prefix is what a client is counted by: its IPv4 address, or its IPv6 /64.
func (c *clients) prefix(r *http.Request) netip.Prefix {
	a := c.address(r)
	bits := a.BitLen()
	if a.Is6() {
		bits = ipv6Prefix
	}
	p, _ := a.Prefix(bits) // an invalid address is one bucket for all that have none
	return p
}

// address is the socket's peer. X-Forwarded-For is read from the right, and only
// as far as trusted proxies wrote it: everything left of the first stranger is
// that stranger's invention.
func (c *clients) address(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := ap.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxForwarded && c.trusted(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at
}

func (c *clients) trusted(a netip.Addr) bool {
	for _, p := range c.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// buckets are token buckets of one size.
type buckets struct {
	perMinute, burst int
	byClient         *lru.Cache[netip.Prefix, *rate.Limiter]
}

func newBuckets(perMinute, burst int) (*buckets, error) {
	c, err := lru.New[netip.Prefix, *rate.Limiter](maxClients)
	return &buckets{perMinute: perMinute, burst: burst, byClient: c}, err
}

func (b *buckets) allow(p netip.Prefix, now time.Time) bool {
	if b.perMinute < 0 {
		return true
	}
	l, ok := b.byClient.Get(p)
	if !ok {
		l = rate.NewLimiter(rate.Limit(float64(b.perMinute)/60), max(1, b.burst))
		if prev, had, _ := b.byClient.PeekOrAdd(p, l); had {
			l = prev
		}
	}
	return l.AllowN(now, 1)
}
