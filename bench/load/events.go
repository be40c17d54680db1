package load

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// Source is randomness that a seed repeats. It is for load, never for secrets
// that matter.
type Source struct{ *rand.ChaCha8 }

// NewSource is the randomness of a seed.
func NewSource(seed uint64) Source {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return Source{rand.NewChaCha8(key)}
}

// Fork is another source, for another goroutine.
func (s Source) Fork() Source { return NewSource(s.Uint64()) }

// Keys makes n keys.
func Keys(n int, rnd io.Reader) ([]nip.Key, error) {
	keys := make([]nip.Key, n)
	for i := range keys {
		var err error
		if keys[i], err = nip.GenerateKey(rnd); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// wrapBytes is what a sealed message of a sentence or two comes to.
const wrapBytes = 1_100

// Wraps makes gift wraps (kind 1059) of about two kilobytes as a busy relay sees
// them: to one of the given keys in turn (nil: one nobody has), by a key that is used
// once, of the last three days. What is in them cannot be opened.
func Wraps(n int, to []nip.Key, rnd Source) ([]*nostr.Event, error) {
	if len(to) == 0 {
		var err error
		if to, err = Keys(1, rnd); err != nil {
			return nil, err
		}
	}
	inside := make([]byte, wrapBytes)
	list := make([]*nostr.Event, n)
	for i := range list {
		k, err := nip.GenerateKey(rnd)
		if err != nil {
			return nil, err
		}
		if _, err := rnd.Read(inside); err != nil {
			return nil, err
		}
		list[i] = &nostr.Event{
			Kind: nostr.KindGiftWrap, CreatedAt: lately(rnd), Content: base64.StdEncoding.EncodeToString(inside),
			Tags: nostr.Tags{{"p", to[i%len(to)].Public().String()}},
		}
		if err := k.Sign(list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Notes makes public notes (kind 1) of 200 bytes with two tags by a hundred authors.
func Notes(n int, rnd Source) ([]*nostr.Event, error) {
	authors, err := Keys(100, rnd)
	if err != nil {
		return nil, err
	}
	list := make([]*nostr.Event, n)
	for i := range list {
		list[i] = &nostr.Event{
			Kind: nostr.KindTextNote, CreatedAt: lately(rnd), Content: strings.Repeat("note ", 38) + fmt.Sprintf("%010d", i),
			Tags: nostr.Tags{{"p", authors[(i+1)%100].Public().String()}, {"t", fmt.Sprint("topic", i%50)}},
		}
		if err := authors[i%100].Sign(list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// lately is a time within the last three days.
func lately(rnd Source) nostr.Timestamp {
	back := time.Duration(rnd.Uint64() % uint64(72*time.Hour))
	return nostr.Timestamp(time.Now().Add(-back).Unix())
}

// EventFrames are the messages that publish events.
func EventFrames(list []*nostr.Event) ([][]byte, error) {
	frames := make([][]byte, len(list))
	for i, ev := range list {
		b, err := ev.MarshalJSON()
		if err != nil {
			return nil, err
		}
		frames[i] = append(append([]byte(`["EVENT",`), b...), ']')
	}
	return frames, nil
}
