package tower

import (
	"context"
	"strings"

	"github.com/timmy-tower/timmy"
)

// receiptPartMin is as much of an id as /history shows.
const receiptPartMin = 4

var errNoPapers = timmy.Errorf(timmy.Unavailable, "This tower signs no receipts and no proofs.")

func (d *Desk) receipt(ctx context.Context, j timmy.Job, args []string) (string, error) {
	if d.cfg.Papers == nil {
		return "", errNoPapers
	}
	part := ""
	if len(args) > 0 {
		part = strings.TrimPrefix(args[len(args)-1], "#")
	}
	if len(part) < receiptPartMin {
		return "Say which question, as /history shows it: /receipt 7f3a", nil
	}
	ids, err := d.cfg.Papers.Find(ctx, j.From, part)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "I know no question of yours with that number. Send /history for your last ones.", nil
	case len(ids) > 1 && string(ids[0]) != part:
		return "More than one of your questions can be meant: the latest is " + string(ids[0]) + ". Send more of its number.", nil
	}
	b, err := d.cfg.Papers.Receipt(ctx, ids[0])
	return string(b), err
}

func (d *Desk) proof(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	if d.cfg.Papers == nil {
		return "", errNoPapers
	}
	b, err := d.cfg.Papers.Proof(ctx, timmy.UserAccount(j.From))
	return string(b), err
}
