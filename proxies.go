package timmy

import (
	"net/netip"
	"slices"
	"strings"
)

// maxHops of X-Forwarded-For are looked at.
const maxHops = 16

// Proxies are the networks of the proxies before a tower, whose word on who is behind
// them is believed. nil: nobody's.
type Proxies []netip.Prefix

// Has reports whether an address is a proxy's.
func (p Proxies) Has(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// Client is the address a call comes from, without a zone: the socket's peer ("host:port")
// or, behind proxies, what they wrote into X-Forwarded-For, of which forwarded is every
// line. It is read from its end: what stands before the first address that is not a
// proxy's was written by a stranger. The zero Addr: the peer has none.
func (p Proxies) Client(peer string, forwarded []string) netip.Addr {
	at, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Addr{}
	}
	client := at.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxHops && p.Has(client); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap().WithZone("")
	}
	return client
}

// Network is the part of an address that is counted as one: so many bits of IPv4, or of
// IPv6, of which one customer is given a /64. The zero Prefix: the address has none.
func Network(a netip.Addr, v4, v6 int) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := v6
	if a.Is4() {
		bits = v4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
