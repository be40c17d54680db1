package ledger

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/timmy-tower/timmy"
)

// Excludes an admission that is charged twice, when the command, the invoice and a
// restart all bring it, and one that overdraws.
func TestAdmissionIsChargedOnce(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	const price = 100 * sat
	_, err := f.Admit(t.Context(), key(1), price)
	f.is(err, timmy.Unpaid)
	f.give(a, 250*sat)
	var fresh atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			ok, err := f.Admit(t.Context(), key(1), price)
			if err != nil {
				t.Error(err)
			}
			if ok {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 {
		t.Errorf("admitted %d times", fresh.Load())
	}
	f.posted(a, 150*sat)
	f.posted(timmy.HouseRevenue, price)
	f.restart()
	if ok, err := f.Admit(t.Context(), key(1), 5*sat); err != nil || ok {
		t.Errorf("again after a restart, at another price: %v, %v", ok, err)
	}
	f.posted(a, 150*sat)
	if ok, err := f.Admitted(t.Context(), key(1)); err != nil || !ok {
		t.Errorf("admitted: %v, %v", ok, err)
	}
	if ok, err := f.Admitted(t.Context(), key(2)); err != nil || ok {
		t.Errorf("a stranger is admitted: %v, %v", ok, err)
	}
	f.verify()
}

// Excludes an admission out of what is reserved for a running request.
func TestAdmissionLeavesHoldsAlone(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	f.give(a, 100*sat)
	f.ok(f.write(t.Context(), "holding", func(t *txn) error { return t.reserve(a, 60*sat) }))
	_, err := f.Admit(t.Context(), key(1), 50*sat)
	f.is(err, timmy.Unpaid)
	f.posted(a, 100*sat)
	f.ok(f.write(t.Context(), "holding", func(t *txn) error { return t.release(a, 60*sat) }))
	f.verify()
}

// Excludes a paid admission that waits for a second step, and one that takes more
// than its price: what was paid above it is the payer's. Two invoices for one key are
// one admission.
func TestPaidInvoiceAdmits(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	top := timmy.TopUp{Account: a, Purpose: timmy.ForEntry, Amount: 100 * sat, Memo: "admission"}
	p := f.invoice(top, timmy.Lease{})
	if _, open, err := f.Expect(t.Context(), top); timmy.CodeOf(err) != timmy.Conflict || open == nil || open.Hash != p.Hash {
		t.Errorf("a second invoice while one is open: %v, %v", open, err)
	}
	p.Received = 130 * sat
	f.credit(p, timmy.CreditApplied)
	f.credit(p, timmy.CreditReplayed)
	if ok, err := f.Admitted(t.Context(), key(1)); err != nil || !ok {
		t.Errorf("admitted: %v, %v", ok, err)
	}
	f.posted(a, 30*sat)
	f.posted(timmy.HouseRevenue, 100*sat)
	f.credit(f.invoice(top, timmy.Lease{}), timmy.CreditApplied)
	f.posted(a, 130*sat)
	f.posted(timmy.HouseRevenue, 100*sat)
	f.verify()
	_, err := f.Admit(t.Context(), timmy.PubKey{}, sat)
	f.is(err, timmy.Invalid)
}
