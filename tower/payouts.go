package tower

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// PayoutsConfig is what [Payouts] need. Book, Payer and Targets are required.
type PayoutsConfig struct {
	Book    Refunds
	Payer   Payer
	Targets Targets
	Allowed func() bool        // false: the books do not add up, nothing may leave; nil: always
	Alert   func(alert string) // told of what an operator should look at; may be nil, must not block
	Now     func() time.Time
	Log     *slog.Logger
}

// Payouts give unspent money back. What is asked for is reserved, amount and
// routing fee, before anything else; the row says that the wallet is being asked
// before it is; and after that only the wallet's word ends a refund. So a refund
// that a crash cut off is never paid again: it is looked up until it is known.
type Payouts struct {
	cfg  PayoutsConfig
	wake chan struct{}
	slot chan struct{}

	mu   sync.Mutex
	busy map[string]bool   // being worked on by this process
	next map[string]lookAt // when a launched one is looked up again
}

type lookAt struct {
	at   time.Time
	step int
}

// NewPayouts makes payouts. Order works at once; Run pays.
func NewPayouts(cfg PayoutsConfig) *Payouts {
	if cfg.Allowed == nil {
		cfg.Allowed = func() bool { return true }
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
	return &Payouts{
		cfg: cfg, wake: make(chan struct{}, 1), slot: make(chan struct{}, refundsAtOnce),
		busy: map[string]bool{}, next: map[string]lookAt{},
	}
}

// FeeLimit is the most that routing an amount may cost.
func FeeLimit(amount timmy.Msat) timmy.Msat {
	return max(feeLeast, (amount / feeShare).CeilSat())
}

// sizing is how much of what is available arrives, in whole sats, and how much is
// kept for routing. want 0 is all there is.
func sizing(want timmy.Msat) func(timmy.Msat) (amount, fee timmy.Msat, err error) {
	return func(available timmy.Msat) (timmy.Msat, timmy.Msat, error) {
		most := wholeSats(max(0, available-FeeLimit(available)))
		switch {
		case most <= 0:
			return 0, 0, timmy.Errorf(timmy.Unpaid, "There is nothing to give back: of %d sats up to %d may be needed for routing.",
				available.Sats(), feeLeast.Sats())
		case want == 0:
			return most, FeeLimit(most), nil
		case want+FeeLimit(want) > available:
			return 0, 0, timmy.Errorf(timmy.Unpaid, "That is more than there is: of %d sats at most %d can be given back, for routing may cost up to %d.",
				available.Sats(), most.Sats(), FeeLimit(want).Sats())
		}
		return want, FeeLimit(want), nil
	}
}

// Order reserves a refund; the wallet is asked by Run, here or in another tower. A
// known id gives what became of it. Invalid: the
// target, or an amount that is not the invoice's. Else the errors of
// [Refunds].Refund.
func (p *Payouts) Order(ctx context.Context, o timmy.RefundOrder) (timmy.Refund, error) {
	r := timmy.Refund{ID: o.ID, Account: o.Account}
	var err error
	if strings.Contains(o.To, "@") {
		r.To, err = timmy.ParseLightningAddress(o.To)
	} else {
		r.Invoice, err = p.cfg.Targets.Read(strings.TrimSpace(o.To))
		r.To = r.Invoice.Bolt11
	}
	if err != nil {
		return timmy.Refund{}, err
	}
	if named := r.Invoice.Amount; named > 0 {
		if o.Amount != 0 && o.Amount != named {
			return timmy.Refund{}, timmy.Errorf(timmy.Invalid, "The invoice is over %d sats, not %d.", named.Sats(), o.Amount.Sats())
		}
		o.Amount = named
	}
	if r, err = p.cfg.Book.Refund(ctx, r, sizing(o.Amount)); err != nil {
		return timmy.Refund{}, err
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return r, nil
}

// Remember where the remainder of an anonymous session goes at its end: a lightning
// address, or an invoice that names no amount. Invalid: it is neither.
func (p *Payouts) Remember(ctx context.Context, session, to string) error {
	if strings.Contains(to, "@") {
		address, err := timmy.ParseLightningAddress(to)
		if err != nil {
			return err
		}
		return p.cfg.Book.RefundTo(ctx, session, address)
	}
	inv, err := p.cfg.Targets.Read(to)
	if err != nil {
		return err
	}
	if inv.Amount != 0 {
		return timmy.Errorf(timmy.Invalid, "The invoice names an amount, and what will be left is not known yet.")
	}
	return p.cfg.Book.RefundTo(ctx, session, inv.Bolt11)
}

// Of reads a refund.
func (p *Payouts) Of(ctx context.Context, id string) (timmy.Refund, error) {
	return p.cfg.Book.RefundOf(ctx, id)
}

// Await gives a refund as it is when it ends, or after a moment. It goes on without
// who asked.
func (p *Payouts) Await(ctx context.Context, r timmy.Refund) timmy.Refund {
	ctx, cancel := context.WithTimeout(ctx, refundWait)
	defer cancel()
	tick := time.NewTicker(refundPoll)
	defer tick.Stop()
	for !r.State.Final() {
		select {
		case <-ctx.Done():
			return r
		case <-tick.C:
		}
		if now, err := p.cfg.Book.RefundOf(ctx, r.ID); err == nil {
			r = now
		}
	}
	return r
}

// Run pays what is reserved and looks up what was sent, until ctx ends. What is
// under way then is looked up after the next start.
func (p *Payouts) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(refundTick)
	defer tick.Stop()
	var swept time.Time
	for {
		if now := p.cfg.Now(); now.Sub(swept) >= sweepEvery || now.Before(swept) {
			swept = now
			if _, err := p.cfg.Book.ReturnRemainders(ctx, sizing(0)); err != nil && ctx.Err() == nil {
				p.cfg.Log.Error("giving remainders back", "error", err)
			}
		}
		if err := p.begin(ctx, &all); err != nil && ctx.Err() == nil {
			p.cfg.Log.Error("reading the open refunds", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.wake:
		}
	}
}

// Advance takes every open refund one step further, and waits for it.
func (p *Payouts) Advance(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	return p.begin(ctx, &all)
}

func (p *Payouts) begin(ctx context.Context, all *sync.WaitGroup) error {
	if !p.cfg.Allowed() {
		return nil
	}
	open, err := p.cfg.Book.OpenRefunds(ctx)
	if err != nil {
		return err
	}
	p.forget(open)
	for _, r := range open {
		if !p.take(r) {
			continue
		}
		select {
		case p.slot <- struct{}{}:
		case <-ctx.Done():
			p.leave(r.ID)
			return nil
		}
		all.Go(func() {
			defer func() { <-p.slot; p.leave(r.ID) }()
			if err := p.step(ctx, r); err != nil && ctx.Err() == nil {
				p.cfg.Log.Error("giving money back", "refund", r.ID, "hash", r.Invoice.Hash, "error", err)
			}
		})
	}
	return nil
}

// take says whether a refund is due, and nobody else here is at it.
func (p *Payouts) take(r timmy.Refund) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, look := p.cfg.Now(), p.next[r.ID]
	if p.busy[r.ID] || now.Before(look.at) {
		return false
	}
	p.busy[r.ID] = true
	pauses := []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}
	p.next[r.ID] = lookAt{now.Add(pauses[min(look.step, len(pauses)-1)]), look.step + 1}
	return true
}

func (p *Payouts) leave(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, id)
}

// forget drops what is open no longer.
func (p *Payouts) forget(open []timmy.Refund) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := map[string]bool{}
	for _, r := range open {
		known[r.ID] = true
	}
	for id := range p.next {
		if !known[id] && !p.busy[id] {
			delete(p.next, id)
		}
	}
}

// step takes one refund further.
func (p *Payouts) step(ctx context.Context, r timmy.Refund) error {
	if r.State == timmy.RefundSending {
		return p.look(ctx, r)
	}
	if r.Invoice.Hash.IsZero() {
		inv, err := p.invoice(ctx, r)
		if err == nil {
			err = p.cfg.Book.Aim(ctx, r.ID, inv)
		}
		switch timmy.CodeOf(err) {
		case "":
		case timmy.Conflict: // another tower was faster
			return nil
		case timmy.Internal: // a fault of ours: it is tried again
			return err
		default:
			return p.recall(ctx, r, timmy.MessageOf(err))
		}
		r.Invoice = inv
	}
	if p.cfg.Now().Add(refundSpare).After(r.Invoice.Expires) {
		return p.recall(ctx, r, "The invoice has expired.")
	}
	return p.send(ctx, r)
}

// invoice is what a refund without one is paid by.
func (p *Payouts) invoice(ctx context.Context, r timmy.Refund) (timmy.Invoice, error) {
	if strings.Contains(r.To, "@") {
		return p.cfg.Targets.Ask(ctx, r.To, r.Amount)
	}
	inv, err := p.cfg.Targets.Read(r.To)
	inv.Amount = r.Amount
	return inv, err
}

// recall ends what was not launched; that another tower launched it meanwhile is
// as well.
func (p *Payouts) recall(ctx context.Context, r timmy.Refund, reason string) error {
	err := p.cfg.Book.Recall(ctx, r.ID, reason)
	if timmy.CodeOf(err) == timmy.Conflict {
		return nil
	}
	return err
}

// send asks the wallet to pay. This is the one place that does.
func (p *Payouts) send(ctx context.Context, r timmy.Refund) error {
	err := p.cfg.Book.Launch(ctx, r.ID)
	if timmy.CodeOf(err) == timmy.Conflict {
		return nil
	}
	if err != nil {
		return fmt.Errorf("launching: %w", err)
	}
	call, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if err := failpoint.Before(failpoint.WalletSend); err != nil {
		return err
	}
	sent, err := p.cfg.Payer.Send(call, timmy.Outgoing{
		Bolt11: r.Invoice.Bolt11, Hash: r.Invoice.Hash, Amount: r.Amount, FeeMax: r.Fee,
	})
	if err == nil {
		err = failpoint.After(failpoint.WalletSend)
	}
	if err != nil {
		return fmt.Errorf("the wallet did not say what happened; it will be asked: %w", err)
	}
	return p.land(ctx, r, sent)
}

// look asks the wallet what became of a payment.
func (p *Payouts) look(ctx context.Context, r timmy.Refund) error {
	call, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	sent, err := p.cfg.Payer.Sent(call, r.Invoice.Hash)
	if err != nil {
		return fmt.Errorf("looking up a payment: %w", err)
	}
	if sent.State == timmy.SentNever && p.cfg.Now().Sub(r.Sent) >= neverAfter {
		sent = timmy.Sent{State: timmy.SentFailed, Reason: "It never reached the wallet."}
	}
	return p.land(ctx, r, sent)
}

// land books an end; anything else stays open.
func (p *Payouts) land(ctx context.Context, r timmy.Refund, sent timmy.Sent) error {
	if sent.State != timmy.SentPaid && sent.State != timmy.SentFailed {
		return nil
	}
	done, odd, err := p.cfg.Book.Land(ctx, r.ID, sent)
	if err != nil {
		return fmt.Errorf("booking the end: %w", err)
	}
	if odd {
		p.cfg.Log.Error("alert: the wallet names a fee that cannot be", "refund", r.ID, "fee", int64(sent.Fee), "booked", int64(done.Fee))
		p.cfg.Alert(fmt.Sprintf("The wallet says that routing a refund of %d sats (%s) cost %d msat; %d msat were reserved and are booked.",
			r.Amount.Sats(), r.Invoice.Hash, int64(sent.Fee), int64(done.Fee)))
	}
	return nil
}
