package nip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// Letter is a direct message to send. Text must be one part of [Split].
type Letter struct {
	To         timmy.PubKey
	Scheme     Scheme
	Text       string
	Parent     string    // the id of the message that it answers, or ""
	At         time.Time // shown to the reader
	Expires    time.Time // zero: never. NIP-40 on the wrap and the seal
	CopyToSelf bool      // of NIP-17: a second wrap that we can read
}

// Seal makes the signed events of a letter: for NIP-17 the receiver's wrap
// first, then our copy if asked for; for NIP-04 one kind 4. Sealing again makes
// other bytes of the same message: keep what was made, and send that again. rnd
// must be a cryptographic source.
func Seal(k Key, l Letter, rnd io.Reader) ([]*nostr.Event, error) {
	l.Text = strings.ToValidUTF8(l.Text, "\uFFFD")
	switch l.Scheme {
	case NIP17:
		return sealWrapped(k, l, rnd)
	case NIP04:
		return sealLegacy(k, l, rnd)
	}
	return nil, fmt.Errorf("unknown scheme %q", l.Scheme)
}

func sealLegacy(k Key, l Letter, rnd io.Reader) ([]*nostr.Event, error) {
	content, err := Encrypt04(k, l.To, l.Text, rnd)
	if err != nil {
		return nil, err
	}
	ev := &nostr.Event{
		Kind: kindLegacy, CreatedAt: nostr.Timestamp(l.At.Unix()), Content: content,
		Tags: append(addressed(l), expiring(l)...),
	}
	if err := k.Sign(ev); err != nil {
		return nil, err
	}
	return []*nostr.Event{ev}, fits(ev)
}

func sealWrapped(k Key, l Letter, rnd io.Reader) ([]*nostr.Event, error) {
	rumor := l.rumor(k.public)
	readers := []timmy.PubKey{l.To}
	if l.CopyToSelf {
		readers = append(readers, k.public)
	}
	out := make([]*nostr.Event, len(readers))
	errs := make([]error, len(readers))
	var wg sync.WaitGroup
	for i, reader := range readers {
		own, err := portion(rnd) // drawn in order: rnd need not bear two callers
		if err != nil {
			return nil, err
		}
		if i == len(readers)-1 {
			out[i], errs[i] = wrapFor(k, reader, rumor, l, own)
			break
		}
		wg.Go(func() { out[i], errs[i] = wrapFor(k, reader, rumor, l, own) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// portion takes from rnd all that one wrap needs: two dates, two nonces, and a
// key, which is tried again in the one case of 2^128 that its number is too large.
func portion(rnd io.Reader) (io.Reader, error) {
	var b [8 + 32 + 32 + 8 + 32 + 32]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	return bytes.NewReader(b[:]), nil
}

// RumorID is the id of the message that [Seal] wraps for NIP-17, when from writes
// it: what an answer to it names as its parent.
func (l Letter) RumorID(from timmy.PubKey) string { return l.rumor(from).ID }

func (l Letter) rumor(from timmy.PubKey) *nostr.Event {
	ev := &nostr.Event{
		PubKey: from.String(), Kind: kindChat, CreatedAt: nostr.Timestamp(l.At.Unix()),
		Tags: addressed(l), Content: strings.ToValidUTF8(l.Text, "\uFFFD"),
	}
	ev.ID = ev.GetID()
	return ev
}

// wrapFor seals a rumor for one reader and wraps it under a key that is thrown
// away. Seal and wrap are dated back by up to two days, each by its own amount.
func wrapFor(k Key, reader timmy.PubKey, rumor *nostr.Event, l Letter, rnd io.Reader) (*nostr.Event, error) {
	at, err := someTimeBefore(l.At, rnd)
	if err != nil {
		return nil, err
	}
	seal := &nostr.Event{Kind: kindSeal, CreatedAt: at, Tags: expiring(l)}
	if seal.Content, err = Encrypt44(k, reader, rumor.String(), rnd); err != nil {
		return nil, err
	}
	if err := k.Sign(seal); err != nil {
		return nil, err
	}
	once, err := GenerateKey(rnd)
	if err != nil {
		return nil, err
	}
	if at, err = someTimeBefore(l.At, rnd); err != nil {
		return nil, err
	}
	x, err := once.times(reader, true)
	if err != nil {
		return nil, fmt.Errorf("wrapping: %w", err)
	}
	wrap := &nostr.Event{Kind: kindWrap, CreatedAt: at, Tags: append(nostr.Tags{{"p", reader.String()}}, expiring(l)...)}
	if wrap.Content, err = encrypt44(x, seal.String(), rnd); err != nil {
		return nil, err
	}
	if err := once.Sign(wrap); err != nil {
		return nil, err
	}
	return wrap, fits(wrap)
}

func addressed(l Letter) nostr.Tags {
	tags := nostr.Tags{{"p", l.To.String()}}
	if l.Parent != "" {
		tags = append(tags, nostr.Tag{"e", l.Parent})
	}
	return tags
}

func expiring(l Letter) nostr.Tags {
	if l.Expires.IsZero() {
		return nostr.Tags{}
	}
	return nostr.Tags{{"expiration", fmt.Sprint(l.Expires.Unix())}}
}

// fits refuses what relays with default settings would refuse later, one by one.
func fits(ev *nostr.Event) error {
	if len(ev.Content) < MaxSealed/2 && len(ev.Tags) < 8 {
		return nil // base64 and a few short tags: not worth writing out to count
	}
	if n := len(ev.String()); n > MaxSealed {
		return fmt.Errorf("a sealed event of %d bytes is more than relays take: split the text", n)
	}
	return nil
}

func someTimeBefore(at time.Time, rnd io.Reader) (nostr.Timestamp, error) {
	var b [8]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	back := binary.BigEndian.Uint64(b[:]) % uint64(wrapSpread/time.Second)
	return nostr.Timestamp(at.Unix() - int64(back)), nil
}
