package tower

import (
	"context"
	"fmt"

	"github.com/timmy-tower/timmy"
)

// creditUntilDone reports a payment until the book took it or ctx ends. A credit
// that failed and was forgotten would be somebody's money.
func (t *Till) creditUntilDone(ctx context.Context, p timmy.Payment, next timmy.Cursor) error {
	var pause backoff
	for {
		err := t.credit(ctx, p, next)
		if err == nil {
			return nil
		}
		if !pause.wait(ctx) {
			return err
		}
	}
}

// credit reports a payment once. An error is remembered for Healthy until a later
// report succeeds.
func (t *Till) credit(ctx context.Context, p timmy.Payment, next timmy.Cursor) error {
	done, err := t.cfg.Invoices.Credit(ctx, p, next)
	if timmy.CodeOf(err) == timmy.Invalid {
		// The report itself is nonsense: trying it again would hold up all others.
		t.cfg.Log.Error("a report of a payment that names none", "error", err)
		return nil
	}
	t.remember(p.Hash, done, err)
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Error("crediting a payment", "hash", p.Hash, "error", err)
		}
		return fmt.Errorf("crediting a payment: %w", err)
	}
	switch done {
	case timmy.CreditApplied:
		t.counts.applied.Add(1)
		t.forget(p.Hash)
		select {
		case t.landed <- struct{}{}:
		default:
		}
	case timmy.CreditReplayed:
		t.counts.replayed.Add(1)
		t.forget(p.Hash)
	case timmy.CreditUnknown:
		t.counts.unknown.Add(1)
		t.alert(p, "paid to us, but for no invoice that we know; it is in house:suspense")
	case timmy.CreditRefused:
		t.counts.refused.Add(1)
		t.alert(p, "reported as paid, but with a wrong amount or without proof; it was not credited")
	}
	return nil
}

// remember keeps what Healthy says, and which payments a full pass need not report
// again. A refused one may be reported rightly later.
func (t *Till) remember(h timmy.Hash, done timmy.Credit, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		if len(t.failing) < failingMax {
			t.failing[h] = err
		}
		return
	}
	delete(t.failing, h)
	if done == timmy.CreditRefused {
		return
	}
	if len(t.seen) >= seenMax {
		clear(t.seen)
	}
	t.seen[h] = struct{}{}
}

func (t *Till) wasSeen(h timmy.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.seen[h]
	return ok && !h.IsZero()
}

// forget stops polling an invoice.
func (t *Till) forget(h timmy.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.polled, h)
}

// alert tells the operator once of money that could not be credited.
func (t *Till) alert(p timmy.Payment, what string) {
	t.mu.Lock()
	_, known := t.alerted[p.Hash]
	if len(t.alerted) >= seenMax {
		clear(t.alerted)
	}
	t.alerted[p.Hash] = struct{}{}
	t.mu.Unlock()
	if known {
		return
	}
	t.cfg.Log.Error("alert: money could not be credited", "hash", p.Hash, "msat", int64(p.Received), "why", what)
	t.cfg.Alert(fmt.Sprintf("A payment of %d sats (%s) was %s.", p.Received.Sats(), p.Hash, what))
}
