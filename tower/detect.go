package tower

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// polled is an invoice that is asked for one by one.
type polled struct {
	expires time.Time
	next    time.Time
	step    int
}

// Run detects payments until ctx ends: by the wallet's push where it has one, by
// asking for open invoices, and by full passes. Each of the three alone is enough.
// It also closes what waited for an invoice that expired.
func (t *Till) Run(ctx context.Context) error {
	var all sync.WaitGroup
	if w, ok := t.cfg.Wallet.(Watcher); ok {
		all.Go(func() { t.watch(ctx, w) })
	}
	all.Go(func() { t.poll(ctx) })
	all.Go(func() { t.passes(ctx) })
	all.Go(func() { t.every(ctx, probeAfter/2, func() error { return t.probe(ctx) }) })
	all.Go(func() {
		t.every(ctx, lapseEvery, func() error {
			_, err := t.cfg.Invoices.Lapse(ctx, t.cfg.Now())
			return err
		})
	})
	all.Wait()
	return nil
}

// every calls do at once and then at its pace, until ctx ends.
func (t *Till) every(ctx context.Context, pace time.Duration, do func() error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		if err := do(); err != nil && ctx.Err() == nil {
			t.cfg.Log.Error("taking money in", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watch follows the wallet's stream from the stored cursor and reconnects. The
// stream is held up while a credit fails, so that the cursor never passes it.
func (t *Till) watch(ctx context.Context, w Watcher) {
	var pause backoff
	for ctx.Err() == nil {
		began := time.Now()
		cursor, err := t.cfg.Invoices.Cursor(ctx)
		if err == nil {
			t.counts.watches.Add(1)
			err = w.Watch(ctx, cursor, func(p timmy.Payment, next timmy.Cursor) error {
				if err := failpoint.Before(failpoint.WalletPush); err != nil {
					return err
				}
				if err := t.creditUntilDone(ctx, p, next); err != nil {
					return err
				}
				return failpoint.After(failpoint.WalletPush)
			})
		}
		if ctx.Err() != nil {
			return
		}
		t.cfg.Log.Warn("the wallet's stream ended; polling goes on", "error", err)
		if time.Since(began) > watchSteady {
			pause.reset()
		}
		pause.wait(ctx)
	}
}

// poll asks for each open invoice at a falling pace until a day after its expiry.
func (t *Till) poll(ctx context.Context) {
	var read time.Time
	t.every(ctx, pollTick, func() error {
		now := t.cfg.Now()
		if read.IsZero() || now.Sub(read) >= openEvery || now.Before(read) {
			open, err := t.cfg.Invoices.Open(ctx, now)
			if err != nil {
				return fmt.Errorf("reading the open invoices: %w", err)
			}
			t.merge(open)
			read = now
		}
		t.lookUp(ctx, t.due(now))
		return nil
	})
}

// track polls an invoice from now on.
func (t *Till) track(inv timmy.Invoice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trackLocked(inv, t.cfg.Now())
}

func (t *Till) trackLocked(inv timmy.Invoice, now time.Time) {
	if _, known := t.polled[inv.Hash]; known || len(t.polled) >= polledMax {
		return
	}
	t.polled[inv.Hash] = &polled{expires: inv.Expires, next: now.Add(t.pause(0))}
}

// merge makes what is polled what is open. Invoices made while it was read stay:
// they are not due yet, and the next reading has them.
func (t *Till) merge(open []timmy.Invoice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.cfg.Now()
	known := make(map[timmy.Hash]struct{}, len(open))
	for _, inv := range open {
		known[inv.Hash] = struct{}{}
		t.trackLocked(inv, now)
	}
	for h, p := range t.polled {
		if _, ok := known[h]; !ok && p.step > 0 {
			delete(t.polled, h)
		}
	}
}

// due picks the invoices whose time has come, and sets their next one.
func (t *Till) due(now time.Time) []timmy.Hash {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []timmy.Hash
	for h, p := range t.polled {
		if len(due) == lookupsPerTick {
			break
		}
		if now.Before(p.next) {
			continue
		}
		if now.After(p.expires.Add(graceTime)) {
			delete(t.polled, h)
			continue
		}
		p.step++
		pause := t.pause(p.step)
		if now.After(p.expires) {
			pause = max(pause, expiredPoll)
		}
		p.next = now.Add(pause)
		due = append(due, h)
	}
	return due
}

func (t *Till) pause(step int) time.Duration {
	return t.cfg.Poll[min(step, len(t.cfg.Poll)-1)]
}

// lookUp asks for some invoices, a few at once, and credits what was paid.
func (t *Till) lookUp(ctx context.Context, hashes []timmy.Hash) {
	var all sync.WaitGroup
	slots := make(chan struct{}, lookupsAtOnce)
	for _, h := range hashes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.lookUpOne(ctx, h)
		})
	}
	all.Wait()
}

// Check asks the wallet for one invoice now, and credits it if it was paid: for a
// caller who says that it was.
func (t *Till) Check(ctx context.Context, h timmy.Hash) { t.lookUpOne(ctx, h) }

func (t *Till) lookUpOne(ctx context.Context, h timmy.Hash) {
	call, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	t.counts.lookups.Add(1)
	p, err := t.cfg.Wallet.Lookup(call, h)
	if ctx.Err() == nil {
		t.heard(err)
	}
	if err != nil {
		t.counts.lookupErrors.Add(1)
		t.cfg.Log.Debug("looking up an invoice", "hash", h, "error", err)
		return
	}
	if !p.Settled {
		return
	}
	p.Hash = h
	if t.credit(ctx, p, "") != nil {
		t.again(h)
	}
}

// again polls an invoice anew whose credit failed.
func (t *Till) again(h timmy.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.polled[h]; ok {
		p.step, p.next = 1, t.cfg.Now().Add(t.pause(0))
	}
}

// passes asks for everything that was settled: far back at start, for the tower
// may have been down, and hourly. A pass that fails is tried again soon.
func (t *Till) passes(ctx context.Context) {
	back := passBackFirst
	var pause backoff
	for {
		err := t.pass(ctx, t.cfg.Now().Add(-back))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.cfg.Log.Error("the full pass", "error", err)
			if !pause.wait(ctx) {
				return
			}
			continue
		}
		back = passBack
		pause.reset()
		timer := time.NewTimer(passEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (t *Till) pass(ctx context.Context, since time.Time) error {
	call, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	paid, err := t.cfg.Wallet.List(call, since)
	if err != nil { // it is not away for that: some wallets cannot list at all, or not that much
		return fmt.Errorf("listing what was paid: %w", err)
	}
	t.heard(nil)
	for _, p := range paid {
		if !p.Settled || t.wasSeen(p.Hash) {
			continue
		}
		if err := t.creditUntilDone(ctx, p, ""); err != nil {
			return err
		}
	}
	return nil
}
