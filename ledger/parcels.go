package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// body is what a parcel row stores of a parcel.
type body struct {
	ReplyTo []byte               `json:",omitempty"`
	Reply   *timmy.Reply         `json:",omitempty"`
	Paid    *timmy.Notice        `json:",omitempty"`
	Zap     *timmy.InvoiceStatus `json:",omitempty"`
	Alert   string               `json:",omitempty"`
	Request []byte               `json:",omitempty"`
}

// parcel writes an outbox row.
func (t *txn) parcel(p timmy.Parcel, about timmy.RequestID) error {
	b, err := json.Marshal(body{p.ReplyTo, p.Reply, p.Paid, p.Zap, p.Alert, p.Request})
	if err != nil {
		return fmt.Errorf("packing a parcel: %w", err)
	}
	t.parcels = true
	_, err = t.Exec(`INSERT INTO parcels (front, dest, request, body, state, next, at) VALUES (?, ?, ?, ?, 'due', ?, ?)`,
		p.Front, hexOf(p.To), about, b, ms(t.now), ms(t.now))
	return err
}

// Alert tells operators something by direct message, at most once per name until
// again, whichever tower says it and however often it is restarted. said is false
// when they know already.
func (l *Ledger) Alert(ctx context.Context, name string, again time.Time, to []timmy.PubKey, text string) (said bool, err error) {
	id, added := "alert:"+name, int64(0)
	if len(id) > maxSeenID {
		return false, timmy.Errorf(timmy.Invalid, "the name of an alert is too long")
	}
	err = l.write(ctx, failpoint.LedgerAlert, func(t *txn) error {
		gone, err := t.Exec(`DELETE FROM seen WHERE id = ? AND until <= ?`, id, ms(t.now))
		if err != nil {
			return err
		}
		n, err := t.Exec(`INSERT INTO seen (id, until) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, id, ms(again))
		added, said = n-gone, n == 1
		if err != nil || n == 0 {
			return err
		}
		for _, k := range to {
			if err := t.parcel(timmy.Parcel{Front: timmy.FrontDM, To: k, Alert: text}, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	l.seen.Add(added)
	return said, nil
}

// prow is a parcel as it is read.
type prow struct {
	ID           int64
	Front        timmy.Front
	Dest         string
	Body, Signed []byte
	Tries        int
	At           int64
}

const duePart = `SELECT id, front, dest, body, signed, tries, at FROM parcels WHERE state = 'due' AND next `

// Due lists undelivered parcels whose time has come, oldest first, and then those
// that a clock which was set back would hold up. The receipt of a zap has no front;
// its To is nobody.
func (l *Ledger) Due(ctx context.Context, now time.Time, limit int) (ps []timmy.Parcel, err error) {
	var rows, ahead []prow
	limit = clamp(limit, maxDue)
	err = l.read(ctx, func(q *db.Tx) error {
		err := q.Select(&rows, duePart+`<= ? ORDER BY next, id LIMIT ?`, ms(now), limit)
		if err != nil || len(rows) == limit {
			return err
		}
		return q.Select(&ahead, duePart+`> ? ORDER BY next, id LIMIT ?`, ms(now.Add(maxPutOff)), limit-len(rows))
	})
	if err != nil {
		return nil, err
	}
	for _, r := range append(rows, ahead...) {
		p, err := r.parcel()
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

func (r prow) parcel() (timmy.Parcel, error) {
	var b body
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return timmy.Parcel{}, bug("parcel %d cannot be read: %w", r.ID, err)
	}
	p := timmy.Parcel{
		ID: r.ID, Front: r.Front, To: keyOf(r.Dest), ReplyTo: b.ReplyTo, Reply: b.Reply, Paid: b.Paid,
		Zap: b.Zap, Alert: b.Alert, Request: b.Request, Tries: r.Tries, At: when(r.At),
	}
	if len(r.Signed) > 0 {
		if err := json.Unmarshal(r.Signed, &p.Signed); err != nil {
			return timmy.Parcel{}, bug("the events of parcel %d cannot be read: %w", r.ID, err)
		}
	}
	return p, nil
}

// Sealed stores the signed events before the first publish. Conflict: the parcel
// has some already, which are the ones to publish.
func (l *Ledger) Sealed(ctx context.Context, id int64, events [][]byte) error {
	b, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("packing events: %w", err)
	}
	return l.onParcel(ctx, failpoint.LedgerSealed, `UPDATE parcels SET signed = ? WHERE id = ? AND state = 'due' AND signed IS NULL`, b, id)
}

// Delivered ends a parcel. Its texts go; that it went stays for a week.
func (l *Ledger) Delivered(ctx context.Context, id int64) error {
	return l.onParcel(ctx, failpoint.LedgerDelivered, `UPDATE parcels SET state = 'delivered', body = NULL, signed = NULL WHERE id = ? AND state = 'due'`, id)
}

// Retry puts a parcel off, by a quarter of an hour at most.
func (l *Ledger) Retry(ctx context.Context, id int64, at time.Time, why string) error {
	if most := l.o.Now().Add(maxPutOff); at.After(most) {
		at = most
	}
	return l.onParcel(ctx, failpoint.LedgerRetry, `UPDATE parcels SET tries = tries + 1, next = ?, why = ? WHERE id = ? AND state = 'due'`, ms(at), why, id)
}

// Abandon ends a parcel that cannot be delivered; why is kept. A reply can still
// be read from its request.
func (l *Ledger) Abandon(ctx context.Context, id int64, why string) error {
	return l.onParcel(ctx, failpoint.LedgerRetry, `UPDATE parcels SET state = 'abandoned', body = NULL, signed = NULL, why = ? WHERE id = ? AND state = 'due'`, why, id)
}

func (l *Ledger) onParcel(ctx context.Context, step failpoint.Point, query string, args ...any) error {
	return l.write(ctx, step, func(t *txn) error {
		n, err := t.Exec(query, args...)
		if err == nil && n != 1 {
			err = timmy.Errorf(timmy.Conflict, "this parcel is not due any more, or sealed already")
		}
		return err
	})
}
