package wallet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"

	"github.com/timmy-tower/timmy"
)

// Fake is a wallet without a Lightning node: it signs real regtest invoices
// (lnbcrt…) with a throw-away key, and whoever calls [Fake.Pay] settles them. No
// sats move anywhere. Its journal survives a kill at any instant: what Issue or
// Pay returned is still true after a restart.
//
// It may be used by several goroutines.
type Fake struct {
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger
	key     *btcec.PrivateKey
	journal *journal

	mu       sync.Mutex
	invoices map[timmy.Hash]*fakeInvoice
	byText   map[string]*fakeInvoice
	settled  []*fakeInvoice // settled[i] has the sequence number i+1
	sent     map[timmy.Hash]timmy.Sent
	reserved int           // being signed: counted against the cap
	changed  chan struct{} // closed and replaced when more is settled
}

// fakeInvoice is one invoice, and its payment once seq is not zero. end is where
// the journal's line of the payment ends: it counts once the journal is durable
// up to there.
type fakeInvoice struct {
	timmy.Invoice
	ref      string
	preimage [32]byte
	seq      int64
	end      int64
	received timmy.Msat
	at       time.Time
}

// OpenFake opens the journal at path, or makes it with mode 0600 and a new node
// key. A torn last line, from a crash, is cut off. A nil random source is
// crypto/rand.
func OpenFake(path string, now func() time.Time, random io.Reader, log *slog.Logger) (*Fake, error) {
	if random == nil {
		random = rand.Reader
	}
	f := &Fake{
		now: now, rand: random, log: log, changed: make(chan struct{}),
		invoices: map[timmy.Hash]*fakeInvoice{}, byText: map[string]*fakeInvoice{},
		sent: map[timmy.Hash]timmy.Sent{},
	}
	j, err := openJournal(path, f.replay)
	if err != nil {
		return nil, fmt.Errorf("opening the test wallet %s: %w", path, err)
	}
	f.journal = j
	if f.key == nil {
		if err := f.newKey(); err != nil {
			return nil, errors.Join(fmt.Errorf("opening the test wallet %s: %w", path, err), j.close())
		}
	}
	log.Info("test wallet open: its invoices are worth nothing", "invoices", len(f.invoices), "settled", len(f.settled))
	return f, nil
}

// Close closes the journal. Calls after it answer Unavailable.
func (f *Fake) Close() error { return f.journal.close() }

// Network is Regtest.
func (f *Fake) Network() Network { return Regtest }

// FakeStats are counts since the journal began.
type FakeStats struct{ Invoices, Settled int }

// Stats counts.
func (f *Fake) Stats() FakeStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FakeStats{Invoices: len(f.invoices), Settled: len(f.settled)}
}

// Issue makes an invoice for t.Amount; expiry 0 is one hour, at most 24. It is
// durable when Issue returns.
func (f *Fake) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Invoice{}, err
	}
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	if err := f.reserve(); err != nil {
		return timmy.Invoice{}, err
	}
	defer f.unreserve()
	inv, err := f.sign(ref, t, clampLife(expiry))
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice: %w", err)
	}
	if _, err := f.journal.append(issueLine(inv)); err != nil {
		return timmy.Invoice{}, away(err)
	}
	if err := f.journal.sync(); err != nil {
		return timmy.Invoice{}, away(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.invoices[inv.Hash], f.byText[inv.Bolt11] = inv, inv
	return inv.Invoice, nil
}

// reserve counts an invoice that is being made, so that together they stay
// below the cap.
func (f *Fake) reserve() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.invoices)+f.reserved >= maxFakeInvoices {
		return &timmy.Error{Code: timmy.Unavailable, Message: "the test wallet is full: start it with a new file"}
	}
	f.reserved++
	return nil
}

func (f *Fake) unreserve() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserved--
}

// Pay settles an invoice, as a payer's wallet would. received 0 is the exact
// amount; anything else is what "arrived", to try under- and overpaying. Paying
// again returns the first payment and moves nothing. NotFound: not ours;
// Expired: too late.
func (f *Fake) Pay(ctx context.Context, bolt11 string, received timmy.Msat) (timmy.Payment, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Payment{}, err
	}
	if received < 0 || received > timmy.MaxMsat {
		return timmy.Payment{}, timmy.Errorf(timmy.Invalid, "amount: want 0 for exact, or a positive amount")
	}
	inv, err := f.settle(bolt11, received)
	if err != nil {
		return timmy.Payment{}, err
	}
	if err := f.journal.sync(); err != nil {
		return timmy.Payment{}, away(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
	return inv.payment(), nil
}

// settle writes the payment, once. Its line may not be on disk yet.
func (f *Fake) settle(bolt11 string, received timmy.Msat) (*fakeInvoice, error) {
	s, _, err := cap11(bolt11)
	if err != nil {
		return nil, timmy.Errorf(timmy.Invalid, "this is not a Lightning invoice")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	inv, ok := f.byText[s]
	now := f.now()
	switch {
	case !ok:
		return nil, timmy.Errorf(timmy.NotFound, "this invoice is not of this wallet")
	case inv.seq > 0:
		return inv, nil
	case !now.Before(inv.Expires):
		return nil, timmy.Errorf(timmy.Expired, "this invoice has expired")
	}
	if received == 0 {
		received = inv.Amount
	}
	paid := *inv
	paid.seq, paid.received, paid.at = int64(len(f.settled))+1, received, now.UTC().Truncate(time.Millisecond)
	if paid.end, err = f.journal.append(payLine(&paid)); err != nil {
		return nil, away(err)
	}
	*inv = paid
	f.settled = append(f.settled, inv)
	return inv, nil
}

// Lookup says whether the invoice of that hash was paid. NotFound: not ours.
func (f *Fake) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Payment{}, err
	}
	durable := f.journal.durable()
	f.mu.Lock()
	defer f.mu.Unlock()
	inv, ok := f.invoices[h]
	if !ok {
		return timmy.Payment{}, timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	if inv.seq == 0 || inv.end > durable {
		return timmy.Payment{Hash: h, Ref: inv.ref}, nil
	}
	return inv.payment(), nil
}

// List returns what was settled at or after since, in order.
func (f *Fake) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []timmy.Payment
	for _, p := range f.after(0) {
		if !p.At.Before(since) {
			out = append(out, p)
		}
	}
	return out, nil
}

// Watch calls settled for every payment after the cursor, then for each new one,
// until ctx ends. A cursor that is not of this journal starts at the beginning:
// a replay moves nothing, a gap would lose money.
func (f *Fake) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	seq := f.place(from)
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		for _, p := range f.after(seq) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := settled(p, timmy.Cursor(strconv.FormatInt(seq+1, 10))); err != nil {
				return fmt.Errorf("reporting payment %d: %w", seq+1, err)
			}
			seq++
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// place reads a cursor.
func (f *Fake) place(c timmy.Cursor) int64 {
	if c == "" {
		return 0
	}
	seq, err := strconv.ParseInt(string(c), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || seq < 0 || seq > int64(len(f.settled)) {
		f.log.Warn("the cursor is not of this test wallet: reporting everything again")
		return 0
	}
	return seq
}

// after copies the durable payments after a sequence number.
func (f *Fake) after(seq int64) []timmy.Payment {
	durable := f.journal.durable()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []timmy.Payment
	for _, inv := range f.settled[min(seq, int64(len(f.settled))):] {
		if inv.end > durable {
			break
		}
		out = append(out, inv.payment())
	}
	return out
}

// payment is the invoice's payment as the tower is told.
func (i *fakeInvoice) payment() timmy.Payment {
	return timmy.Payment{Hash: i.Hash, Ref: i.ref, Received: i.received, Preimage: i.preimage, Settled: true, At: i.at}
}

// checkTopUp refuses what no wallet can make an invoice of.
func checkTopUp(ref string, t timmy.TopUp) error {
	switch {
	case t.Amount <= 0 || t.Amount > timmy.MaxMsat:
		return timmy.Errorf(timmy.Invalid, "amount: want more than 0")
	case len(ref) > maxRef:
		return fmt.Errorf("making an invoice: the reference is %d bytes, at most %d", len(ref), maxRef)
	case len(t.Description) > 0 && sha256.Sum256(t.Description) != t.DescriptionHash:
		return errors.New("making an invoice: the description hash is not that of the description")
	}
	return nil
}

// clampLife is the life of an invoice: one hour unless said, at most a day.
func clampLife(d time.Duration) time.Duration {
	if d <= 0 {
		return defaultLife
	}
	return max(time.Second, min(d, maxLife)).Truncate(time.Second)
}

// away is a backend that cannot be asked now.
func away(err error) error {
	if timmy.CodeOf(err) == timmy.Unavailable {
		return err // it says so
	}
	return &timmy.Error{Code: timmy.Unavailable, Message: "the wallet is temporarily unavailable", Err: err}
}
