package relay

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// doors counts what each address does.
type doors struct {
	limits  Limits
	proxies []netip.Prefix
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

// client is the address a request comes from. A forwarding header is believed
// only from a configured proxy, and read from its end: what stands before the
// first address that is not a proxy was written by the client.
func (d *doors) client(req *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && d.proxy(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

func (d *doors) proxy(a netip.Addr) bool {
	for _, p := range d.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
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
