package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/tower"
)

// maxAlerts is how many alerts are kept for `timmy ledger suspense`: the rows of
// the suspense list are the lasting record, this is what was said about them.
const maxAlerts = 100

// alert is something the operator has to look at.
type alert struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// alerts are the latest ones since the tower was started.
type alerts struct {
	mu   sync.Mutex
	list []alert
}

func (a *alerts) add(at time.Time, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) == maxAlerts {
		a.list = append(a.list[:0], a.list[1:]...)
	}
	a.list = append(a.list, alert{at, text})
}

func (a *alerts) all() []alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]alert{}, a.list...)
}

// alert keeps what the till raised, which has logged it as an error, and has the
// operators told.
func (p *parts) alert(text string) {
	p.alerts.add(p.env.Now(), text)
	select {
	case p.alarm <- struct{}{}:
	default:
	}
}

// nothing is what a call without arguments sends.
type nothing struct{}

// booksAPI is what the commands about money ask a running tower to do.
func (p *parts) booksAPI(mux *http.ServeMux) {
	mux.Handle("POST /suspense/resolve", controlHandler(func(ctx context.Context, r ledger.Resolution) (ledger.Resolution, error) {
		done, err := p.book.Resolve(ctx, r)
		if err == nil {
			p.log.Info("suspense was resolved", "name", done.Name, "to", done.To, "msat", int64(done.Amount))
		}
		return done, err
	}))
	mux.Handle("POST /refunds/resolve", controlHandler(func(ctx context.Context, d ledger.Decision) (timmy.Refund, error) {
		done, err := p.book.Decide(ctx, d)
		if err == nil {
			p.log.Info("a refund was decided by hand", "refund", done.ID, "state", done.State, "reason", d.Reason)
		}
		return done, err
	}))
	mux.Handle("POST /invoices/reconcile", controlHandler(func(ctx context.Context, _ nothing) (tower.Reconciled, error) {
		return p.till.Reconcile(ctx)
	}))
	mux.Handle("POST /wallet", controlHandler(p.walletHeld))
	mux.Handle("POST /alerts", controlHandler(func(context.Context, nothing) ([]alert, error) { return p.alerts.all(), nil }))
}

func (p *parts) walletHeld(ctx context.Context, _ nothing) (walletHeld, error) {
	var sum timmy.Msat
	var err error
	switch w := p.wallet.Wallet.(type) {
	case balancer:
		sum, err = w.Balance(ctx)
	default:
		if p.wallet.fake == nil {
			return walletHeld{}, nil
		}
		sum, err = fakeBalance(ctx, p.wallet.fake)
	}
	if err != nil {
		p.log.Warn("the wallet does not tell what it holds", "err", err)
		return walletHeld{}, nil
	}
	return walletHeld{&sum}, nil
}
