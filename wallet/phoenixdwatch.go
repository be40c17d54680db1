package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/timmy-tower/timmy"
)

// Watch listens to the server's websocket until ctx ends or the socket breaks. A
// frame is a hint: what was paid is asked with [Phoenixd.Lookup]. The cursor is
// the time of the last payment, in milliseconds; what came in since is listed
// once the socket is open, some minutes overlapping, and reported first.
func (p *Phoenixd) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	dial, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(dial, p.call.base+"/websocket", &websocket.DialOptions{
		HTTPClient: p.call.http, CompressionMode: websocket.CompressionDisabled,
		HTTPHeader: http.Header{"Authorization": p.call.header["Authorization"]},
	})
	if err != nil {
		return fmt.Errorf("watching phoenixd: %w", away(p.call.redact(err)))
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxReply)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go keepAlive(ctx, conn, stop)
	listed, err := catchUp(ctx, p, begin(from, p.now()), p.log, settled)
	if err != nil {
		return err
	}
	if !listed {
		settled = standing(settled)
	}
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("watching phoenixd: %w", p.call.redact(errors.Join(context.Cause(ctx), err)))
		}
		if err := p.hint(ctx, frame, settled); err != nil {
			return err
		}
	}
}

// begin is from when on payments are listed: a little before the cursor, for
// payments may complete out of order, and never later than now, for clocks are
// set back.
func begin(from timmy.Cursor, now time.Time) time.Time {
	ms, err := strconv.ParseInt(string(from), 10, 64)
	if err != nil || ms <= 0 {
		return now.Add(-listSlack)
	}
	at := time.UnixMilli(ms)
	if at.After(now) {
		at = now
	}
	return at.Add(-cursorSlack)
}

// hint looks up the payment that a frame names. A lookup that fails is left to
// the poller; a report that fails ends the watch.
func (p *Phoenixd) hint(ctx context.Context, frame []byte, settled func(timmy.Payment, timmy.Cursor) error) error {
	var f struct {
		Type loose `json:"type"`
		Hash loose `json:"paymentHash"`
	}
	if json.Unmarshal(frame, &f) != nil || f.Type.text() != "payment_received" {
		return nil
	}
	h, err := timmy.ParseHash(strings.ToLower(f.Hash.text()))
	if err != nil || !p.issued.worthACall(h) {
		return nil
	}
	row, pay, err := p.lookup(ctx, h)
	if err != nil {
		p.log.Warn("phoenixd pushed a payment that cannot be confirmed: left to polling", "error", err)
		return nil
	}
	if _, ours := row.ref(); !ours || !pay.Settled {
		return nil
	}
	var next timmy.Cursor
	if at := row.completed(); at > 0 {
		next = timmy.Cursor(strconv.FormatInt(at, 10))
	}
	if err := settled(pay, next); err != nil {
		return fmt.Errorf("reporting payment: %w", err)
	}
	return nil
}
