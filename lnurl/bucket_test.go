package lnurl

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// Excludes: a flood from one network stopping everybody (C11, 148), and a forged
// header that gives everybody a bucket of their own.
func TestFloodsAreLimitedByPrefix(t *testing.T) {
	f := setUp(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	call := func(remote, forwarded string) int {
		r := httptest.NewRequest(http.MethodGet, "/lnurlp/timmy/callback?amount=21000", nil)
		r.RemoteAddr = remote
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		code, out := f.do(t, r)
		if code == 429 && out["status"] != "ERROR" {
			t.Errorf("%v", out)
		}
		return code
	}
	limited := 0
	for i := range 2_000 {
		if call(fmt.Sprintf("203.0.113.%d:5000", i%256), fmt.Sprintf("198.51.%d.1", i%256)) == 429 {
			limited++
		}
	}
	if limited < 1_850 || len(f.till.tops) > invoicesBurst {
		t.Errorf("%d limited, %d invoices", limited, len(f.till.tops))
	}
	if call("198.51.100.7:1", "") != 200 || call("127.0.0.1:1", "198.51.101.7") != 200 || call("[2001:db8::1]:1", "") != 200 {
		t.Error("others are stopped as well")
	}
	if call("127.0.0.1:1", "8.8.8.8, 203.0.113.9") != 429 {
		t.Error("a forged first hop hides the caller")
	}
	f.now = f.now.Add(time.Minute)
	if call("203.0.113.9:1", "") != 200 {
		t.Error("the bucket does not fill again")
	}
	made := len(f.till.tops)
	for i := range 2_000 {
		call(fmt.Sprintf("10.%d.%d.1:1", i/256, i%256), "")
	}
	if got := len(f.till.tops) - made; got > totalBurst {
		t.Errorf("%d invoices for many prefixes", got)
	}
}

// Excludes: a memory that grows with every prefix.
func TestPrefixesAreBounded(t *testing.T) {
	bs := newBuckets(Rate{60, 2}, noon)
	for i := range 3 * maxPrefixes {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		bs.take(netip.PrefixFrom(a, 32), noon.Add(time.Duration(i)*time.Microsecond))
	}
	if len(bs.by) > maxPrefixes {
		t.Errorf("%d prefixes", len(bs.by))
	}
	bs.take(netip.MustParsePrefix("192.0.2.0/24"), noon.Add(time.Hour))
	if len(bs.by) != 1 {
		t.Errorf("%d prefixes after an hour", len(bs.by))
	}
}
