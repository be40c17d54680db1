package tower

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// TillConfig is what a [Till] needs. Invoices and Wallet are required.
type TillConfig struct {
	Invoices Invoices
	Wallet   Wallet             // push is used when it is a [Watcher] too
	Expiry   time.Duration      // of invoices that name none; 0: one hour
	Poll     []time.Duration    // the pauses between two looks at one invoice, the last one repeated; nil: 2 s, 5 s, each 10 s for two minutes, 30 s, a minute
	Alert    func(alert string) // told of money that could not be credited; may be nil, must not block
	Now      func() time.Time
	Log      *slog.Logger
}

// Till takes money in: it makes invoices and credits what was paid, at most once.
type Till struct {
	cfg    TillConfig
	landed chan struct{}

	mu      sync.Mutex
	polled  map[timmy.Hash]*polled
	failing map[timmy.Hash]error    // credits that are being tried again
	seen    map[timmy.Hash]struct{} // payments that need no second report from a full pass
	alerted map[timmy.Hash]struct{} // alerts are given once
	away    time.Time               // since when the wallet answers nothing; zero: it answers
	asked   time.Time               // when the wallet was last asked anything

	counts tillCounts
}

type tillCounts struct{ issued, applied, replayed, unknown, refused, lookups, lookupErrors, watches atomic.Int64 }

// NewTill makes a till. Invoice works at once; Run detects payments.
func NewTill(cfg TillConfig) *Till {
	if cfg.Expiry <= 0 {
		cfg.Expiry = invoiceExpiry
	}
	if len(cfg.Poll) == 0 {
		cfg.Poll = defaultPoll()
	}
	if cfg.Alert == nil {
		cfg.Alert = func(string) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Till{
		cfg: cfg, landed: make(chan struct{}, 1), polled: map[timmy.Hash]*polled{},
		failing: map[timmy.Hash]error{}, seen: map[timmy.Hash]struct{}{}, alerted: map[timmy.Hash]struct{}{},
	}
}

// credited hints that money arrived, and that something may run now. A nil till
// never does.
func (t *Till) credited() <-chan struct{} {
	if t == nil {
		return nil
	}
	return t.landed
}

// Invoice makes an invoice for top: the row, then the wallet, then the row again.
// Conflict: one is open already, and returned with the error when it is known; or
// the zap was paid. Invalid: the amount. Unavailable: the wallet is away.
func (t *Till) Invoice(ctx context.Context, top timmy.TopUp) (timmy.Invoice, error) {
	return t.InvoiceFor(ctx, top, timmy.Lease{})
}

// InvoiceFor is Invoice for a request that waits: storing the invoice parks the
// request under its lease. A request that has an open invoice already, because
// other money came and did not suffice, is parked with that one.
func (t *Till) InvoiceFor(ctx context.Context, top timmy.TopUp, l timmy.Lease) (timmy.Invoice, error) {
	if top.Amount < timmy.Sat || top.Amount > timmy.MaxMsat {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "the amount must be at least one sat")
	}
	if top.Expiry <= 0 {
		top.Expiry = t.cfg.Expiry
	}
	// An asker that hangs up must not leave a half-made invoice.
	ctx = context.WithoutCancel(ctx)
	ref, open, err := t.expect(ctx, top)
	if timmy.CodeOf(err) == timmy.Conflict {
		if open == nil {
			return timmy.Invoice{}, err
		}
		if l.Request != "" {
			err = t.issued(ctx, ref, *open, l)
		}
		return *open, err
	}
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("expecting money: %w", err)
	}
	inv, err := t.issue(ctx, ref, top)
	if err != nil {
		return timmy.Invoice{}, err
	}
	if err := t.issued(ctx, ref, inv, l); err != nil {
		return timmy.Invoice{}, fmt.Errorf("storing an invoice: %w", err)
	}
	t.counts.issued.Add(1)
	t.track(inv)
	return inv, nil
}

func (t *Till) expect(ctx context.Context, top timmy.TopUp) (string, *timmy.Invoice, error) {
	ctx, cancel := context.WithTimeout(ctx, bookTime)
	defer cancel()
	return t.cfg.Invoices.Expect(ctx, top)
}

// issue asks the wallet. A wallet that fails leaves a ref that is given up; were
// its invoice paid all the same, the full pass would still find it.
func (t *Till) issue(ctx context.Context, ref string, top timmy.TopUp) (timmy.Invoice, error) {
	call, cancel := context.WithTimeout(ctx, issueTime)
	defer cancel()
	inv, err := t.ask(call, ref, top)
	if err == nil {
		return inv, nil
	}
	t.cfg.Log.Error("the wallet made no invoice", "ref", ref, "error", err)
	call, cancel = context.WithTimeout(ctx, bookTime)
	defer cancel()
	if err := t.cfg.Invoices.Withdrawn(call, ref); err != nil {
		t.cfg.Log.Error("giving up an invoice", "ref", ref, "error", err)
	}
	return timmy.Invoice{}, &timmy.Error{Code: timmy.Unavailable, Message: "the Lightning wallet is away; try again shortly", Err: err}
}

// ask has the wallet make an invoice.
func (t *Till) ask(ctx context.Context, ref string, top timmy.TopUp) (inv timmy.Invoice, err error) {
	if err := failpoint.Before(failpoint.WalletIssue); err != nil {
		return inv, err
	}
	inv, err = t.cfg.Wallet.Issue(ctx, ref, top, top.Expiry)
	t.heard(err)
	if err == nil {
		err = failpoint.After(failpoint.WalletIssue)
	}
	return inv, err
}

// issued stores an invoice, and tries again while the book is away: the invoice
// exists, and losing it would lose the row that says whose it is.
func (t *Till) issued(ctx context.Context, ref string, inv timmy.Invoice, l timmy.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, bookTime)
	defer cancel()
	var pause backoff
	for {
		err := t.cfg.Invoices.Issued(ctx, ref, inv, l)
		if err == nil || timmy.CodeOf(err) != timmy.Internal && timmy.CodeOf(err) != timmy.Unavailable || !pause.wait(ctx) {
			return err
		}
	}
}

// Healthy says why money is not being credited right now; nil when nothing is
// waiting.
func (t *Till) Healthy() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, err := range t.failing {
		return fmt.Errorf("%d payments wait to be credited: %w", len(t.failing), err)
	}
	return nil
}

// heard notes whether the wallet answered. That it knows no such invoice, or does
// not like one, is an answer.
func (t *Till) heard(err error) {
	code := timmy.CodeOf(err)
	answers := err == nil || code != timmy.Internal && code != timmy.Unavailable
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = t.cfg.Now()
	switch {
	case answers:
		t.away = time.Time{}
	case t.away.IsZero():
		t.away = t.cfg.Now()
	}
}

// defaultPoll is close while somebody who was just shown an invoice looks on, for a
// wallet whose push is dead.
func defaultPoll() []time.Duration {
	pauses := slices.Repeat([]time.Duration{10 * time.Second}, 12)
	return slices.Concat([]time.Duration{2 * time.Second, 5 * time.Second}, pauses, []time.Duration{30 * time.Second, time.Minute})
}

// probe asks a wallet that nobody has asked anything for a while: on a quiet tower a
// dead one would otherwise be found by the next customer.
func (t *Till) probe(ctx context.Context) error {
	t.mu.Lock()
	quiet := t.cfg.Now().Sub(t.asked) >= probeAfter
	t.mu.Unlock()
	if !quiet {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	_, err := t.cfg.Wallet.Lookup(call, timmy.Hash{1}) // nobody's: NotFound is an answer
	if ctx.Err() == nil {
		t.heard(err)
	}
	return nil
}

// WalletAway says since when every call of the wallet has failed; zero: the last one
// was answered, or there was none yet. It is asked each few minutes at least.
func (t *Till) WalletAway() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.away
}

// TillStats says what the till did and does.
type TillStats struct {
	Polled, Failing                     int
	Issued                              int64
	Applied, Replayed, Unknown, Refused int64 // reports of payments, by what they did
	Lookups, LookupErrors               int64
	Watches                             int64 // times the wallet's stream was opened
}

// Stats counts.
func (t *Till) Stats() TillStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.counts
	return TillStats{
		Polled: len(t.polled), Failing: len(t.failing), Issued: c.issued.Load(),
		Applied: c.applied.Load(), Replayed: c.replayed.Load(), Unknown: c.unknown.Load(), Refused: c.refused.Load(),
		Lookups: c.lookups.Load(), LookupErrors: c.lookupErrors.Load(), Watches: c.watches.Load(),
	}
}
