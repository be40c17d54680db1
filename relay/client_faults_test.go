package relay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// What the client is held to because a well-known one fails at it, by its number in
// our list of such faults, and the test:
//
//	N4  own wraps, dates over two days    nip: TestEverySingleFaultDropsTheWrap, TestDatesAreSpread
//	N5  AUTH and resend, relay by relay   TestPublishAuthenticatesAndResends, TestAFailingForeignRelayDelaysNobody
//	N6  no success without an OK          TestPublishSucceedsOnlyWithAnOK
//	N7  a blocked writer ends in time     TestPublishEndsThoughNobodyReads
//	N8  since is kept over a break        TestBackDatedWrapsAreNotLost, TestSubscriptionSurvivesItsRelay
//	N9  CLOSED is not the end             TestSubscriptionSurvivesItsRelay, TestAnyClosedIsAskedAgain
//	N10 waiting ends with its context     TestWaitingEndsWithItsContext
//	N11 dedupe after the signature        TestForgedCopiesHideNothing
//	N12 the id is checked                 TestForgedCopiesHideNothing
//	N13 short and odd frames              TestPublishSucceedsOnlyWithAnOK ("junk first"), FuzzRelayMsg
//	N14 order, and readers that are slow  TestASlowSubscriberHoldsTheRelay
//	N15 the end closes all connections    TestTheEndClosesEveryConnection

// TestPublishEndsThoughNobodyReads excludes a publisher that waits for a peer's
// buffers whatever its context says.
func TestPublishEndsThoughNobodyReads(t *testing.T) {
	s := script(t, func(p foreignPeer) { <-p.ctx.Done() })
	c := dialTest(t, s.url, nil)
	ev := signed(t, newKey(t), 1, strings.Repeat("x", 60_000))
	for i := range 3_000 { // 180 MB: more than any buffer on the way, of which most machines have 4
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		began := time.Now()
		err := c.Publish(ctx, ev)
		cancel()
		if err == nil || time.Since(began) > clientPublishTimeout/2 {
			t.Fatalf("publish %d: %v after %s", i, err, time.Since(began))
		}
		if errors.Is(err, ErrClosed) {
			return // a write that was cut off cannot be continued
		}
	}
	t.Error("the buffers never were full")
}

// TestAnyClosedIsAskedAgain excludes a relay that is lost for good because it once
// said CLOSED: row 225 of the bad inputs.
func TestAnyClosedIsAskedAgain(t *testing.T) {
	reasons := []string{"rate-limited: later", "error: internal", "shutting down", "restricted: no", ""}
	ev := signed(t, newKey(t), 1, "x")
	var calls, skew atomic.Int64
	s := script(t, func(p foreignPeer) {
		sub := p.next()[1]
		if n := int(calls.Add(1)); n <= len(reasons) {
			p.say(fmt.Sprintf(`["CLOSED",%s,%q]`, sub, reasons[n-1]))
			p.next()
			return
		}
		p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, ev)) // and never EOSE (row 226)
		p.next()
	})
	c := NewClient(ClientConfig{DialOptions: DialOptions{
		AllowPrivate: true,
		Now:          func() time.Time { return time.Now().Add(time.Duration(skew.Add(int64(10 * time.Minute)))) },
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got := false
	_ = c.Subscribe(ctx, s.url, nostr.Filter{Kinds: []int{1}}, func(*nostr.Event) { got = true; cancel() })
	if !got {
		t.Errorf("lost after %d of %d", calls.Load(), len(reasons))
	}
}

// TestWaitingEndsWithItsContext excludes a subscriber that sleeps through the end
// of the program.
func TestWaitingEndsWithItsContext(t *testing.T) {
	s := script(t, func(p foreignPeer) { p.next() })
	c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Subscribe(ctx, s.url, nostr.Filter{Kinds: []int{1}}, func(*nostr.Event) {}) }()
	eventually(t, "the first failure", func() bool { return c.wait(s.url) > 2*time.Second })
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(clientBackoff / 2):
		t.Error("still waiting")
	}
}

// TestASlowSubscriberHoldsTheRelay excludes a goroutine for each event and an order
// that is lost.
func TestASlowSubscriberHoldsTheRelay(t *testing.T) {
	const events = 500
	k := newKey(t)
	var sent atomic.Int64
	s := script(t, func(p foreignPeer) {
		sub := p.next()[1]
		for i := range events {
			p.say(fmt.Sprintf(`["EVENT",%s,%s]`, sub, signed(t, k, 1, fmt.Sprint(i)+" "+strings.Repeat("x", 20_000))))
			sent.Add(1)
		}
		p.say(fmt.Sprintf(`["EOSE",%s]`, sub))
		p.next()
	})
	c := dialTest(t, s.url, nil)
	before, next := runtime.NumGoroutine(), 0
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_ = c.Subscribe(ctx, nostr.Filter{Kinds: []int{1}}, func(ev *nostr.Event) {
		if next == 0 {
			// The relay goes on until the buffers on the way are full, or it has said all.
			for last := int64(-1); last != sent.Load(); time.Sleep(500 * time.Millisecond) {
				last = sent.Load()
			}
			if n := runtime.NumGoroutine() - before; n > 20 {
				t.Errorf("%d goroutines more", n)
			}
		}
		if !strings.HasPrefix(ev.Content, fmt.Sprint(next)+" ") {
			t.Errorf("event %d is %.8q", next, ev.Content)
		}
		if next++; next == events {
			cancel()
		}
	})
	if next != events {
		t.Errorf("%d events", next)
	}
}

// TestRepeatedEventsAreOne is row 229 of the bad inputs: copies cost no signature
// check and reach nobody.
func TestRepeatedEventsAreOne(t *testing.T) {
	ev := signed(t, newKey(t), 1, "x")
	s := script(t, func(p foreignPeer) {
		sub := p.next()[1]
		one := fmt.Sprintf(`["EVENT",%s,%s]`, sub, ev)
		for range 5_000 {
			p.say(one)
		}
		p.say(fmt.Sprintf(`["EOSE",%s]`, sub))
		p.next()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seen := 0
	err := dialTest(t, s.url, nil).subscribe(ctx, nostr.Filter{Kinds: []int{1}}, func(*nostr.Event) { seen++ }, func() bool { return true })
	if err != nil || seen != 1 {
		t.Errorf("seen %d times, %v", seen, err)
	}
}

// TestLongChallengesAreNotSigned is row 227 of the bad inputs.
func TestLongChallengesAreNotSigned(t *testing.T) {
	for size, want := range map[int]error{clientMaxChallenge + 1: ErrNoAuth, clientMaxFrame: ErrClosed} {
		s := script(t, func(p foreignPeer) {
			p.say(`["AUTH","` + strings.Repeat("c", size) + `"]`)
			p.ok(idOf(p.next()), false, "auth-required: who")
			p.next()
		})
		if err := dialTest(t, s.url, authAs(newKey(t))).Publish(t.Context(), signed(t, newKey(t), 1, "x")); !errors.Is(err, want) {
			t.Errorf("a challenge of %d bytes: %v, want %v", size, err, want)
		}
	}
}

// TestTheEndClosesEveryConnection excludes connections and goroutines that outlive
// the client.
func TestTheEndClosesEveryConnection(t *testing.T) {
	var open atomic.Int64
	s := script(t, func(p foreignPeer) {
		open.Add(1)
		defer open.Add(-1)
		for parts := p.next(); parts != nil; parts = p.next() {
			if labelOf(parts) == "EVENT" {
				p.ok(idOf(parts), true, "")
			}
		}
	})
	before := runtime.NumGoroutine()
	for range 30 {
		c := NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- c.Run(ctx) }()
		go func() { ended <- c.Subscribe(ctx, s.url, nostr.Filter{Kinds: []int{1}}, func(*nostr.Event) {}) }()
		if err := c.Publish(t.Context(), s.url, signed(t, newKey(t), 1, "x")); err != nil {
			t.Fatal(err)
		}
		cancel()
		for range 2 {
			<-ended
		}
	}
	eventually(t, "the last connection to close", func() bool { return open.Load() == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before+10 })
}
