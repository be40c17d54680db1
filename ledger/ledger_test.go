package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/db/pgtest"
)

const sat = timmy.Sat

// clock is a clock that is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// hand is what testing.T and rapid.T have in common.
type hand interface {
	Helper()
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// fix is a ledger on a real file, with hands.
type fix struct {
	*Ledger
	t     hand
	clock *clock
	path  string
	stop  func()
	next  uint64
	mu    sync.Mutex
}

// openBooks opens a file, or a database of the server.
func openBooks(ctx context.Context, path string) (*db.DB, error) {
	if strings.HasPrefix(path, "postgres://") {
		return db.OpenPostgres(ctx, path, db.Options{})
	}
	return db.OpenSQLite(ctx, path, db.Options{})
}

// booksPath is where new books can be.
func booksPath(t testing.TB) string {
	t.Helper()
	return pgtest.Place(t, server, "ledger.db")
}

func options(c *clock) Options {
	return Options{
		Now: c.now, MinBalance: 50 * sat, MinDeposit: 100 * sat, MaxDeposit: 10_000 * sat, PoolShare: 100_000,
		RefundsPerDay: 5_000 * sat,
		Grade: func(s timmy.Standing, o timmy.Outcome, now time.Time) timmy.Standing {
			s.Score += 1000
			s.Completed++
			s.Paid += o.Cost.Charged
			s.Scored = now
			return s
		},
	}
}

func newFix(t testing.TB) *fix {
	t.Helper()
	f := &fix{t: t, clock: &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}, path: booksPath(t)}
	f.open()
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *fix) open() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d, err := openBooks(ctx, f.path)
	f.ok(err)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	f.Ledger, err = Open(ctx, d, options(f.clock))
	f.ok(err)
	f.leaseClock = func(t *txn) time.Time { return t.now } // no hand sets the server's clock
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, d.Close()); err != nil {
			f.t.Error(err)
		}
	})
}

// restart closes the books without any farewell of what runs, and opens them again;
// on PostgreSQL when the leases of what ran are over.
func (f *fix) restart() {
	f.t.Helper()
	f.stop()
	if server != nil {
		f.clock.add(defaultLease + time.Second)
	}
	f.open()
}

func (f *fix) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// is checks the class of an error.
func (f *fix) is(err error, want timmy.Code) {
	f.t.Helper()
	if timmy.CodeOf(err) != want {
		f.t.Fatalf("got %v, want %s", err, want)
	}
}

func (f *fix) preimage() (p [32]byte, h timmy.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	binary.BigEndian.PutUint64(p[:], f.next)
	return p, sha256.Sum256(p[:])
}

// invoice makes an open invoice of an hour, and the payment of it.
func (f *fix) invoice(top timmy.TopUp, l timmy.Lease) timmy.Payment {
	f.t.Helper()
	ref, _, err := f.Expect(f.t.Context(), top)
	f.ok(err)
	p, h := f.preimage()
	inv := timmy.Invoice{Hash: h, Bolt11: "lnbcrt" + h.String(), Amount: top.Amount, Expires: f.clock.now().Add(time.Hour)}
	f.ok(f.Issued(f.t.Context(), ref, inv, l))
	return timmy.Payment{Hash: h, Ref: ref, Received: top.Amount, Preimage: p, Settled: true, At: f.clock.now()}
}

func (f *fix) credit(p timmy.Payment, want timmy.Credit) {
	f.t.Helper()
	got, err := f.Credit(f.t.Context(), p, "")
	f.ok(err)
	if got != want {
		f.t.Fatalf("credit: %s, want %s", got, want)
	}
}

// give pays an amount into an account.
func (f *fix) give(a timmy.Account, amount timmy.Msat) {
	f.t.Helper()
	f.credit(f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: amount}, timmy.Lease{}), timmy.CreditApplied)
}

func (f *fix) posted(a timmy.Account, want timmy.Msat) {
	f.t.Helper()
	if b, err := f.Balance(f.t.Context(), a); err != nil || b.Posted != want {
		f.t.Fatalf("%s has %v (held %v, %v), want %v", a, b.Posted, b.Held, err, want)
	}
}

func (f *fix) verify() {
	f.t.Helper()
	drifts, err := f.Verify(f.t.Context())
	f.ok(err)
	for _, d := range drifts {
		f.t.Errorf("drift: %s", d)
	}
}

func key(n byte) timmy.PubKey { return timmy.PubKey{n, 1} }

// dm is a question by a key, answered by parcel.
func dm(id string, from timmy.PubKey) timmy.Request {
	return timmy.Request{
		ID: timmy.RequestID(id), Front: timmy.FrontDM, From: from, Payer: timmy.UserAccount(from),
		Thread: "dm:" + from.String(), Text: "why " + id, Wait: true, ReplyTo: []byte("to " + id),
	}
}

// call is a question over HTTP, paid by a session.
func call(id, session string, owner timmy.PubKey) timmy.Request {
	return timmy.Request{
		ID: timmy.RequestID(id), Front: timmy.FrontREST, From: owner, Payer: timmy.SessionAccount(session),
		Thread: "session:" + session, Text: "why " + id,
	}
}

func quote(payer, pool timmy.Msat) func(timmy.Job) (timmy.Quote, error) {
	return func(timmy.Job) (timmy.Quote, error) { return timmy.Quote{Payer: payer, Pool: pool}, nil }
}

func complete(charged, absorbed timmy.Msat) timmy.Outcome {
	total := charged + absorbed
	return timmy.Outcome{
		State: timmy.StateComplete, Text: "because",
		Cost: timmy.Cost{Work: total, Total: total, Charged: charged, Absorbed: absorbed},
	}
}

// start claims the next request, which has to be there.
func (f *fix) start(q func(timmy.Job) (timmy.Quote, error)) timmy.Job {
	f.t.Helper()
	j, ok, err := f.Start(f.t.Context(), nil, q)
	f.ok(err)
	if !ok {
		f.t.Fatal("nothing to start")
	}
	return j
}

func (f *fix) accept(r timmy.Request) {
	f.t.Helper()
	if fresh, err := f.Accept(f.t.Context(), r); err != nil || !fresh {
		f.t.Fatalf("accept: %v, %v", fresh, err)
	}
}

func (f *fix) due() []timmy.Parcel {
	f.t.Helper()
	ps, err := f.Due(f.t.Context(), f.clock.now(), 100)
	f.ok(err)
	return ps
}

func (f *fix) session(id string, owner timmy.PubKey, deposit timmy.Msat) {
	f.t.Helper()
	_, err := Sessions{f.Ledger}.Open(f.t.Context(), id, owner, "")
	f.ok(err)
	top := timmy.TopUp{Account: timmy.SessionAccount(id), Purpose: timmy.ForDeposit, Amount: deposit}
	f.credit(f.invoice(top, timmy.Lease{}), timmy.CreditApplied)
}

func (f *fix) state(id string, want timmy.SessionState) timmy.Session {
	f.t.Helper()
	s, err := f.Session(f.t.Context(), id)
	f.ok(err)
	if s.State != want {
		f.t.Fatalf("session is %s, want %s", s.State, want)
	}
	return s
}

// Excludes: a charge or an answer that is lost, doubled or told wrongly on the
// plain way of a request.
func TestARequestIsChargedAndAnsweredOnce(t *testing.T) {
	f := newFix(t)
	ctx, k := t.Context(), key(1)
	f.ok(f.Fund(ctx, 100*sat))
	f.ok(f.Fund(ctx, 900*sat))
	f.posted(timmy.HousePool, 100*sat)
	f.give(timmy.UserAccount(k), 1000*sat)

	r := dm("a", k)
	f.accept(r)
	if fresh, err := f.Accept(ctx, r); err != nil || fresh {
		t.Fatalf("accepted twice: %v %v", fresh, err)
	}
	j := f.start(func(j timmy.Job) (timmy.Quote, error) {
		if j.PayerMax != 1000*sat || j.PoolMax != 100*sat || j.Text != r.Text || j.Tries != 1 {
			t.Errorf("job: %+v", j)
		}
		return timmy.Quote{Payer: 300 * sat, Pool: 50 * sat}, nil
	})
	if b, _ := f.Balance(ctx, r.Payer); b.Held != 300*sat {
		t.Errorf("held %v", b.Held)
	}
	if s, _ := f.Standing(ctx, k); s.Granted != 50*sat {
		t.Errorf("granted %v", s.Granted)
	}
	if _, done, err := f.Reply(ctx, "a"); err != nil || done {
		t.Errorf("done %v, %v", done, err)
	}
	o := complete(200*sat, 30*sat)
	o.Cost.Dust = 400
	reply, err := f.Finish(ctx, j, o)
	f.ok(err)
	if reply.Balance != 800*sat || !reply.First || reply.Outcome.Text != "because" {
		t.Errorf("reply: %+v", reply)
	}
	_, err = f.Finish(ctx, j, o)
	f.is(err, timmy.Conflict)

	share := (200*sat - 400) / 10
	f.posted(r.Payer, 800*sat)
	f.posted(timmy.HouseDust, 400)
	f.posted(timmy.HousePool, 70*sat+share)
	f.posted(timmy.HouseRevenue, 230*sat-400-share)
	f.posted(timmy.HouseLightning, -1000*sat)
	s, err := f.Standing(ctx, k)
	f.ok(err)
	if s.Granted != 30*sat || s.Score != 1000 || s.Paid != 200*sat {
		t.Errorf("standing: %+v", s)
	}
	ps := f.due()
	if len(ps) != 1 || ps[0].Reply == nil || ps[0].Reply.Outcome.Text != "because" || string(ps[0].ReplyTo) != "to a" || ps[0].To != k {
		t.Fatalf("parcels: %+v", ps)
	}
	f.verify()
}

// Excludes: an outcome with wrong sums, or above the hold, in the books.
func TestAWrongOutcomeWritesNothing(t *testing.T) {
	f := newFix(t)
	k := key(1)
	f.give(timmy.UserAccount(k), 1000*sat)
	f.accept(dm("a", k))
	j := f.start(quote(100*sat, 0))
	for name, c := range map[string]timmy.Cost{
		"above the hold":  {Work: 101 * sat, Total: 101 * sat, Charged: 101 * sat},
		"wrong sum":       {Work: 50 * sat, Total: 50 * sat, Charged: 40 * sat},
		"wrong parts":     {Eval: 1, Work: 50 * sat, Total: 50 * sat, Charged: 50 * sat},
		"negative":        {Work: 0, Total: 0, Charged: 5, Waived: -5},
		"without a grant": {Work: 5, Total: 5, Absorbed: 5},
		"all dust":        {Work: 5, Total: 5, Charged: 5, Dust: 6},
	} {
		_, err := f.Finish(t.Context(), j, timmy.Outcome{State: timmy.StateComplete, Cost: c})
		if timmy.CodeOf(err) != timmy.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.posted(timmy.UserAccount(k), 1000*sat)
	_, err := f.Finish(t.Context(), j, complete(100*sat, 0))
	f.ok(err)
	f.verify()
}

// Excludes: lost updates (A1). 64 goroutines debit 7 sats of 5,000, 200 times each.
func TestDebitsNeverOverdraw(t *testing.T) {
	for range times(1, 20) {
		f := newFix(t)
		f.debitAll(t, 64, 200)
		f.posted(timmy.UserAccount(key(1)), 2*sat)
		f.verify()
	}
}

func (f *fix) debitAll(t *testing.T, callers, each int) {
	k := key(1)
	f.give(timmy.UserAccount(k), 5000*sat)
	var wg sync.WaitGroup
	var done atomic.Int64
	for g := range callers {
		wg.Go(func() {
			for i := range each {
				r := dm(fmt.Sprintf("%d-%d", g, i), k)
				r.Front, r.Wait = timmy.FrontREST, false
				j, ok, err := f.Start(t.Context(), &r, quote(7*sat, 0))
				if timmy.CodeOf(err) == timmy.Unpaid {
					continue
				}
				if err != nil || !ok {
					t.Errorf("start: %v %v", ok, err)
					return
				}
				if _, err := f.Finish(t.Context(), j, complete(7*sat, 0)); err != nil {
					t.Errorf("finish: %v", err)
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 714 {
		t.Errorf("%d debits, want 714", done.Load())
	}
}

// Excludes: a hold that is resolved twice, or never, when its post, a second post, a
// void and the sweep of the dead race (A7).
func TestAHoldEndsOnce(t *testing.T) {
	f := newFix(t)
	k := key(1)
	holds := times(500, 10_000)
	f.give(timmy.UserAccount(k), timmy.FromSats(int64(10*holds)))
	failed := timmy.Outcome{State: timmy.StateFailed, Text: "ours"}
	var charged atomic.Int64
	var lanes sync.WaitGroup
	for lane := range 10 {
		lanes.Go(func() {
			for i := range holds / 10 {
				r := dm(fmt.Sprintf("%d-%d", lane, i), k)
				r.Wait = false
				j, ok, err := f.Start(t.Context(), &r, quote(10*sat, 0))
				if err != nil || !ok {
					t.Errorf("start: %v %v", ok, err)
					return
				}
				var wins atomic.Int64
				var race sync.WaitGroup
				for n, o := range []timmy.Outcome{complete(3*sat, 0), complete(3*sat, 0), failed, failed} {
					race.Go(func() {
						_, err := f.Finish(t.Context(), j, o)
						switch {
						case err == nil && n < 2:
							charged.Add(3)
							wins.Add(1)
						case err == nil:
							wins.Add(1)
						case timmy.CodeOf(err) != timmy.Conflict:
							t.Error(err)
						}
					})
				}
				race.Go(func() {
					if _, err := f.Recover(t.Context()); err != nil {
						t.Error(err)
					}
				})
				race.Wait()
				if wins.Load() != 1 {
					t.Errorf("hold %s ended %d times", j.ID, wins.Load())
				}
			}
		})
	}
	lanes.Wait()
	b, err := f.Balance(t.Context(), timmy.UserAccount(k))
	f.ok(err)
	if want := timmy.FromSats(int64(10*holds) - charged.Load()); b.Posted != want || b.Held != 0 {
		t.Errorf("%v posted and %v held, want %v and none", b.Posted, b.Held, want)
	}
	f.verify()
}

// Excludes: a pool that new keys drain below zero, or get anything of once it is empty
// (A14).
func TestNewKeysGetNoMoreThanThePoolHas(t *testing.T) {
	f := newFix(t)
	const pool, each = 700 * sat, 5 * sat
	f.ok(f.Fund(t.Context(), pool))
	var granted atomic.Int64
	var wg sync.WaitGroup
	keys := times(1000, 10_000)
	for lane := range 20 {
		wg.Go(func() {
			for i := range keys / 20 {
				k := timmy.PubKey{byte(lane), byte(i), byte(i >> 8), 7}
				r := dm(fmt.Sprintf("%d-%d", lane, i), k)
				r.Wait = false
				j, ok, err := f.Start(t.Context(), &r, func(j timmy.Job) (timmy.Quote, error) {
					if j.PoolMax < each {
						return timmy.Quote{}, timmy.Errorf(timmy.Unpaid, "the pool is empty")
					}
					return timmy.Quote{Pool: each}, nil
				})
				if timmy.CodeOf(err) == timmy.Unpaid {
					continue
				}
				if err != nil || !ok {
					t.Errorf("start: %v %v", ok, err)
					return
				}
				if _, err := f.Finish(t.Context(), j, complete(0, each)); err != nil {
					t.Error(err)
				}
				granted.Add(int64(each))
			}
		})
	}
	wg.Wait()
	f.posted(timmy.HousePool, 0)
	if granted.Load() != int64(pool) {
		t.Errorf("%d msat were granted of %v", granted.Load(), pool)
	}
	f.verify()
}

// Excludes: parallel requests that all pass the check of one balance (D4).
func TestHoldsNeverOverdraw(t *testing.T) {
	f := newFix(t)
	k := key(1)
	f.give(timmy.UserAccount(k), 1000*sat)
	f.ok(f.Fund(t.Context(), 100*sat))
	var wg sync.WaitGroup
	held := make(chan timmy.Job, 64)
	for i := range 64 {
		wg.Go(func() {
			r := dm(fmt.Sprint(i), k)
			r.Wait = false
			j, _, err := f.Start(t.Context(), &r, quote(30*sat, 30*sat))
			if err == nil {
				held <- j
			}
		})
	}
	wg.Wait()
	if len(held) != 3 {
		t.Errorf("%d holds, want the 3 that the pool has", len(held))
	}
	f.verify()
	for range len(held) {
		j := <-held
		_, err := f.Finish(t.Context(), j, complete(10*sat, 30*sat))
		f.ok(err)
	}
	f.posted(timmy.UserAccount(k), 970*sat)
	f.posted(timmy.HousePool, 13*sat)
	f.verify()
}
