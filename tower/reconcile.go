package tower

import (
	"context"
	"fmt"

	"github.com/timmy-tower/timmy"
)

// Reconciled is what a full pass that was asked for found.
type Reconciled struct {
	Open    int   `json:"open"`    // invoices that were asked for one by one
	Applied int64 `json:"applied"` // payments credited meanwhile, by whatever path
	Unknown int64 `json:"unknown"` // payments suspended meanwhile
	Refused int64 `json:"refused"` // reports refused meanwhile
}

// Reconcile makes a full pass now, as far back as the first one at start: it asks
// the wallet for everything that was settled, and for each open invoice. It may
// run beside the others, for a payment is credited once. Unavailable: the wallet
// cannot list; nothing is lost, and the passes of Run go on.
func (t *Till) Reconcile(ctx context.Context) (Reconciled, error) {
	before := t.Stats()
	if err := t.pass(ctx, t.cfg.Now().Add(-passBackFirst)); err != nil {
		return Reconciled{}, &timmy.Error{Code: timmy.Unavailable, Message: "the full pass did not end: " + err.Error(), Err: err}
	}
	open, err := t.cfg.Invoices.Open(ctx, t.cfg.Now())
	if err != nil {
		return Reconciled{}, fmt.Errorf("reading the open invoices: %w", err)
	}
	hashes := make([]timmy.Hash, 0, len(open))
	for _, inv := range open {
		hashes = append(hashes, inv.Hash)
	}
	t.lookUp(ctx, hashes)
	after := t.Stats()
	return Reconciled{
		Open: len(open), Applied: after.Applied - before.Applied,
		Unknown: after.Unknown - before.Unknown, Refused: after.Refused - before.Refused,
	}, ctx.Err()
}
