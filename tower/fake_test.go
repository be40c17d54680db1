package tower

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// fakeBook is the book in memory, with faults. It keeps the promises of ports.go
// that the pipelines lean on: once-only ids, holds, fencing, floors.
type fakeBook struct {
	mu       sync.Mutex
	seq      int
	rows     map[timmy.RequestID]*fakeRow
	balances map[timmy.Account]timmy.Balance
	invoices map[string]*fakeInvoice
	cursor   timmy.Cursor
	history  []timmy.Turn
	postings []timmy.Posting
	owned    []timmy.Session
	unpaid   []timmy.Invoice
	forgot   map[string]bool // thread: prompts too

	down      func(method string) error // a fault to inject
	extends   int
	lapses    int
	recovers  int
	withdrawn int
	keepOpen  bool // Open lists all, as if nothing had been settled yet
}

type fakeRow struct {
	seq     int
	req     timmy.Request
	state   timmy.State
	token   int64
	hold    timmy.Quote
	outcome timmy.Outcome
	invoice string
}

type fakeInvoice struct {
	ref     string
	top     timmy.TopUp
	inv     timmy.Invoice
	settled bool
}

func newBook() *fakeBook {
	return &fakeBook{
		rows: map[timmy.RequestID]*fakeRow{}, balances: map[timmy.Account]timmy.Balance{},
		invoices: map[string]*fakeInvoice{}, forgot: map[string]bool{},
	}
}

// enter locks, and answers the injected fault.
func (b *fakeBook) enter(method string) (func(), error) {
	b.mu.Lock()
	if b.down != nil {
		if err := b.down(method); err != nil {
			b.mu.Unlock()
			return nil, err
		}
	}
	return b.mu.Unlock, nil
}

func (b *fakeBook) Accept(_ context.Context, r timmy.Request) (bool, error) {
	leave, err := b.enter("Accept")
	if err != nil {
		return false, err
	}
	defer leave()
	return b.accept(r), nil
}

func (b *fakeBook) accept(r timmy.Request) bool {
	if _, known := b.rows[r.ID]; known {
		return false
	}
	b.seq++
	b.rows[r.ID] = &fakeRow{seq: b.seq, req: r, state: timmy.StateQueued}
	return true
}

func (b *fakeBook) Start(_ context.Context, r *timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (j timmy.Job, ok bool, err error) {
	leave, err := b.enter("Start")
	if err != nil {
		return j, false, err
	}
	defer leave()
	row, fresh := b.oldest(), false
	if r != nil {
		fresh = b.rows[r.ID] == nil
		b.accept(*r)
		row = b.rows[r.ID]
	}
	if row == nil || row.state != timmy.StateQueued {
		return j, false, nil
	}
	row.state, row.token = timmy.StateRunning, row.token+1
	payer, pool := b.balances[row.req.Payer], b.balances[timmy.HousePool]
	j = timmy.Job{
		Request: row.req, Lease: timmy.Lease{Request: row.req.ID, Token: row.token}, History: b.history,
		Standing: timmy.Standing{Key: row.req.From}, PayerMax: payer.Available(), PoolMax: pool.Available(), Tries: int(row.token),
	}
	q, err := quote(j)
	if err != nil && timmy.CodeOf(err) != timmy.Unpaid && fresh {
		delete(b.rows, r.ID)
		return timmy.Job{}, false, err
	}
	if timmy.CodeOf(err) == timmy.Unpaid && !row.req.Wait {
		row.state, j.Lease = timmy.StateUnpaid, timmy.Lease{}
	}
	if err != nil {
		return j, true, err
	}
	payer.Held += q.Payer
	pool.Held += q.Pool
	b.balances[row.req.Payer], b.balances[timmy.HousePool] = payer, pool
	row.hold, j.Hold = q, q
	return j, true, nil
}

// oldest is the next to claim: commands first, two running per asker.
func (b *fakeBook) oldest() *fakeRow {
	running := map[timmy.PubKey]int{}
	var queued []*fakeRow
	for _, r := range b.rows {
		switch {
		case r.state == timmy.StateRunning && !r.req.Command:
			running[r.req.From]++
		case r.state == timmy.StateQueued:
			queued = append(queued, r)
		}
	}
	slices.SortFunc(queued, func(x, y *fakeRow) int {
		if x.req.Command != y.req.Command {
			if x.req.Command {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.seq, y.seq)
	})
	for _, r := range queued {
		if r.req.Command || running[r.req.From] < 2 {
			return r
		}
	}
	return nil
}

func (b *fakeBook) leased(l timmy.Lease) (*fakeRow, error) {
	r := b.rows[l.Request]
	if r == nil || r.state != timmy.StateRunning || r.token != l.Token {
		return nil, timmy.Errorf(timmy.Conflict, "the lease was lost")
	}
	return r, nil
}

func (b *fakeBook) Extend(_ context.Context, l timmy.Lease) error {
	leave, err := b.enter("Extend")
	if err != nil {
		return err
	}
	defer leave()
	b.extends++
	_, err = b.leased(l)
	return err
}

func (b *fakeBook) Finish(_ context.Context, j timmy.Job, o timmy.Outcome) (timmy.Reply, error) {
	leave, err := b.enter("Finish")
	if err != nil {
		return timmy.Reply{}, err
	}
	defer leave()
	r, err := b.leased(j.Lease)
	if err != nil {
		return timmy.Reply{}, err
	}
	c := o.Cost
	if c.Charged > r.hold.Payer || c.Absorbed > r.hold.Pool || c.Charged+c.Absorbed+c.Waived != c.Total || c.Eval+c.Work != c.Total {
		return timmy.Reply{}, fmt.Errorf("cost %+v with a hold of %+v", c, r.hold)
	}
	b.release(r)
	b.move(r.req.Payer, -c.Charged)
	b.move(timmy.HousePool, -c.Absorbed)
	r.state, r.outcome = o.State, o
	return b.reply(r), nil
}

func (b *fakeBook) move(a timmy.Account, m timmy.Msat) {
	bal := b.balances[a]
	bal.Posted += m
	b.balances[a] = bal
}

func (b *fakeBook) release(r *fakeRow) {
	payer, pool := b.balances[r.req.Payer], b.balances[timmy.HousePool]
	payer.Held -= r.hold.Payer
	pool.Held -= r.hold.Pool
	b.balances[r.req.Payer], b.balances[timmy.HousePool], r.hold = payer, pool, timmy.Quote{}
}

func (b *fakeBook) reply(r *fakeRow) timmy.Reply {
	o := r.outcome
	o.State = r.state
	return timmy.Reply{
		Request: r.req.ID, Front: r.req.Front, Command: r.req.Command, Thread: r.req.Thread, Outcome: o,
		Balance: b.balances[r.req.Payer].Posted, Tries: int(r.token),
	}
}

func (b *fakeBook) Reply(_ context.Context, id timmy.RequestID) (timmy.Reply, bool, error) {
	leave, err := b.enter("Reply")
	if err != nil {
		return timmy.Reply{}, false, err
	}
	defer leave()
	r := b.rows[id]
	if r == nil {
		return timmy.Reply{}, false, timmy.Errorf(timmy.NotFound, "no such request")
	}
	return b.reply(r), r.state.Final(), nil
}

// Recover takes everything back at its first call, as after a crash.
func (b *fakeBook) Recover(context.Context) (n int, err error) {
	leave, err := b.enter("Recover")
	if err != nil {
		return 0, err
	}
	defer leave()
	if b.recovers++; b.recovers > 1 {
		return 0, nil
	}
	for _, r := range b.rows {
		if r.state == timmy.StateRunning {
			b.release(r)
			r.state = timmy.StateQueued
			n++
		}
	}
	return n, nil
}

// state reads a request's state.
func (b *fakeBook) state(id timmy.RequestID) timmy.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rows[id]; r != nil {
		return r.state
	}
	return ""
}

// balance reads what an account holds.
func (b *fakeBook) balance(a timmy.Account) timmy.Balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.balances[a]
}

// set fills an account.
func (b *fakeBook) set(a timmy.Account, m timmy.Msat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balances[a] = timmy.Balance{Posted: m}
}

func (b *fakeBook) fail(f func(method string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = f
}

func (b *fakeBook) Balance(_ context.Context, a timmy.Account) (timmy.Balance, error) {
	return b.balance(a), nil
}

func (b *fakeBook) Standing(_ context.Context, k timmy.PubKey) (timmy.Standing, error) {
	return timmy.Standing{Key: k, FirstSeen: time.Now()}, nil
}

func (b *fakeBook) Requests(_ context.Context, k timmy.PubKey, limit int) (rs []timmy.Reply, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.req.From == k && !r.req.Command && len(rs) < limit {
			rs = append(rs, b.reply(r))
		}
	}
	return rs, nil
}

func (b *fakeBook) Postings(context.Context, timmy.Account, int) ([]timmy.Posting, error) {
	return b.postings, nil
}

func (b *fakeBook) Owned(context.Context, timmy.PubKey, int) ([]timmy.Session, error) {
	return b.owned, nil
}

func (b *fakeBook) Unpaid(context.Context, timmy.Account, int) ([]timmy.Invoice, error) {
	return b.unpaid, nil
}

func (b *fakeBook) Forget(_ context.Context, thread string, of timmy.PubKey) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgot[thread] = !of.IsZero()
	return 2, nil
}

func (b *fakeBook) ClaimCode(context.Context, timmy.PubKey) (timmy.ClaimCode, error) {
	return "CLAIM-7K3Q-M2XW", nil
}

func (b *fakeBook) Cancel(_ context.Context, k timmy.PubKey, keep timmy.RequestID) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.rows {
		if r.req.From == k && id != keep && (r.state == timmy.StateQueued || r.state == timmy.StateParked) {
			r.state = timmy.StateFailed
			n++
		}
	}
	return n, nil
}
