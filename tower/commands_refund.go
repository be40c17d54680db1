package tower

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
)

// refund is /refund [sats] [address or invoice].
func (d *Desk) refund(ctx context.Context, j timmy.Job, args []string) (string, error) {
	if d.cfg.Payouts == nil {
		return "", timmy.Errorf(timmy.Unavailable, "This tower gives no refunds.")
	}
	o := timmy.RefundOrder{ID: "request:" + string(j.ID), Account: timmy.UserAccount(j.From)}
	for _, arg := range args {
		switch n, err := strconv.ParseInt(strings.ReplaceAll(arg, ",", ""), 10, 64); {
		case err == nil && n > 0 && n <= timmy.MaxMsat.Sats() && o.Amount == 0:
			o.Amount = timmy.FromSats(n)
		case err == nil, o.To != "" && arg != "sats":
			return refundUsage, nil
		case arg != "sats" && arg != "all" && arg != "to":
			o.To = arg
		}
	}
	if o.To == "" {
		return refundUsage, nil
	}
	r, err := d.cfg.Payouts.Order(ctx, o)
	if err != nil {
		return "", err
	}
	return refundText(d.cfg.Payouts.Await(ctx, r)), nil
}

const refundUsage = "Say where to, and how much unless it is all you have: /refund you@wallet.example, /refund 500 you@wallet.example, or /refund and an invoice."

func refundText(r timmy.Refund) string {
	switch r.State {
	case timmy.RefundPaid:
		return fmt.Sprintf("Sent %s. Routing cost %s of your balance.", sats(r.Amount), exactSats(r.Fee))
	case timmy.RefundFailed:
		return fmt.Sprintf("That did not work: %s Nothing was sent, and your sats are yours as before.", sentence(r.Reason))
	}
	return fmt.Sprintf("%s are on their way. Until it is known that they arrived they stay reserved; /history money shows it.", sats(r.Amount))
}

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "the payment failed."
	}
	return strings.TrimRight(s, ".") + "."
}

// exactSats writes an amount with its thousandths.
func exactSats(m timmy.Msat) string { return decimal(int64(m), int64(timmy.Sat)) + " sats" }
