package ledger

import (
	"context"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// RefundRow is a refund as the books have it, for the operator.
type RefundRow struct {
	timmy.Refund
	Wallet string    // that was asked to pay; empty: none yet
	Ended  time.Time // zero: it has no end yet
}

// Refunds lists refunds, newest first, at most limit and a thousand: all, or those
// without an end, whatever wallet they were sent by.
func (l *Ledger) Refunds(ctx context.Context, all bool, limit int) (list []RefundRow, err error) {
	var rows []frow
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&rows, `SELECT * FROM refunds WHERE ? = 1 OR state IN ('reserved', 'sending') ORDER BY at DESC, id LIMIT ?`,
			bit(all), clamp(limit, maxList))
	})
	for i := range rows {
		list = append(list, RefundRow{rows[i].refund(), rows[i].Wallet, when(rows[i].Ended)})
	}
	return list, err
}

// Decision is the operator's word on a refund that its wallet left in doubt.
type Decision struct {
	Refund string     `json:"refund"`
	Paid   bool       `json:"paid"` // false: it was not, and will not be
	Fee    timmy.Msat `json:"feeMsat,omitempty"`
	Reason string     `json:"reason"`
}

// Decide ends a launched refund by the operator's word, once. NotFound: there is no
// such refund. Conflict: it has ended, or no wallet was asked yet. Invalid: no
// reason, or a fee above what was reserved.
func (l *Ledger) Decide(ctx context.Context, d Decision) (out timmy.Refund, err error) {
	if d.Reason = strings.TrimSpace(d.Reason); d.Reason == "" || len(d.Reason) > maxRefundReason {
		return out, timmy.Errorf(timmy.Invalid, "a reason is needed, of at most %d bytes", maxRefundReason)
	}
	err = l.write(ctx, failpoint.LedgerResolve, func(t *txn) error {
		r, err := t.openRefund(d.Refund)
		switch {
		case err != nil:
			return err
		case r.State != timmy.RefundSending:
			return timmy.Errorf(timmy.Conflict, "the refund is %s: there is nothing to decide", r.State)
		case d.Fee < 0 || d.Fee > r.Fee:
			return timmy.Errorf(timmy.Invalid, "the fee must be from 0 to the %d msat that were reserved", int64(r.Fee))
		case d.Paid:
			r.Reason = d.Reason
			err = t.paidOut(&r, timmy.Sent{State: timmy.SentPaid, Fee: d.Fee})
		default:
			err = t.giveUp(&r, d.Reason)
		}
		out = r.refund()
		return err
	})
	if err != nil {
		return timmy.Refund{}, err
	}
	return out, nil
}
