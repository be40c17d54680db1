package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

var (
	errNetRate = errors.New("rate-limited: too many events from your network, try again in a minute")
	errKeyRate = errors.New("rate-limited: too many events of this key, try again in a minute")
)

// rates counts events by where they come from and by who signed them. A network
// around an address may do [wideFactor] times what one address may: who has many
// addresses has them side by side.
type rates struct {
	now        func() time.Time
	near, wide *buckets[netip.Prefix]
	keys       *buckets[string]
}

func newRates(l Limits, now func() time.Time) (r *rates, err error) {
	r = &rates{now: now}
	if r.near, err = newBuckets[netip.Prefix](l.EventsPerAddress); err != nil {
		return nil, err
	}
	if r.wide, err = newBuckets[netip.Prefix](wideFactor * l.EventsPerAddress); err != nil {
		return nil, err
	}
	r.keys, err = newBuckets[string](l.EventsPerKey)
	return r, err
}

// address takes one event from an address.
func (r *rates) address(a netip.Addr) error {
	now := r.now()
	if !r.near.take(prefix(a), now) || !r.wide.take(widePrefix(a), now) {
		return errNetRate
	}
	return nil
}

// key takes one event of each key.
func (r *rates) key(keys ...string) error {
	now := r.now()
	for _, k := range keys {
		if !r.keys.take(k, now) {
			return errKeyRate
		}
	}
	return nil
}

// buckets are token buckets by key, filled a minute's worth, of those that were
// used last.
type buckets[K comparable] struct {
	perMinute int // 0: no limit
	mu        sync.Mutex
	used      *lru.Cache[K, *rate.Limiter]
}

func newBuckets[K comparable](perMinute int) (*buckets[K], error) {
	used, err := lru.New[K, *rate.Limiter](maxPrefixes)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return &buckets[K]{perMinute: max(0, perMinute), used: used}, nil
}

func (b *buckets[K]) take(k K, now time.Time) bool {
	if b.perMinute == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.used.Get(k)
	if !ok {
		l = rate.NewLimiter(rate.Limit(float64(b.perMinute)/60), b.perMinute)
		b.used.Add(k, l)
	}
	return l.AllowN(now, 1)
}
