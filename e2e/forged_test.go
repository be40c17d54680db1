package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
)

// TestForgedReceiptsCreditNobody publishes 1,000 zap receipts that the tower did not make,
// for invoices of its own that nobody paid, with valid signatures and everything in them
// that a real one has: not one msat is credited, and no receipt of the tower's appears.
func TestForgedReceiptsCreditNobody(t *testing.T) {
	t.Parallel()
	tw := startTower(t)
	victim, forger := newAsker(t, tw, tw.pubkey()), newAsker(t, tw, tw.pubkey())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := forger.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var bolt11, zap string
	for n := range 1000 {
		if n%100 == 0 {
			z, err := nip.ZapRequestEvent(victim.key, victim.to, nip.ZapRequest{Amount: timmy.FromSats(int64(1000 + n)), Relays: []string{tw.relay()}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			var reply struct{ PR, Reason string }
			q := url.Values{"amount": {fmt.Sprint((1000 + n) * 1000)}, "nostr": {z.String()}}
			if err := getJSON(tw.http()+"/lnurlp/timmy/callback?"+q.Encode(), &reply); err != nil || reply.PR == "" {
				t.Fatalf("no invoice: %v %s", err, reply.Reason)
			}
			bolt11, zap = reply.PR, z.String()
		}
		forger.forge(ctx, c, n, bolt11, zap)
	}
	f := nostr.Filter{Kinds: []int{nostr.KindZap}, Authors: []string{tw.pubkey()}}
	own, err := c.Fetch(ctx, f)
	if err != nil || len(own) != 0 {
		t.Errorf("%d receipts of the tower's own, %v", len(own), err)
	}
	tw.verifyBooks()
	want(t, tw, 0, `SELECT count(*) FROM postings`)
	want(t, tw, 0, `SELECT count(*) FROM invoices WHERE state = 'settled'`)
}

// forge publishes one of several sorts of receipts: signed by the forger or by a key of the
// moment, with the preimage or without, and with the amount that was not paid.
func (a *asker) forge(ctx context.Context, c *relay.Conn, n int, bolt11, zap string) {
	a.t.Helper()
	key := a.key
	if n%2 == 1 {
		var err error
		if key, err = nip.GenerateKey(rand.Reader); err != nil {
			a.t.Fatal(err)
		}
	}
	ev := &nostr.Event{Kind: nostr.KindZap, CreatedAt: nostr.Timestamp(time.Now().Unix() - int64(n)), Tags: nostr.Tags{
		{"p", a.to.String()}, {"P", a.key.Public().String()}, {"bolt11", bolt11}, {"description", zap},
	}}
	if n%3 > 0 {
		ev.Tags = append(ev.Tags, nostr.Tag{"preimage", fmt.Sprintf("%064x", n)})
	}
	if n%5 > 2 {
		ev.Tags = append(ev.Tags, nostr.Tag{"nostrPubkey", a.to.String()}, nostr.Tag{"amount", "100000000000"})
	}
	if err := key.Sign(ev); err != nil {
		a.t.Fatal(err)
	}
	if err := c.Publish(ctx, ev); err != nil {
		a.t.Fatalf("receipt %d: %v", n, err)
	}
}
