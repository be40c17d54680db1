package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// TestADirectMessageIsAnswered walks the whole way with real parts: our client
// leaves a wrap at the real guard, the inbox makes the request durable before OK,
// the courier's answer lands in the real store, and the asker reads it after
// AUTH. Nobody else can.
func TestADirectMessageIsAnswered(t *testing.T) {
	tower, asker := newKey(t), newKey(t)
	desk := &memDesk{}
	site := newSite(t, func(c *Config) {
		c.Self = tower.Public()
		c.Inbox = NewInbox(InboxConfig{Key: tower, Desk: desk})
	})
	o := newOffice(t, newOutbox(), func(c *CourierConfig) { c.Key, c.Own, c.OwnURL = tower, site.Relay, testURL })
	o.tower, o.asker = tower, asker
	o.run(t)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	auth := func(k nip.Key) func(string, string) (*nostr.Event, error) {
		return func(_, challenge string) (*nostr.Event, error) { return nip.Auth(k, testURL, challenge, time.Now()) }
	}
	conn := dialTest(t, site.url, auth(asker))
	if err := conn.Publish(ctx, letterTo(t, asker, tower, nip.NIP17, "what is 6*7?", time.Now())); err != nil {
		t.Fatal(err)
	}
	got := desk.taken()
	if len(got) != 1 {
		t.Fatalf("OK was said with %d requests durable", len(got))
	}
	since := nostr.Now() - 3*24*3600
	wraps := nostr.Filter{Kinds: []int{1059}, Tags: nostr.TagMap{"p": {asker.Public().String()}}, Since: &since}
	answers := make(chan nip.Message, 1)
	listening := make(chan error, 1)
	go func() {
		listening <- conn.Subscribe(ctx, wraps, func(ev *nostr.Event) {
			if m, err := nip.Open(asker, ev, time.Now()); err == nil {
				answers <- m
			}
		})
	}()
	o.post(timmy.Parcel{
		ID: 1, Front: timmy.FrontDM, To: asker.Public(), ReplyTo: got[0].ReplyTo, At: time.Now(),
		Reply: &timmy.Reply{Request: got[0].ID, Outcome: timmy.Outcome{State: timmy.StateComplete, Text: "42"}},
	})
	select {
	case m := <-answers:
		if m.From != tower.Public() || m.Parent != string(got[0].ID) {
			t.Errorf("%+v", m)
		}
	case err := <-listening:
		t.Fatal(err)
	case <-ctx.Done():
		t.Fatal("no answer")
	}
	stranger := dialTest(t, site.url, auth(newKey(t)))
	if found, err := stranger.Fetch(ctx, wraps); len(found) != 0 || !isRefusal(true)(err) {
		t.Errorf("a stranger read %d wraps: %v", len(found), err)
	}
	cancel()
	if err := <-listening; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe ended with %v", err)
	}
}

// TestWhatGetsNoAnswerGetsNoOK: who writes too fast is told at once, by the relay's
// word for it, and may send the same message again a minute later.
func TestWhatGetsNoAnswerGetsNoOK(t *testing.T) {
	tower, asker, desk, clock := newKey(t), newKey(t), &memDesk{}, &clock{at: time.Now().Truncate(time.Minute)}
	site := newSite(t, func(c *Config) {
		c.Self = tower.Public()
		c.Inbox = NewInbox(InboxConfig{Key: tower, Desk: desk, Now: clock.now})
	})
	p := site.dial(t)
	for i := range inboxPeerRate {
		p.mustPublish(letterTo(t, asker, tower, nip.NIP17, fmt.Sprint(i), clock.now()))
	}
	last := letterTo(t, asker, tower, nip.NIP17, "one more", clock.now())
	if ok, why := p.publish(last); ok || why != "rate-limited: too many messages in a minute, send it again in the next" {
		t.Fatalf("%v %s", ok, why)
	}
	p.mustPublish(letterTo(t, newKey(t), tower, nip.NIP17, "somebody else", clock.now()))
	clock.advance(time.Minute)
	p.mustPublish(last)
	if n := len(desk.taken()); n != inboxPeerRate+2 {
		t.Errorf("%d requests", n)
	}
}
