package wallet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/timmy-tower/timmy"
)

// Watch follows the node's stream of invoices until ctx ends or the stream
// breaks. The cursor is lnd's settle_index: it replays what was settled while
// nobody watched. A replay begins at the cursor itself, so that a node that was
// restored from a backup, and counts from lower again, is noticed: then, as with
// an empty cursor, everything that [LND.List] finds is reported.
func (l *LND) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	last, err := strconv.ParseUint(string(from), 10, 63)
	if err != nil {
		last = 0
	}
	for {
		last, err = l.follow(ctx, last, settled)
		if !errors.Is(err, errQuiet) {
			return err
		}
	}
}

// errQuiet: the stream was silent for long, and is opened anew.
var errQuiet = errors.New("the stream is silent")

// follow reads one stream and returns the last index it saw.
func (l *LND) follow(ctx context.Context, last uint64, settled func(timmy.Payment, timmy.Cursor) error) (uint64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := make(chan lndLine)
	// Index 0 means "none": settlement number 1 cannot be asked for.
	go l.lines(ctx, max(last, 1)-1, lines)
	quiet := time.NewTimer(l.wait.idle)
	defer quiet.Stop()
	replayed, listed := last <= 1, true
	if replayed {
		var err error
		if listed, err = catchUp(ctx, l, l.now().Add(-listSlack), l.log, settled); err != nil {
			return last, err
		}
	} else {
		quiet.Reset(l.wait.replay)
	}
	for {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-quiet.C:
			if !replayed {
				l.log.Warn("lnd does not know the last settlement that was credited: was it restored? Everything is looked at again")
				last = 0
			}
			return last, errQuiet
		case line := <-lines:
			if line.err != nil {
				return last, fmt.Errorf("watching lnd: %w", away(l.call.redact(line.err)))
			}
			n := line.invoice.index()
			if !listed {
				n = 0 // the cursor stays before what was not listed
			}
			if line.invoice.State.text() == "SETTLED" {
				replayed = true
				last = max(last, n)
			}
			if err := l.report(line.invoice, n, settled); err != nil {
				return last, err
			}
			if replayed {
				quiet.Reset(l.wait.idle)
			}
		}
	}
}

// report passes on a settlement of ours.
func (l *LND) report(inv lndInvoice, n uint64, settled func(timmy.Payment, timmy.Cursor) error) error {
	h, ok := base64Hash(inv.Hash)
	if _, ours := refOf(inv.Memo.text()); !ok || !ours {
		return nil
	}
	p := inv.payment(h, l.now())
	if !p.Settled {
		return nil
	}
	var next timmy.Cursor
	if n > 0 {
		next = timmy.Cursor(strconv.FormatUint(n, 10))
	}
	if err := settled(p, next); err != nil {
		return fmt.Errorf("reporting payment: %w", err)
	}
	return nil
}

// lndLine is an event of the stream, or its end.
type lndLine struct {
	invoice lndInvoice
	err     error
}

// lines sends what the stream says until it or ctx ends.
func (l *LND) lines(ctx context.Context, after uint64, out chan<- lndLine) {
	send := func(line lndLine) bool {
		select {
		case out <- line:
			return line.err == nil
		case <-ctx.Done():
			return false
		}
	}
	req, err := l.call.request(ctx, ask{method: http.MethodGet, path: "/v1/invoices/subscribe?settle_index=" + strconv.FormatUint(after, 10)})
	if err != nil {
		send(lndLine{err: err})
		return
	}
	res, err := l.stream.Do(req)
	if err != nil {
		send(lndLine{err: err})
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := readCapped(res.Body)
		if err == nil {
			err = refusal(res.StatusCode, b)
		}
		send(lndLine{err: err})
		return
	}
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, maxReply)
	for scan.Scan() {
		if len(scan.Bytes()) > 0 && !send(readLNDLine(scan.Bytes())) {
			return
		}
	}
	send(lndLine{err: errors.Join(scan.Err(), io.ErrUnexpectedEOF)})
}

// readLNDLine reads one line of the stream.
func readLNDLine(b []byte) lndLine {
	var l struct {
		Result *lndInvoice `json:"result"`
		Error  loose       `json:"error"`
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return lndLine{err: fmt.Errorf("reading the stream: %w", err)}
	}
	if l.Result == nil {
		return lndLine{err: fmt.Errorf("the stream ended: %s", cut(string(l.Error), maxLoggedReply))}
	}
	return lndLine{invoice: *l.Result}
}
