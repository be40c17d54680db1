package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// memDesk takes requests in, each once.
type memDesk struct {
	mu   sync.Mutex
	got  []timmy.Request
	seen map[timmy.RequestID]bool
	err  error
}

func (d *memDesk) Submit(_ context.Context, r timmy.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	if d.seen == nil {
		d.seen = map[timmy.RequestID]bool{}
	}
	if !d.seen[r.ID] {
		d.seen[r.ID] = true
		d.got = append(d.got, r)
	}
	return nil
}

func (d *memDesk) taken() []timmy.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]timmy.Request(nil), d.got...)
}

func letterTo(t testing.TB, from, to nip.Key, scheme nip.Scheme, text string, at time.Time) *nostr.Event {
	t.Helper()
	events, err := nip.Seal(from, nip.Letter{To: to.Public(), Scheme: scheme, Text: text, At: at}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return events[0]
}

// rewrap seals and wraps any rumor as its author would.
func rewrap(t testing.TB, from, to nip.Key, rumor *nostr.Event) *nostr.Event {
	t.Helper()
	return rewrapAt(t, time.Now(), from, to, rumor)
}

// rewrapAt dates the wrap.
func rewrapAt(t testing.TB, at time.Time, from, to nip.Key, rumor *nostr.Event) *nostr.Event {
	t.Helper()
	rumor.PubKey = from.Public().String()
	rumor.ID = rumor.GetID()
	inner, err := nip.Encrypt44(from, to.Public(), rumor.String(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seal := signed(t, from, 13, inner)
	once := newKey(t)
	outer, err := nip.Encrypt44(once, to.Public(), seal.String(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signedAt(t, once, at, 1059, outer, nostr.Tag{"p", to.Public().String()})
}

// TestMessagesBecomeRequests: who asks is who signed the seal, the id is the
// rumor's, and commands never reach a model.
func TestMessagesBecomeRequests(t *testing.T) {
	tower, asker := newKey(t), newKey(t)
	file := func() *nostr.Event {
		return rewrap(t, asker, tower, &nostr.Event{
			Kind: 15, CreatedAt: nostr.Now(), Content: "https://x/y", Tags: nostr.Tags{{"p", tower.Public().String()}},
		})
	}
	now := time.Now()
	for _, tc := range []struct {
		name    string
		ev      *nostr.Event
		text    string
		command bool
		scheme  nip.Scheme
	}{
		{"nip17", letterTo(t, asker, tower, nip.NIP17, " what is 6*7? ", now), " what is 6*7? ", false, nip.NIP17},
		{"nip04", letterTo(t, asker, tower, nip.NIP04, "hello", now), "hello", false, nip.NIP04},
		{"command", letterTo(t, asker, tower, nip.NIP17, "\n /Balance \n", now), "/Balance", true, nip.NIP17},
		{"help", letterTo(t, asker, tower, nip.NIP04, "HELP", now), "HELP", true, nip.NIP04},
		{"question mark", letterTo(t, asker, tower, nip.NIP17, "?", now), "?", true, nip.NIP17},
		{"not a command", letterTo(t, asker, tower, nip.NIP17, "help me", now), "help me", false, nip.NIP17},
		{"empty", letterTo(t, asker, tower, nip.NIP17, " \n\t", now), "/!empty", true, nip.NIP17},
		{"as long as may be", letterTo(t, asker, tower, nip.NIP17, strings.Repeat("x", inboxMaxText), now), strings.Repeat("x", inboxMaxText), false, nip.NIP17},
		{"too long", letterTo(t, asker, tower, nip.NIP17, strings.Repeat("x", inboxMaxText+1), now), "/!too-long", true, nip.NIP17},
		{"file", file(), "/!files", true, nip.NIP17},
		{"two days old", letterTo(t, asker, tower, nip.NIP17, "x", now.Add(-50*time.Hour)), "x", false, nip.NIP17},
		{"a wrap as text", letterTo(t, asker, tower, nip.NIP17, `{"kind":1059}`, now), `{"kind":1059}`, false, nip.NIP17},
	} {
		t.Run(tc.name, func(t *testing.T) {
			desk := &memDesk{}
			in := NewInbox(InboxConfig{Key: tower, Desk: desk})
			if err := in.Accept(t.Context(), tc.ev); err != nil {
				t.Fatal(err)
			}
			if len(desk.got) != 1 {
				t.Fatalf("%d requests, %v", len(desk.got), in.Stats())
			}
			r := desk.got[0]
			var back replyTo
			if err := json.Unmarshal(r.ReplyTo, &back); err != nil {
				t.Fatal(err)
			}
			if r.Text != tc.text || r.Command != tc.command || !r.Wait || r.From != asker.Public() ||
				r.Payer != timmy.UserAccount(asker.Public()) || r.Thread != "dm:"+asker.Public().String() ||
				back.Scheme != tc.scheme || back.Parent != string(r.ID) || len(r.ID) != 64 {
				t.Errorf("%+v, %+v", r, back)
			}
			if again := in.Accept(t.Context(), tc.ev); again != nil || len(desk.got) != 1 {
				t.Error("the same event made another request")
			}
		})
	}
}

// TestDropsAreSilent: what is no message for us is no error and no request, only
// a count; an error would tell a stranger what we can decrypt.
func TestDropsAreSilent(t *testing.T) {
	tower, asker, other := newKey(t), newKey(t), newKey(t)
	now := time.Now()
	us := nostr.Tag{"p", tower.Public().String()}
	for want, ev := range map[string]*nostr.Event{
		"not-for-us": letterTo(t, asker, other, nip.NIP17, "x", now),
		"self":       letterTo(t, tower, tower, nip.NIP17, "x", now),
		"old":        letterTo(t, asker, tower, nip.NIP17, "x", now.Add(-73*time.Hour)),
		"decrypt":    signed(t, asker, 1059, strings.Repeat("\n", 132), us),
		"kind":       signed(t, asker, 5050, "x", us),
		"rumor-kind": rewrap(t, asker, tower, &nostr.Event{Kind: 7, CreatedAt: nostr.Now(), Content: "+", Tags: nostr.Tags{us}}),
	} {
		desk := &memDesk{}
		in := NewInbox(InboxConfig{Key: tower, Desk: desk})
		if err := in.Accept(t.Context(), ev); err != nil || len(desk.got) != 0 || in.Stats().Dropped[want] != 1 {
			t.Errorf("%s: %v, %d requests, %v", want, err, len(desk.got), in.Stats().Dropped)
		}
	}
}

// Excludes a message that is lost because a clock was wrong: it is refused as what it
// is, and taken once the clocks agree. Beyond an hour it is nip that refuses.
func TestAMessageFromTheFutureIsRefusedUntilItIsPresent(t *testing.T) {
	for _, ahead := range []time.Duration{inboxMaxFuture + time.Minute, 3 * time.Hour} {
		tower, asker, desk := newKey(t), newKey(t), &memDesk{}
		now := time.Now()
		in := NewInbox(InboxConfig{Key: tower, Desk: desk, Now: func() time.Time { return now }})
		ev := letterTo(t, asker, tower, nip.NIP17, "x", now.Add(ahead))
		if err := in.Accept(t.Context(), ev); timmy.CodeOf(err) != timmy.Invalid || in.Stats().Dropped["future"] != 1 {
			t.Errorf("%v ahead: %v, %v", ahead, err, in.Stats().Dropped)
		}
		now = now.Add(ahead)
		if err := in.Accept(t.Context(), ev); err != nil || len(desk.got) != 1 {
			t.Errorf("%v ahead, later: %v, %d requests", ahead, err, len(desk.got))
		}
	}
}

// TestOneRumorInManyWrapsIsOneRequest is threat E4.
func TestOneRumorInManyWrapsIsOneRequest(t *testing.T) {
	tower, asker, desk := newKey(t), newKey(t), &memDesk{}
	in := NewInbox(InboxConfig{Key: tower, Desk: desk})
	at := nostr.Now()
	for range 15 {
		rumor := &nostr.Event{Kind: 14, CreatedAt: at, Content: "once", Tags: nostr.Tags{{"p", tower.Public().String()}}}
		if err := in.Accept(t.Context(), rewrap(t, asker, tower, rumor)); err != nil {
			t.Fatal(err)
		}
	}
	if len(desk.got) != 1 {
		t.Errorf("%d requests", len(desk.got))
	}
}

// TestTwoBotsStop is threat E15: of one key twenty messages a minute are answered,
// the others are refused as what they are, and nobody else is held up by it.
func TestTwoBotsStop(t *testing.T) {
	tower, bot, asker, desk := newKey(t), newKey(t), newKey(t), &memDesk{}
	now := time.Now().Truncate(time.Minute)
	in := NewInbox(InboxConfig{Key: tower, Desk: desk, Now: func() time.Time { return now }})
	send := func(from nip.Key, text string) {
		t.Helper()
		if err := in.Accept(t.Context(), letterTo(t, from, tower, nip.NIP17, text, now)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range inboxPeerRate {
		send(bot, fmt.Sprint(i))
	}
	for range 10 {
		if err := in.Accept(t.Context(), letterTo(t, bot, tower, nip.NIP17, "more", now)); timmy.CodeOf(err) != timmy.Limited {
			t.Errorf("got %v", err)
		}
	}
	send(asker, "x")
	if len(desk.got) != inboxPeerRate+1 || in.Stats().Dropped["rate"] != 10 {
		t.Errorf("%d requests, %v", len(desk.got), in.Stats())
	}
	now = now.Add(time.Minute)
	send(bot, "again")
	if len(desk.got) != inboxPeerRate+2 {
		t.Error("a minute later still refused")
	}
}

// TestWhatIsNotDurableIsAnError: then the sender is told to try again, instead of
// OK for a message that nobody will answer.
func TestWhatIsNotDurableIsAnError(t *testing.T) {
	tower, desk := newKey(t), &memDesk{err: errors.New("disk full")}
	in := NewInbox(InboxConfig{Key: tower, Desk: desk})
	if err := in.Accept(t.Context(), letterTo(t, newKey(t), tower, nip.NIP17, "x", time.Now())); err == nil {
		t.Error("accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in.workers <- struct{}{} // all busy
	for len(in.workers) < cap(in.workers) {
		in.workers <- struct{}{}
	}
	if err := in.Accept(ctx, letterTo(t, newKey(t), tower, nip.NIP17, "x", time.Now())); err == nil {
		t.Error("accepted without being read")
	}
}
