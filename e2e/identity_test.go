package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// TestAnAuthorizationIsGoodOnce is threat F1: of 200 replays none is let in, before
// and after a restart and several at once, and a body that was swapped is none either;
// two honest calls of one second differ by a nonce, and both are.
func TestAnAuthorizationIsGoodOnce(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_RATE_PER_MINUTE=0")
	a, who := newAPI(t, tw), newDoorAsker(t, tw)
	const path = "/identity/token"
	now := time.Now()
	for i := range 2 {
		a.call(200, http.MethodPost, path, "", "Authorization", nonced(t, who.key, tw.http()+path, now, fmt.Sprint("honest ", i)))
	}
	_, proof := identify(a, who.key)
	replay := func(n int) {
		for range n {
			a.call(401, http.MethodPost, path, "", "Authorization", proof)
		}
	}
	replay(100)
	tw.restart()
	replay(100)
	a.call(401, http.MethodPost, path, `{"swapped":"in"}`, "Authorization", nonced(t, who.key, tw.http()+path, now, "swapped"))

	again := nonced(t, who.key, tw.http()+path, time.Now(), "a race")
	statuses := make(chan int, 8)
	var failed atomic.Int64
	for range cap(statuses) {
		go func() {
			got, err := a.try(http.MethodPost, path, "", "Authorization", again)
			if err != nil {
				failed.Add(1)
			}
			statuses <- got.status
		}()
	}
	in := 0
	for range cap(statuses) {
		if <-statuses == http.StatusOK {
			in++
		}
	}
	if in != 1 || failed.Load() != 0 {
		t.Fatalf("%d of eight at once were let in, %d had no answer", in, failed.Load())
	}
}

// nonced signs an HTTP call that has no twin within its second (NIP-98).
func nonced(t *testing.T, k nip.Key, url string, at time.Time, nonce string) string {
	t.Helper()
	ev := &nostr.Event{
		Kind: nip.KindHTTPAuth, CreatedAt: nostr.Timestamp(at.Unix()),
		Tags: nostr.Tags{{"u", url}, {"method", http.MethodPost}, {"nonce", nonce}},
	}
	if err := k.Sign(ev); err != nil {
		t.Fatal(err)
	}
	return "Nostr " + base64.StdEncoding.EncodeToString([]byte(ev.String()))
}
