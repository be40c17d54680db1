package lnurl

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
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

// prefixOf is whom a call is counted for: the socket's address, or, behind a
// configured proxy, the last forwarded one that is not a proxy's.
func prefixOf(r *http.Request, proxies []netip.Prefix) netip.Prefix {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr := ap.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted(addr, proxies); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	bits := 24
	if addr.Is6() {
		bits = 56
	}
	p, _ := addr.WithZone("").Prefix(bits)
	return p
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
