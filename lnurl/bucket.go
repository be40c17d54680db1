package lnurl

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// Rate is a token bucket: so many a minute, after a burst. Zero: the default.
type Rate struct{ PerMinute, Burst int }

func (r Rate) or(d Rate) Rate {
	if r.PerMinute <= 0 || r.Burst <= 0 {
		return d
	}
	return r
}

type bucket struct {
	left float64
	at   time.Time
}

// take spends a token, if there is one.
func (b *bucket) take(r Rate, now time.Time) bool {
	b.fill(r, now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (b *bucket) fill(r Rate, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(float64(r.Burst), b.left+d.Minutes()*float64(r.PerMinute))
	}
	b.at = now
}

// buckets holds one bucket a prefix, at most maxPrefixes. What does not fit
// shares one: an attacker with many addresses throttles other newcomers, never
// those who were here before.
type buckets struct {
	rate   Rate
	mu     sync.Mutex
	by     map[netip.Prefix]*bucket
	shared bucket
	swept  time.Time
}

func newBuckets(r Rate, now time.Time) *buckets {
	return &buckets{rate: r, by: map[netip.Prefix]*bucket{}, shared: bucket{float64(r.Burst), now}}
}

func (bs *buckets) take(p netip.Prefix, now time.Time) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b, ok := bs.by[p]
	if !ok {
		if len(bs.by) >= maxPrefixes {
			bs.sweep(now)
		}
		if len(bs.by) >= maxPrefixes {
			return bs.shared.take(bs.rate, now)
		}
		b = &bucket{float64(bs.rate.Burst), now}
		bs.by[p] = b
	}
	return b.take(bs.rate, now)
}

// sweep forgets the prefixes whose bucket is full again, at most once a second:
// it looks at all of them.
func (bs *buckets) sweep(now time.Time) {
	if now.Sub(bs.swept) < time.Second {
		return
	}
	bs.swept = now
	for p, b := range bs.by {
		if b.fill(bs.rate, now); b.left >= float64(bs.rate.Burst) {
			delete(bs.by, p)
		}
	}
}

// prefixOf is whom a call is counted for.
func prefixOf(r *http.Request, proxies timmy.Proxies) netip.Prefix {
	return timmy.Network(proxies.Client(r.RemoteAddr, r.Header.Values("X-Forwarded-For")), 24, 56)
}
