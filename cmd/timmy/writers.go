package main

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/tower"
)

const (
	// maxWriters is how many keys that may write are remembered.
	maxWriters = 16 << 10
	// tierFor is how long a tier is believed: it falls slowly. An admission is for good.
	tierFor = 10 * time.Minute
)

var _ relay.Standing = (*writers)(nil)

// writers lets keys write on the relay that paid the admission, or that earned a
// tier. Who may is remembered; who may not is looked up each time (one read by a
// unique key), so that a payment counts at once, whichever tower it came to.
type writers struct {
	book  *ledger.Ledger
	tier  timmy.Tier // enough without paying; empty: none
	price timmy.Msat // 0: nothing is for sale
	where string     // it is sold, in words
	now   func() time.Time
	known *lru.Cache[timmy.PubKey, time.Time] // until when
}

func (p *parts) newWriters() (*writers, error) {
	c := p.cfg
	known, err := lru.New[timmy.PubKey, time.Time](maxWriters)
	return &writers{
		book: p.book, tier: timmy.Tier(c.Relay.WriterTier), price: c.Policy.Admission, now: p.env.Now, known: known,
		where: "pay at " + admissionPage(c) + ", or send /join to " + p.key.Npub(),
	}, err
}

// admissionPage is where a browser buys it.
func admissionPage(c *Config) string { return c.PublicURL + "/relay" }

// MayWrite answers Unpaid with the price and where to pay it, or Unauthorized where
// nothing is for sale.
func (w *writers) MayWrite(ctx context.Context, k timmy.PubKey, _ int) error {
	if until, ok := w.known.Get(k); ok && w.now().Before(until) {
		return nil
	}
	in, err := w.book.Admitted(ctx, k)
	if err != nil {
		return err
	}
	if in {
		w.known.Add(k, w.now().AddDate(100, 0, 0))
		return nil
	}
	if w.tier != "" {
		s, err := w.book.Standing(ctx, k)
		if err != nil {
			return err
		}
		if rank(tower.TierOf(s, w.now())) >= rank(w.tier) {
			w.known.Add(k, w.now().Add(tierFor))
			return nil
		}
	}
	if w.price > 0 {
		return timmy.Errorf(timmy.Unpaid, "writing on this relay costs %d sats, once: %s", w.price.CeilSat().Sats(), w.where)
	}
	return timmy.Errorf(timmy.Unauthorized, "this relay takes events of keys that its operator knows, or that are customers of tier %s", w.tier)
}

// rank orders the tiers.
func rank(t timmy.Tier) int {
	switch t {
	case timmy.TierNew:
		return 1
	case timmy.TierEstablished:
		return 2
	case timmy.TierTrusted:
		return 3
	case timmy.TierElite:
		return 4
	}
	return 0
}

// admissionInvoice makes the invoice for a key's admission, or finds the open one.
func (p *parts) admissionInvoice(ctx context.Context, k timmy.PubKey) (inv timmy.Invoice, admitted bool, err error) {
	if admitted, err = p.book.Admitted(ctx, k); err != nil || admitted {
		return inv, admitted, err
	}
	inv, err = p.till.Invoice(ctx, tower.AdmissionTopUp(k, p.cfg.Policy.Admission, p.cfg.Tower.Name))
	if timmy.CodeOf(err) == timmy.Conflict && inv.Bolt11 != "" {
		err = nil
	}
	return inv, false, err
}
