package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fiatjaf/eventstore/lmdb"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip44"
	"github.com/nbd-wtf/go-nostr/nip59"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// What a question reserves, costs, and what each asker has.
const (
	held    = 5 * timmy.Sat
	cost    = 3 * timmy.Sat
	deposit = 1_000_000 * timmy.Sat
)

// letter is a question as it was opened.
type letter struct {
	id   string
	from timmy.PubKey
	text string
}

// parts are what a pipeline is made of.
type parts struct {
	open    func(wrap *nostr.Event) (letter, error)
	seal    func(l letter, text string) ([]*nostr.Event, error)
	reserve func(l letter, wrap *nostr.Event) (step any, err error) // durable, with the wrap
	capture func(l letter, step any, answer []*nostr.Event) error   // durable, with the answer
	close   func() error
}

// message takes one through.
func (p *parts) message(wrap *nostr.Event) error {
	l, err := p.open(wrap)
	if err != nil {
		return err
	}
	step, err := p.reserve(l, wrap)
	if err != nil {
		return err
	}
	answer, err := p.seal(l, reply())
	if err != nil {
		return err
	}
	if err := p.capture(l, step, answer); err != nil {
		return err
	}
	for _, ev := range answer { // what a subscriber is sent
		if _, err := ev.MarshalJSON(); err != nil {
			return err
		}
	}
	return nil
}

func open(name, dir string, me nip.Key, askers []nip.Key) (*parts, error) {
	p := &parts{
		open: func(w *nostr.Event) (letter, error) { return openOurs(me, w) },
		seal: func(l letter, text string) ([]*nostr.Event, error) {
			return nip.Seal(me, nip.Letter{To: l.from, Scheme: nip.NIP17, Text: text, Parent: l.id, At: time.Now(), CopyToSelf: true}, rand.Reader)
		},
	}
	switch name {
	case "tower":
		return p, openTower(p, dir, askers)
	case "E2":
		return p, openBare(p, filepath.Join(dir, "books.db"), filepath.Join(dir, "events.db"), askers)
	case "E1":
		return p, openBare(p, filepath.Join(dir, "all.db"), "", askers)
	case "A":
		p.open = func(w *nostr.Event) (letter, error) { return openDefault(me, w) }
		p.seal = func(l letter, text string) ([]*nostr.Event, error) { return sealDefault(me, l, text) }
		store := &lmdb.LMDBBackend{Path: filepath.Join(dir, "lmdb"), MapSize: 1 << 32}
		return p, openSingle(p, filepath.Join(dir, "books.db"), store, askers)
	}
	return nil, fmt.Errorf("no configuration %s", name)
}

func openOurs(me nip.Key, w *nostr.Event) (letter, error) {
	if err := nip.Verify(w); err != nil {
		return letter{}, err
	}
	m, err := nip.Open(me, w, time.Now())
	return letter{m.ID, m.From, m.Text}, err
}

// openDefault does the same with go-nostr alone.
func openDefault(me nip.Key, w *nostr.Event) (letter, error) {
	if ok, err := w.CheckSignature(); !ok {
		return letter{}, errors.Join(errors.New("the wrap's signature is wrong"), err)
	}
	rumor, err := nip59.GiftUnwrap(*w, func(other, text string) (string, error) {
		k, err := nip44.GenerateConversationKey(other, me.Secret())
		if err != nil {
			return "", err
		}
		return nip44.Decrypt(text, k)
	})
	if err != nil {
		return letter{}, err
	}
	from, err := timmy.ParsePubKey(rumor.PubKey)
	return letter{rumor.ID, from, rumor.Content}, err
}

func sealDefault(me nip.Key, l letter, text string) ([]*nostr.Event, error) {
	rumor := nostr.Event{
		Kind: 14, PubKey: me.Public().String(), CreatedAt: nostr.Now(), Content: text,
		Tags: nostr.Tags{{"p", l.from.String()}, {"e", l.id}},
	}
	rumor.ID = rumor.GetID()
	var out []*nostr.Event
	for _, to := range []string{l.from.String(), me.Public().String()} {
		wrap, err := nip59.GiftWrap(rumor, to, func(plain string) (string, error) {
			k, err := nip44.GenerateConversationKey(to, me.Secret())
			if err != nil {
				return "", err
			}
			return nip44.Encrypt(plain, k)
		}, func(ev *nostr.Event) error { return ev.Sign(me.Secret()) }, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, &wrap)
	}
	return out, nil
}
