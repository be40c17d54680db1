package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/timmy-tower/timmy"
)

// Watch listens to the wallet's websocket until ctx ends or the socket breaks.
// Anybody can write into that socket, so a frame is a hint only: what was paid
// is asked with [LNbits.Lookup]. LNbits has no cursor; the one given is ignored
// and the ones reported are empty, and what was missed is found by polling.
func (l *LNbits) Watch(ctx context.Context, _ timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	dial, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// http and https become ws and wss in the library; the key is in the path.
	conn, _, err := websocket.Dial(dial, l.call.base+"/api/v1/ws/"+l.call.secret, &websocket.DialOptions{
		HTTPClient: l.call.http, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return fmt.Errorf("watching lnbits: %w", away(l.call.redact(err)))
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxReply)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go keepAlive(ctx, conn, stop)
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("watching lnbits: %w", l.call.redact(errors.Join(context.Cause(ctx), err)))
		}
		if err := l.hint(ctx, frame, settled); err != nil {
			return err
		}
	}
}

// keepAlive pings, and stops the watcher when nothing comes back.
func keepAlive(ctx context.Context, conn *websocket.Conn, stop context.CancelCauseFunc) {
	tick := time.NewTicker(watchPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ping, cancel := context.WithTimeout(ctx, watchPong)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				stop(errors.New("the server is silent"))
				return
			}
		}
	}
}

// hint looks up the payment that a frame names. A lookup that fails is left to
// the poller; a report that fails ends the watch.
func (l *LNbits) hint(ctx context.Context, frame []byte, settled func(timmy.Payment, timmy.Cursor) error) error {
	var f struct {
		Payment lnbitsPayment `json:"payment"`
	}
	if json.Unmarshal(frame, &f) != nil || f.Payment.outgoing() { // what we paid is pushed, too
		return nil
	}
	h, err := timmy.ParseHash(strings.ToLower(f.Payment.PaymentHash.text()))
	if err != nil || !l.issued.worthACall(h) {
		return nil
	}
	p, err := l.Lookup(ctx, h)
	if err != nil {
		l.log.Warn("lnbits pushed a payment that cannot be confirmed: left to polling", "error", err)
		return nil
	}
	if !p.Settled {
		return nil
	}
	if err := settled(p, ""); err != nil {
		return fmt.Errorf("reporting payment: %w", err)
	}
	return nil
}
