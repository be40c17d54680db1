package wallet

import (
	"errors"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// issued remembers the last hashes that a backend gave out, see [recentHashes],
// and bounds what strangers' hints can cause.
type issued struct {
	now func() time.Time

	mu     sync.Mutex
	recent map[timmy.Hash]struct{}
	order  []timmy.Hash // of recent, oldest first from next on
	next   int
	hints  int       // calls that unknown hints may still cause
	hinted time.Time // when hints was last topped up
}

func newIssued(now func() time.Time) *issued {
	return &issued{now: now, recent: map[timmy.Hash]struct{}{}, hints: hintBurst, hinted: now()}
}

// remember notes an issued hash; false if it is known.
func (l *issued) remember(h timmy.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.recent[h]; ok {
		return false
	}
	l.recent[h] = struct{}{}
	if len(l.order) < recentHashes {
		l.order = append(l.order, h)
		return true
	}
	delete(l.recent, l.order[l.next])
	l.order[l.next] = h
	l.next = (l.next + 1) % recentHashes
	return true
}

// knows says whether a hash was noted, of late.
func (l *issued) knows(h timmy.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.recent[h]
	return ok
}

// accept checks a new invoice and refuses a hash that was given out before.
func (l *issued) accept(bolt11 string, w Want) (timmy.Invoice, error) {
	inv, err := Check(bolt11, w)
	if err != nil {
		return timmy.Invoice{}, err
	}
	if !l.remember(inv.Hash) {
		return timmy.Invoice{}, errors.New("the payment hash was given out before")
	}
	return inv, nil
}

// worthACall lets every hint about an invoice of ours through, and a few others
// a minute: after a restart all are unknown.
func (l *issued) worthACall(h timmy.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ours := l.recent[h]; ours {
		return true
	}
	if n := int64(l.now().Sub(l.hinted) / hintEvery); n > 0 {
		l.hints = int(min(int64(hintBurst), int64(l.hints)+n))
		l.hinted = l.now()
	}
	if l.hints == 0 {
		return false
	}
	l.hints--
	return true
}
