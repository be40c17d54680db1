package wallet

import (
	"context"
	"errors"

	"github.com/timmy-tower/timmy"
)

// fakeFee is what the test wallet says that routing cost.
const fakeFee = timmy.Sat

// Send pretends to pay an invoice of another wallet: nothing arrives anywhere, but
// the journal remembers it, so that a second call, also after a restart, pays
// nothing more.
func (f *Fake) Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Sent{}, err
	}
	s, err := f.send(o)
	if err != nil {
		return timmy.Sent{}, err
	}
	if err := f.journal.sync(); err != nil {
		return timmy.Sent{}, away(err)
	}
	return s, nil
}

func (f *Fake) send(o timmy.Outgoing) (timmy.Sent, error) {
	d, err := Decode(o.Bolt11)
	if err != nil || d.Hash != o.Hash || d.Amount != o.Amount && d.Amount != 0 || d.Network != Regtest {
		return timmy.Sent{State: timmy.SentFailed, Reason: "The test wallet pays regtest invoices alone."}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known, done := f.sent[o.Hash]
	switch {
	case done:
		return known, nil
	case f.invoices[o.Hash] != nil:
		return timmy.Sent{State: timmy.SentFailed, Reason: "A wallet does not pay itself."}, nil
	case !f.now().Before(d.Expires()):
		return timmy.Sent{State: timmy.SentFailed, Reason: "The invoice has expired."}, nil
	case len(f.sent) >= maxFakeInvoices:
		return timmy.Sent{State: timmy.SentFailed, Reason: "The test wallet is full."}, nil
	}
	s := timmy.Sent{State: timmy.SentPaid, Fee: min(fakeFee, o.FeeMax)}
	if _, err := f.journal.append(line{Op: "send", Hash: &o.Hash, Amount: o.Amount, Fee: s.Fee, At: f.now().UnixMilli()}); err != nil {
		return timmy.Sent{}, away(err)
	}
	f.sent[o.Hash] = s
	return s, nil
}

// Sent says what became of an outgoing payment.
func (f *Fake) Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Sent{}, err
	}
	f.mu.Lock()
	s, ok := f.sent[h]
	f.mu.Unlock()
	if !ok {
		return timmy.Sent{State: timmy.SentNever}, nil
	}
	if err := f.journal.sync(); err != nil { // what is told must outlive a crash
		return timmy.Sent{}, away(err)
	}
	return s, nil
}

func (f *Fake) replaySend(l line) error {
	if l.Hash == nil || l.Fee < 0 || len(f.sent) >= maxFakeInvoices {
		return errors.New("a payment without a hash, or too many")
	}
	f.sent[*l.Hash] = timmy.Sent{State: timmy.SentPaid, Fee: l.Fee}
	return nil
}
