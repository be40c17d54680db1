package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
)

const (
	asksPerKey    = 18 // a key may ask 20 times in a burst
	answerTimeout = 10 * time.Second
)

// seat is one connection of a key that has paid.
type seat struct {
	conn *relay.Conn
	key  nip.Key
	to   timmy.PubKey
	rand io.Reader

	mu      sync.Mutex
	waiting map[string]chan struct{} // by the question's id
}

// dial connects as k.
func (t *tower) dial(ctx context.Context, k nip.Key) (*relay.Conn, error) {
	return relay.Dial(ctx, "ws://"+t.addr, relay.DialOptions{AllowPrivate: true, Auth: func(url, challenge string) (*nostr.Event, error) {
		return nip.Auth(k, url, challenge, time.Now())
	}})
}

// pubkey is whom to write to.
func (t *tower) pubkey() (timmy.PubKey, error) {
	var names struct{ Names map[string]string }
	if err := t.rest("GET", "/.well-known/nostr.json?name=_", "", nil, &names); err != nil {
		return timmy.PubKey{}, err
	}
	return timmy.ParsePubKey(names.Names["_"])
}

// fund zaps sats into a key's account and waits until they are there.
func (t *tower) fund(k nip.Key, to timmy.PubKey, sats int64) error {
	z, err := nip.ZapRequestEvent(k, to, nip.ZapRequest{Amount: timmy.FromSats(sats), Relays: []string{"ws://" + t.addr}}, time.Now())
	if err != nil {
		return err
	}
	q := url.Values{"amount": {fmt.Sprint(sats * 1000)}, "nostr": {z.String()}}
	var got struct{ PR, Reason string }
	if err := t.rest("GET", "/lnurlp/timmy/callback?"+q.Encode(), "", nil, &got); err != nil {
		return err
	}
	if got.PR == "" {
		return errors.New(got.Reason)
	}
	return t.pay(got.PR)
}

// newSeat connects one key that has money, and listens for its answers.
func (t *tower) newSeat(ctx context.Context, to timmy.PubKey, rnd io.Reader) (*seat, error) {
	s := &seat{to: to, rand: rnd, waiting: map[string]chan struct{}{}}
	k, err := nip.GenerateKey(rnd)
	if err != nil {
		return nil, err
	}
	s.key = k
	if err := t.fund(k, to, 5000); err != nil {
		return nil, err
	}
	if s.conn, err = t.dial(ctx, k); err != nil {
		return nil, err
	}
	if err := s.conn.Auth(ctx); err != nil {
		return nil, err
	}
	f := nostr.Filter{Kinds: []int{1059}, Tags: nostr.TagMap{"p": {k.Public().String()}}}
	go s.conn.Subscribe(ctx, f, func(ev *nostr.Event) { s.heard(k, ev) })
	return s, nil
}

func (s *seat) heard(k nip.Key, ev *nostr.Event) {
	m, err := nip.Open(k, ev, time.Now())
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.waiting[m.Parent]; ok {
		delete(s.waiting, m.Parent)
		close(c)
	}
}

// ask sends one question and waits for its answer.
func (s *seat) ask(ctx context.Context, n int) error {
	k := s.key
	l := nip.Letter{To: s.to, Scheme: nip.NIP17, Text: fmt.Sprintf("What is %d*%d?", n+2, n+3), At: time.Now()}
	events, err := nip.Seal(k, l, s.rand)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	s.mu.Lock()
	s.waiting[l.RumorID(k.Public())] = done
	s.mu.Unlock()
	if err := s.conn.Publish(ctx, events[0]); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(answerTimeout):
		return errors.New("no answer")
	}
}

// wraps makes events as a busy relay sees them: kind 1059 of about two kilobytes
// for somebody else.
func wraps(n int, rnd io.Reader) ([]*nostr.Event, error) {
	var out []*nostr.Event
	from, err := nip.GenerateKey(rnd)
	if err != nil {
		return nil, err
	}
	to, err := nip.GenerateKey(rnd)
	if err != nil {
		return nil, err
	}
	for i := range n {
		events, err := nip.Seal(from, nip.Letter{To: to.Public(), Scheme: nip.NIP17, Text: fmt.Sprint("message ", i), At: time.Now()}, rnd)
		if err != nil {
			return nil, err
		}
		out = append(out, events[0])
	}
	return out, nil
}
