package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// BenchmarkMail asks, over a websocket, for 50 of the gift wraps to a key that is signed
// in, among 10,000 to 50 keys.
func BenchmarkMail(b *testing.B) {
	const wraps, keys = 10_000, 50
	s := newSite(b, func(c *Config) { c.Limits.FramesPerSecond = 1_000_000 })
	sender, content := newKey(b), strings.Repeat("QUJD", 225)
	var to []nip.Key
	for range keys {
		to = append(to, newKey(b))
	}
	var all sync.WaitGroup
	for lane := range 64 {
		all.Go(func() {
			for i := lane; i < wraps; i += 64 {
				at := time.Now().Add(-time.Duration(i) * time.Second)
				ev := signedAt(b, sender, at, 1059, content, nostr.Tag{"p", to[i%keys].Public().String()})
				if err := s.store.SaveEvent(b.Context(), ev); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	p := s.dial(b)
	p.auth(to[0])
	filter := fmt.Sprintf(`{"kinds":[1059],"#p":[%q],"limit":50}`, to[0].Public())
	b.ReportAllocs()
	for b.Loop() {
		p.send(`["REQ","a",` + filter + `]`)
		for n := 0; ; n++ {
			if s := p.read(); s[:7] == `["EOSE"` {
				if n != 50 {
					b.Fatalf("%d events", n)
				}
				break
			}
		}
	}
}
