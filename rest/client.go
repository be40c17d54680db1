package rest

import (
	"net/http"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/timmy-tower/timmy"
)

// clients are the token buckets, per address prefix, and who is asking.
type clients struct {
	proxies  timmy.Proxies
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

// prefix is what a client is counted by: its IPv4 address, or its IPv6 /64. Without
// one it is one bucket for all that have none.
func (c *clients) prefix(r *http.Request) netip.Prefix { return timmy.Network(c.address(r), 32, 64) }

func (c *clients) address(r *http.Request) netip.Addr {
	return c.proxies.Client(r.RemoteAddr, r.Header.Values("X-Forwarded-For"))
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
