package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/tower"
)

// errDied is what everything answers once the process is dead.
var errDied = errors.New("the process died")

// fuse burns a step with each call, and lets the process die at one of them: before
// what is called has happened, or right after it.
type fuse struct {
	mu    sync.Mutex
	left  int
	after bool
	dead  bool
}

// through runs do unless the process is, or now becomes, dead.
func (f *fuse) through(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errDied
	}
	f.left--
	if f.left == 0 {
		f.dead = true
		if f.after {
			_ = do()
		}
		return errDied
	}
	return do()
}

// mortal is the book of a process that may die. The embedded ledger has what no
// refund needs.
type mortal struct {
	*Ledger
	*fuse
}

func (m mortal) Refund(ctx context.Context, r timmy.Refund, s Sizing) (out timmy.Refund, err error) {
	err = m.through(func() (err error) { out, err = m.Ledger.Refund(ctx, r, s); return err })
	return out, err
}

func (m mortal) Aim(ctx context.Context, id string, inv timmy.Invoice) error {
	return m.through(func() error { return m.Ledger.Aim(ctx, id, inv) })
}

func (m mortal) Launch(ctx context.Context, id string) error {
	return m.through(func() error { return m.Ledger.Launch(ctx, id) })
}

func (m mortal) Recall(ctx context.Context, id, reason string) error {
	return m.through(func() error { return m.Ledger.Recall(ctx, id, reason) })
}

func (m mortal) Land(ctx context.Context, id string, s timmy.Sent) (r timmy.Refund, odd bool, err error) {
	err = m.through(func() (err error) { r, odd, err = m.Ledger.Land(ctx, id, s); return err })
	return r, odd, err
}

func (m mortal) OpenRefunds(ctx context.Context) (list []timmy.Refund, err error) {
	err = m.through(func() (err error) { list, err = m.Ledger.OpenRefunds(ctx); return err })
	return list, err
}

// payer is a wallet that outlives the process, and does what its case says. It
// counts what really left.
type payer struct {
	f     *fix
	fate  string // paid, failed, late (pending first, then paid), lost (an error first, then failed)
	mu    sync.Mutex
	asked map[timmy.Hash]int
	sent  map[timmy.Hash]timmy.SentState
}

// wallet is the payer as one process reaches it.
type wallet struct {
	*payer
	*fuse
}

const routing = 2 * sat

func (w wallet) Send(_ context.Context, o timmy.Outgoing) (s timmy.Sent, err error) {
	err = w.through(func() error {
		w.payer.mu.Lock()
		defer w.payer.mu.Unlock()
		w.asked[o.Hash]++
		w.sent[o.Hash] = timmy.SentFailed
		if w.fate == "paid" || w.fate == "late" {
			w.sent[o.Hash] = timmy.SentPaid
		}
		s = w.said(o.Hash)
		switch w.fate {
		case "late":
			s.State = timmy.SentPending
		case "lost":
			return errors.New("read: connection reset")
		}
		return nil
	})
	return s, err
}

func (w wallet) Sent(_ context.Context, h timmy.Hash) (s timmy.Sent, err error) {
	err = w.through(func() error {
		w.payer.mu.Lock()
		defer w.payer.mu.Unlock()
		s = w.said(h)
		return nil
	})
	return s, err
}

func (p *payer) said(h timmy.Hash) timmy.Sent {
	switch p.sent[h] {
	case timmy.SentPaid:
		return timmy.Sent{State: timmy.SentPaid, Fee: routing}
	case timmy.SentFailed:
		return timmy.Sent{State: timmy.SentFailed, Reason: "no route"}
	}
	return timmy.Sent{State: timmy.SentNever}
}

// Read and Ask make invoices of somebody else's wallet.
func (w wallet) Read(bolt11 string) (timmy.Invoice, error) {
	inv := w.f.target(100 * sat)
	inv.Bolt11 = bolt11
	return inv, nil
}

func (w wallet) Ask(_ context.Context, _ string, amount timmy.Msat) (inv timmy.Invoice, err error) {
	err = w.through(func() error { inv = w.f.target(amount); return nil })
	return inv, err
}

func (f *fix) payouts(p *payer, fuse *fuse) *tower.Payouts {
	w := wallet{p, fuse}
	return tower.NewPayouts(tower.PayoutsConfig{Book: mortal{f.Ledger, fuse}, Payer: w, Targets: w, Now: f.clock.now})
}

// ends lets a healthy tower work until the refund has its end; waiting costs clock
// time alone. Not: it was never made.
func (f *fix) ends(p *tower.Payouts, id string) (timmy.Refund, bool) {
	f.t.Helper()
	for range 20 {
		f.ok(p.Advance(f.t.Context()))
		r, err := f.RefundOf(f.t.Context(), id)
		if timmy.CodeOf(err) == timmy.NotFound {
			return r, false
		}
		if f.ok(err); r.State.Final() {
			return r, true
		}
		f.clock.add(2 * time.Minute)
	}
	f.t.Fatalf("refund %s has no end", id)
	return timmy.Refund{}, false
}

// Excludes A4, F: a refund paid twice or lost when the process dies at any step,
// before or after what it did there, with a wallet that pays, fails, answers late, or
// not at all. The wallet's own count is the judge.
func TestADeadTowerNeitherLosesNorPaysTwice(t *testing.T) {
	const most = 10 // steps of the longest way: order, open, ask, aim, launch, send; open, look, land; open
	for _, fate := range []string{"paid", "failed", "late", "lost"} {
		t.Run(fate, func(t *testing.T) {
			f, paid := newFix(t), 0
			for step := 1; step <= most; step++ {
				for _, after := range []bool{false, true} {
					paid += dieAt(f, fate, &fuse{left: step, after: after})
				}
			}
			// What was reserved is paid, wherever it was cut off, but for a call that
			// never left: nobody may know that it did not.
			if want := 2*most - 3; (fate == "paid" || fate == "late") && paid != want || fate != "paid" && fate != "late" && paid != 0 {
				t.Errorf("%d were paid", paid)
			}
		})
	}
}

// dieAt lets one refund be cut off, restarts, and says how often it was paid.
func dieAt(f *fix, fate string, doom *fuse) int {
	ctx := f.t.Context()
	id := fmt.Sprintf("r-%d-%v", doom.left, doom.after)
	k := key(byte(doom.left))
	k[2] = byte(bit(doom.after))
	a := timmy.UserAccount(k)
	f.clock.add(25 * time.Hour) // another day, another maximum
	f.give(a, 1000*sat)
	p := &payer{f: f, fate: fate, asked: map[timmy.Hash]int{}, sent: map[timmy.Hash]timmy.SentState{}}
	doomed := f.payouts(p, doom)
	_, _ = doomed.Order(ctx, timmy.RefundOrder{ID: id, Account: a, To: "me@wallet.example", Amount: 500 * sat})
	for range 3 {
		_ = doomed.Advance(ctx)
		f.clock.add(3 * time.Second)
	}
	f.verify()
	f.restart()
	f.verify()
	r, made := f.ends(f.payouts(p, &fuse{}), id)
	f.verify()
	paid, asked := 0, 0
	for h, n := range p.asked {
		asked += n
		if p.sent[h] == timmy.SentPaid {
			paid += n
		}
	}
	want := 1000 * sat
	if paid == 1 {
		want -= 500*sat + routing
	}
	if asked > 1 || paid > 1 || (paid == 1) != (made && r.State == timmy.RefundPaid) {
		f.t.Errorf("asked %d times, paid %d times, and the book says %+v", asked, paid, r)
	}
	f.posted(a, want)
	if b, err := f.Balance(ctx, a); err != nil || b.Held != 0 {
		f.t.Errorf("held %v, %v", b.Held, err)
	}
	return paid
}

// Excludes: two towers on one database that both pay, or one that ends what the
// other has begun.
func TestTwoTowersPayARefundOnce(t *testing.T) {
	f := newFix(t)
	ctx := t.Context()
	p := &payer{f: f, fate: "paid", asked: map[timmy.Hash]int{}, sent: map[timmy.Hash]timmy.SentState{}}
	towers := []*tower.Payouts{f.payouts(p, &fuse{}), f.payouts(p, &fuse{}), f.payouts(p, &fuse{})}
	for n := range byte(20) {
		a := timmy.UserAccount(key(n))
		f.give(a, 150*sat)
		if _, err := towers[0].Order(ctx, timmy.RefundOrder{ID: fmt.Sprint("r", n), Account: a, To: "me@wallet.example"}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, tw := range towers {
		all.Go(func() {
			for range 3 {
				if err := tw.Advance(ctx); err != nil {
					t.Error(err)
				}
				f.clock.add(3 * time.Second)
			}
		})
	}
	all.Wait()
	for n := range byte(20) {
		if r, ok := f.ends(towers[1], fmt.Sprint("r", n)); !ok || r.State != timmy.RefundPaid {
			t.Errorf("refund %d: %+v", n, r)
		}
		f.posted(timmy.UserAccount(key(n)), 10*sat-routing)
	}
	if len(p.asked) != 20 {
		t.Errorf("%d payments", len(p.asked))
	}
	for h, n := range p.asked {
		if n != 1 {
			t.Errorf("%s was paid %d times", h, n)
		}
	}
	f.verify()
}
