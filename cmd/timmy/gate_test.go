package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// Excludes an address that takes every place, a place that is not given back, one
// given back twice, and a proxy that is taken for one client.
func TestTheGateBoundsTheConnectionsOfAnAddress(t *testing.T) {
	for _, tc := range []struct {
		name    string
		proxies []netip.Prefix
		let     int // of 5
	}{
		{"an address", nil, 3},
		{"a proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer inner.Close()
			g := newGate(inner, 3, tc.proxies)
			in := make(chan net.Conn, 16)
			go func() {
				for {
					c, err := g.Accept()
					if err != nil {
						return
					}
					in <- c
				}
			}()
			for range 3 {
				var let []net.Conn
				for i := range 5 {
					c, err := net.Dial("tcp", inner.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					if i < tc.let {
						let = append(let, <-in)
						continue
					}
					_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					if res.StatusCode != 503 || string(body) != `{"error":"Too many connections"}`+"\n" || err != nil {
						t.Fatalf("%d %q, %v", res.StatusCode, body, err)
					}
				}
				for _, c := range let {
					_ = c.Close()
					_ = c.Close()
				}
			}
			if g.all != 0 || len(g.open) != 0 {
				t.Errorf("%d connections are counted and none is open: %v", g.all, g.open)
			}
		})
	}
}
