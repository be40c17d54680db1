package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
	"github.com/timmy-tower/timmy/nip"
)

// errHopeless marks a parcel that no retry will deliver.
var errHopeless = errors.New("cannot be delivered")

// deliver brings one parcel as far as it can: sealed, on the own relay, and on
// its way to others. false: its recipient's later parcels wait, so that they do
// not overtake it.
func (c *Courier) deliver(ctx context.Context, p timmy.Parcel) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			c.cfg.Log.Error("delivering panicked", "parcel", p.ID, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			c.broken(ctx, p, errors.New("panic"))
			ok = true
		}
	}()
	events, err := c.seal(ctx, p)
	if err != nil {
		c.broken(ctx, p, err)
		return errors.Is(err, errHopeless)
	}
	for _, ev := range events {
		if err := c.publishOwn(ctx, ev); err != nil {
			c.ownFailed(ctx, p, err)
			return false
		}
	}
	c.forward(ctx, p, events)
	return true
}

func (c *Courier) publishOwn(ctx context.Context, ev *nostr.Event) error {
	ctx, cancel := context.WithTimeout(ctx, courierOwnTimeout)
	defer cancel()
	if err := failpoint.Before(failpoint.CourierPublish); err != nil {
		return err
	}
	if err := c.cfg.Own.Publish(ctx, ev); err != nil {
		return err
	}
	return failpoint.After(failpoint.CourierPublish)
}

// seal gives the parcel's signed events. What was signed once is used again; what
// is signed now is durable before anybody sees it.
func (c *Courier) seal(ctx context.Context, p timmy.Parcel) ([]*nostr.Event, error) {
	if len(p.Signed) > 0 {
		return parseSigned(p.Signed)
	}
	events, err := c.compose(ctx, p)
	if err != nil {
		return nil, err
	}
	raw := make([][]byte, len(events))
	for i, ev := range events {
		raw[i] = []byte(ev.String())
	}
	if err := c.cfg.Outbox.Sealed(ctx, p.ID, raw); err != nil {
		return nil, fmt.Errorf("storing signed events: %w", err)
	}
	c.sealed.Add(1)
	return events, nil
}

func parseSigned(raw [][]byte) ([]*nostr.Event, error) {
	events := make([]*nostr.Event, len(raw))
	for i, b := range raw {
		ev, err := nip.ParseEvent(b)
		if err != nil {
			return nil, fmt.Errorf("%w: stored event %d: %w", errHopeless, i, err)
		}
		events[i] = ev
	}
	return events, nil
}

// compose makes the signed events of a parcel.
func (c *Courier) compose(ctx context.Context, p timmy.Parcel) ([]*nostr.Event, error) {
	if p.Zap != nil {
		at := p.Zap.At
		if at.IsZero() {
			at = p.At // the same on every try, so the receipt's id is too
		}
		ev, err := nip.Receipt(c.cfg.Key, p.Request, p.Zap.Invoice, p.Zap.Preimage, at)
		if err != nil {
			return nil, fmt.Errorf("%w: making the receipt: %w", errHopeless, err)
		}
		return []*nostr.Event{ev}, nil
	}
	if p.To.IsZero() || p.Front == timmy.FrontJob || (p.Reply == nil && p.Paid == nil && p.Alert == "") {
		return nil, fmt.Errorf("%w: nobody to write to", errHopeless)
	}
	back := c.howToAnswer(ctx, p)
	now := c.cfg.Now()
	text := ""
	switch {
	case p.Reply != nil:
		text = c.cfg.Texts.Reply(c.withTopUp(ctx, *p.Reply), back.Scheme, now)
	case p.Paid != nil:
		text = c.cfg.Texts.Notice(*p.Paid)
	default:
		text = c.cfg.Texts.Alert(p.Alert)
	}
	return c.letters(ctx, p, back, text)
}

// withTopUp adds an invoice to the answer with which a balance runs low. The answer
// does not depend on it, and waits for a slow wallet a short time only.
func (c *Courier) withTopUp(ctx context.Context, r timmy.Reply) timmy.Reply {
	if c.cfg.TopUp == nil || !c.cfg.Texts.RunsLow(r) {
		return r
	}
	made := make(chan *timmy.Invoice, 1)
	c.wg.Go(func() {
		inv, err := c.cfg.TopUp(ctx, r.Payer)
		if err != nil {
			c.cfg.Log.Warn("making an invoice for a low balance", "error", err)
			made <- nil
			return
		}
		made <- &inv
	})
	select {
	case r.Invoice = <-made:
	case <-time.After(courierTopUp):
	case <-ctx.Done():
	}
	return r
}

// letters seals the parts of a text side by side. Each is dated a second after
// the one before, for clients sort by date.
func (c *Courier) letters(ctx context.Context, p timmy.Parcel, back replyTo, text string) ([]*nostr.Event, error) {
	parts := nip.Split(text)
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: nothing to say", errHopeless)
	}
	now := c.cfg.Now()
	sealed := make([][]*nostr.Event, len(parts))
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		select {
		case c.crypto <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			continue
		}
		wg.Go(func() {
			defer func() { <-c.crypto }()
			sealed[i], errs[i] = nip.Seal(c.cfg.Key, nip.Letter{
				To: p.To, Scheme: back.Scheme, Text: part, Parent: back.Parent,
				At: now.Add(time.Duration(i) * time.Second), CopyToSelf: c.cfg.CopyToSelf,
			}, c.cfg.Rand)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	var events []*nostr.Event
	for _, s := range sealed {
		events = append(events, s...)
	}
	return events, nil
}

// howToAnswer reads what the inbox noted. Where it noted nothing (money that
// arrived), somebody who announces no inbox but has written the old way is
// answered the old way: their app may read nothing else.
func (c *Courier) howToAnswer(ctx context.Context, p timmy.Parcel) replyTo {
	var back replyTo
	if json.Unmarshal(p.ReplyTo, &back) == nil && (back.Scheme == nip.NIP04 || back.Scheme == nip.NIP17) {
		return back
	}
	back = replyTo{Scheme: nip.NIP17}
	if c.newest(ctx, p.To, kindInbox) == nil && c.newest(ctx, p.To, nostr.KindEncryptedDirectMessage) != nil {
		back.Scheme = nip.NIP04
	}
	return back
}

// newest is the latest event of a kind and author on the own relay, or nil.
func (c *Courier) newest(ctx context.Context, author timmy.PubKey, kind int) *nostr.Event {
	ctx, cancel := context.WithTimeout(ctx, courierOwnTimeout)
	defer cancel()
	found, err := c.cfg.Own.Query(ctx, nostr.Filter{Kinds: []int{kind}, Authors: []string{author.String()}, Limit: 1})
	if err != nil || len(found) == 0 {
		return nil
	}
	return found[0]
}

// broken puts off a parcel that could not be sealed, and gives up in the end.
func (c *Courier) broken(ctx context.Context, p timmy.Parcel, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errHopeless) || p.Tries >= courierMaxBroken {
		c.abandon(ctx, p, err)
		return
	}
	c.retry(ctx, p, backoff(p.Tries+1), err)
}

// ownFailed puts off a parcel that the own relay did not take.
func (c *Courier) ownFailed(ctx context.Context, p timmy.Parcel, err error) {
	if ctx.Err() != nil {
		return
	}
	if c.cfg.Now().Sub(p.At) > courierMaxLost && p.Tries >= courierMaxBroken {
		c.abandon(ctx, p, err)
		return
	}
	c.retry(ctx, p, min(backoff(p.Tries+1), time.Duration(p.Tries+1)*time.Second), err)
}

func (c *Courier) abandon(ctx context.Context, p timmy.Parcel, why error) {
	c.abandoned.Add(1)
	c.cfg.Log.Error("parcel given up", "parcel", p.ID, "tries", p.Tries, "error", why)
	if err := c.cfg.Outbox.Abandon(ctx, p.ID, why.Error()); err != nil {
		c.cfg.Log.Error("ending a parcel failed", "parcel", p.ID, "error", err)
	}
}

func (c *Courier) retry(ctx context.Context, p timmy.Parcel, wait time.Duration, why error) {
	c.retried.Add(1)
	c.cfg.Log.Debug("parcel put off", "parcel", p.ID, "for", wait, "error", why)
	if err := c.cfg.Outbox.Retry(ctx, p.ID, c.cfg.Now().Add(wait), why.Error()); err != nil && ctx.Err() == nil {
		c.cfg.Log.Error("putting a parcel off failed", "parcel", p.ID, "error", err)
	}
}

func (c *Courier) arrived(ctx context.Context, p timmy.Parcel) {
	if err := c.cfg.Outbox.Delivered(ctx, p.ID); err != nil {
		if ctx.Err() == nil {
			c.cfg.Log.Error("ending a parcel failed", "parcel", p.ID, "error", err)
		}
		return
	}
	c.delivered.Add(1)
	c.mu.Lock()
	delete(c.done, p.ID)
	c.mu.Unlock()
}
