package relay

import (
	"context"
	"errors"
	"fmt"

	"github.com/nbd-wtf/go-nostr"
)

// ErrSilent says that a relay took an event and nobody answered it in time. It is
// not the relay's failure.
var ErrSilent = errors.New("no answer came through the relay")

// Ask publishes ev at a relay as soon as a subscription with f is live there, and
// hands what matches f to each until that returns true. Answers that relays do
// not keep (kinds 20000 to 29999) would be lost if the question came first.
// [ErrSilent]: the relay has the event, and ctx ended before the answer came.
func (c *Client) Ask(ctx context.Context, url string, f nostr.Filter, ev *nostr.Event, each func(*nostr.Event) bool) error {
	return c.with(ctx, laneCalls, url, func(conn *Conn) error { return conn.Ask(ctx, f, ev, each) })
}

// Ask is [Client.Ask] on this connection.
func (c *Conn) Ask(ctx context.Context, f nostr.Filter, ev *nostr.Event, each func(*nostr.Event) bool) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	live, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		opened := false
		ended <- c.subscribe(inner, f, func(got *nostr.Event) {
			if each(got) {
				stop(errEnough)
			}
		}, func() bool {
			if !opened {
				opened = true
				close(live)
			}
			return false
		})
	}()
	select {
	case <-live:
	case err := <-ended:
		return answered(inner, err)
	}
	if err := c.Publish(inner, ev); err != nil {
		stop(nil)
		<-ended
		return answered(inner, err)
	}
	err := answered(inner, <-ended)
	if err != nil && ctx.Err() != nil && c.Err() == nil {
		return fmt.Errorf("relay %s: %w", c.url, ErrSilent)
	}
	return err
}

// answered tells an Ask that has its answer from one that failed.
func answered(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errEnough) {
		return nil
	}
	return err
}
