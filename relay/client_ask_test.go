package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// TestAskListensBeforeItAsks excludes an answer that is lost because the question
// arrived before the subscription: a relay that keeps nothing, and whose answers
// come at once, still answers each question.
func TestAskListensBeforeItAsks(t *testing.T) {
	them := newKey(t)
	s := script(t, func(p foreignPeer) {
		sub := ""
		for parts := p.next(); parts != nil; parts = p.next() {
			switch labelOf(parts) {
			case "REQ":
				sub = string(parts[1])
				p.say(fmt.Sprintf(`["EOSE",%s]`, parts[1]))
			case "CLOSE":
				sub = ""
			case "EVENT":
				answer := signed(t, them, 23195, "yes")
				answer.Tags = nostr.Tags{{"e", idOf(parts)}}
				_ = them.Sign(answer)
				if sub != "" {
					p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, answer))
				}
				p.ok(idOf(parts), true, "")
			}
		}
	})
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	for i := range 20 {
		ev := signed(t, newKey(t), 23194, fmt.Sprint(i))
		f := nostr.Filter{Kinds: []int{23195}, Authors: []string{them.Public().String()}, Tags: nostr.TagMap{"e": {ev.ID}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got := 0
		err := c.Ask(ctx, s.url, f, ev, func(*nostr.Event) bool { got++; return true })
		cancel()
		if err != nil || got != 1 {
			t.Fatalf("question %d: %d answers, %v", i, got, err)
		}
	}
	if s.dials.Load() != 1 {
		t.Errorf("%d connections", s.dials.Load())
	}
}

// TestAskWithoutAnAnswerEnds excludes a relay that is left alone because the one
// behind it was silent, and a question that a relay refused and that is waited for.
func TestAskWithoutAnAnswerEnds(t *testing.T) {
	s := newStoring(t)
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	ev := signed(t, newKey(t), 23194, "x")
	f := nostr.Filter{Kinds: []int{23195}}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.Ask(ctx, s.url, f, ev, func(*nostr.Event) bool { return true })
		cancel()
		if !errors.Is(err, ErrSilent) {
			t.Fatalf("silence: %v", err)
		}
	}
	refusing := script(t, func(p foreignPeer) {
		for parts := p.next(); parts != nil; parts = p.next() {
			switch labelOf(parts) {
			case "REQ":
				p.say(fmt.Sprintf(`["EOSE",%s]`, parts[1]))
			case "EVENT":
				p.ok(idOf(parts), false, "mute: nobody listens")
			}
		}
	})
	start := time.Now()
	err := c.Ask(t.Context(), refusing.url, f, ev, func(*nostr.Event) bool { return true })
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Reason != "mute: nobody listens" || time.Since(start) > 8*time.Second {
		t.Errorf("refused: %v", err)
	}
}
