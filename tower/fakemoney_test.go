package tower

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

func (b *fakeBook) Expect(_ context.Context, t timmy.TopUp) (string, *timmy.Invoice, error) {
	leave, err := b.enter("Expect")
	if err != nil {
		return "", nil, err
	}
	defer leave()
	for ref, i := range b.invoices {
		if i.settled || t.For == "" && t.ZapID == "" || i.top.For != t.For || i.top.ZapID != t.ZapID {
			continue
		}
		if i.inv.Bolt11 == "" {
			return "", nil, timmy.Errorf(timmy.Conflict, "being made")
		}
		inv := i.inv
		return ref, &inv, timmy.Errorf(timmy.Conflict, "open already")
	}
	b.seq++
	ref := fmt.Sprint("ref", b.seq)
	b.invoices[ref] = &fakeInvoice{ref: ref, top: t}
	return ref, nil, nil
}

func (b *fakeBook) Issued(_ context.Context, ref string, inv timmy.Invoice, l timmy.Lease) error {
	leave, err := b.enter("Issued")
	if err != nil {
		return err
	}
	defer leave()
	i := b.invoices[ref]
	if i == nil {
		return timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	if l.Request != "" {
		r, err := b.leased(l)
		if err != nil {
			return err
		}
		r.state, r.invoice = timmy.StateParked, ref
	}
	i.inv = inv
	return nil
}

func (b *fakeBook) Withdrawn(_ context.Context, ref string) error {
	leave, err := b.enter("Withdrawn")
	if err != nil {
		return err
	}
	defer leave()
	b.withdrawn++
	delete(b.invoices, ref)
	return nil
}

func (b *fakeBook) Open(context.Context, time.Time) (open []timmy.Invoice, err error) {
	leave, err := b.enter("Open")
	if err != nil {
		return nil, err
	}
	defer leave()
	for _, i := range b.invoices {
		if i.inv.Bolt11 != "" && (!i.settled || b.keepOpen) {
			open = append(open, i.inv)
		}
	}
	return open, nil
}

func (b *fakeBook) Credit(_ context.Context, p timmy.Payment, next timmy.Cursor) (timmy.Credit, error) {
	leave, err := b.enter("Credit")
	if err != nil {
		return "", err
	}
	defer leave()
	if next != "" {
		b.cursor = next
	}
	for _, i := range b.invoices {
		switch {
		case i.inv.Hash != p.Hash:
		case i.settled:
			return timmy.CreditReplayed, nil
		case p.Received < i.inv.Amount || p.Received > 2*i.inv.Amount:
			return timmy.CreditRefused, nil
		default:
			i.settled = true
			b.move(i.top.Account, p.Received)
			if r := b.rows[i.top.For]; r != nil && r.state == timmy.StateParked {
				r.state = timmy.StateQueued
			}
			return timmy.CreditApplied, nil
		}
	}
	return timmy.CreditUnknown, nil
}

func (b *fakeBook) Cursor(context.Context) (timmy.Cursor, error) {
	leave, err := b.enter("Cursor")
	if err != nil {
		return "", err
	}
	defer leave()
	return b.cursor, nil
}

func (b *fakeBook) Lapse(context.Context, time.Time) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lapses++
	return 0, nil
}

// fakeWallet issues and settles in memory, with faults.
type fakeWallet struct {
	mu       sync.Mutex
	n        int
	payments map[timmy.Hash]timmy.Payment
	away     error // Issue fails
	noLookup bool  // Lookup fails
	noList   bool  // List fails
	lookups  map[timmy.Hash]int
}

func newWallet() *fakeWallet {
	return &fakeWallet{payments: map[timmy.Hash]timmy.Payment{}, lookups: map[timmy.Hash]int{}}
}

func (w *fakeWallet) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away != nil {
		return timmy.Invoice{}, w.away
	}
	w.n++
	h := timmy.Hash(sha256.Sum256(fmt.Append(nil, w.n)))
	w.payments[h] = timmy.Payment{Hash: h, Ref: ref}
	return timmy.Invoice{Hash: h, Bolt11: fmt.Sprint("lnbcrt", w.n), Amount: t.Amount, Expires: time.Now().Add(expiry)}, nil
}

func (w *fakeWallet) Lookup(_ context.Context, h timmy.Hash) (timmy.Payment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups[h]++
	if w.noLookup {
		return timmy.Payment{}, errors.New("the wallet does not answer")
	}
	return w.payments[h], nil
}

func (w *fakeWallet) List(context.Context, time.Time) (all []timmy.Payment, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noList {
		return nil, errors.New("the wallet does not list")
	}
	for _, p := range w.payments {
		all = append(all, p)
	}
	return all, nil
}

// pay settles an invoice.
func (w *fakeWallet) pay(h timmy.Hash, m timmy.Msat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.payments[h]
	p.Hash, p.Received, p.Settled, p.At = h, m, true, time.Now()
	w.payments[h] = p
}

func (w *fakeWallet) asked(h timmy.Hash) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lookups[h]
}

// pushWallet also pushes; its stream breaks as often as it is told.
type pushWallet struct {
	*fakeWallet
	breaks  int
	watched int
	settled chan timmy.Payment
}

func (w *pushWallet) Watch(ctx context.Context, _ timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	if w.watched++; w.watched <= w.breaks {
		return errors.New("the stream broke")
	}
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-w.settled:
			if err := settled(p, timmy.Cursor(fmt.Sprint(n))); err != nil {
				return err
			}
		}
	}
}
