package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/timmy-tower/timmy"
)

// List pages through the node's invoices for what was paid since then. It
// remembers up to where all is over, so that a full pass does not read years.
func (c *CLN) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	c.mu.Lock()
	from := c.start
	if since.Before(c.since) {
		from = 1 // what was over for a later date may not be for this one
	}
	c.mu.Unlock()
	var out []timmy.Payment
	seen := map[timmy.Hash]bool{}
	over, next, whole := from, from, true // whole: all so far are over
	for range maxNodePages {
		var page clnInvoices
		params := map[string]any{"index": "created", "start": next, "limit": nodePage}
		a, err := method("listinvoices", params)
		if err != nil {
			return nil, err
		}
		if err := c.call.page(ctx, a, &page); err != nil {
			return nil, fmt.Errorf("listing at core lightning: %w", err)
		}
		last := next
		for _, inv := range page.Invoices {
			at := index(inv.Created)
			last = max(last, at+1)
			if whole = whole && inv.over(since); whole {
				over = last
			}
			h, ok := inv.hash()
			if _, ours := inv.ref(); !ok || !ours || seen[h] || inv.over(since) {
				continue
			}
			seen[h] = true
			if p := inv.payment(h, c.now()); p.Settled {
				out = append(out, p)
			}
		}
		if len(page.Invoices) < nodePage || last == next {
			c.mu.Lock()
			c.start, c.since = over, since
			c.mu.Unlock()
			return out, nil
		}
		next = last
	}
	c.log.Warn("core lightning lists more invoices than one pass reads", "read", maxNodePages*nodePage)
	return out, nil
}

// Watch waits for one payment after the other until ctx ends or the node is
// away. The cursor is Core Lightning's pay_index: nothing is missed. It begins
// with the payment that was reported last, so that a node that was restored from
// a backup, and counts from lower again, is noticed: then everything the node has
// is reported again, which moves nothing twice.
func (c *CLN) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	last, err := strconv.ParseUint(string(from), 10, 63)
	if err != nil {
		last = 0
	}
	if last > 0 {
		next, err := c.await(ctx, last-1, time.Second, settled)
		if errors.Is(err, errQuiet) {
			c.log.Warn("core lightning does not know the last payment that was credited: was it restored? Everything is looked at again")
		} else if err != nil {
			return err
		}
		last = next
		if err != nil {
			last = 0
		}
	}
	for {
		next, err := c.await(ctx, last, c.poll, settled)
		if err != nil && !errors.Is(err, errQuiet) {
			return err
		}
		last = next
	}
}

// await waits for the payment after last and reports it if it is ours. errQuiet:
// there was none in that time.
func (c *CLN) await(ctx context.Context, last uint64, wait time.Duration, settled func(timmy.Payment, timmy.Cursor) error) (uint64, error) {
	a, err := method("waitanyinvoice", map[string]any{"lastpay_index": last, "timeout": int64(max(time.Second, wait) / time.Second)})
	if err != nil {
		return last, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	body, err := c.call.send(waiting, a) // beside the breaker: it takes long
	if s, ok := errors.AsType[*status](err); ok && s.rpc == clnTimedOut {
		return last, errQuiet
	}
	var inv clnInvoice
	if err == nil {
		err = json.Unmarshal(body, &inv)
	}
	n := index(inv.PayIndex)
	if err == nil && n <= last {
		err = fmt.Errorf("the payment after number %d is number %d", last, n)
	}
	if err != nil {
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
		return last, fmt.Errorf("watching core lightning: %w", away(c.call.redact(err)))
	}
	h, ok := inv.hash()
	if _, ours := inv.ref(); !ok || !ours {
		return n, nil
	}
	p := inv.payment(h, c.now())
	if !p.Settled {
		return n, nil
	}
	if err := settled(p, timmy.Cursor(strconv.FormatUint(n, 10))); err != nil {
		return last, fmt.Errorf("reporting payment: %w", err)
	}
	return n, nil
}
