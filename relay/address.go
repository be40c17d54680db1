package relay

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/timmy-tower/timmy"
)

// doors counts what each address does.
type doors struct {
	limits  Limits
	proxies timmy.Proxies
	now     func() time.Time

	mu   sync.Mutex
	open map[netip.Prefix]int // connections, by address
	wide map[netip.Prefix]int // and by network
	all  int
	bad  *lru.Cache[netip.Prefix, strikes] // invalid signatures
}

type strikes struct {
	n     int
	since time.Time
}

func newDoors(l Limits, proxies []netip.Prefix, now func() time.Time) (*doors, error) {
	bad, err := lru.New[netip.Prefix, strikes](maxPrefixes)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return &doors{limits: l, proxies: proxies, now: now, open: map[netip.Prefix]int{}, wide: map[netip.Prefix]int{}, bad: bad}, nil
}

// client is the address a request comes from.
func (d *doors) client(req *http.Request) netip.Addr {
	return d.proxies.Client(req.RemoteAddr, req.Header.Values("X-Forwarded-For"))
}

// enter takes a place for a connection; ok is false when there is none.
func (d *doors) enter(a netip.Addr) (ok bool) {
	near, wide := prefix(a), widePrefix(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.limits.Connections || d.open[near] >= d.limits.PerAddress || d.wide[wide] >= wideFactor*d.limits.PerAddress {
		return false
	}
	d.all++
	d.open[near]++
	d.wide[wide]++
	return true
}

func (d *doors) leave(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	less(d.open, prefix(a))
	less(d.wide, widePrefix(a))
}

func less(m map[netip.Prefix]int, p netip.Prefix) {
	if m[p]--; m[p] <= 0 {
		delete(m, p)
	}
}

// strike counts an invalid signature and reports whether it was one too many for
// that address. A signature costs as much to refuse as to accept.
func (d *doors) strike(p netip.Prefix) (out bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, _ := d.bad.Get(p)
	if now := d.now(); now.Sub(s.since) > badSignatureTTL {
		s = strikes{since: now}
	}
	s.n++
	d.bad.Add(p, s)
	return s.n > d.limits.BadSignatures
}
