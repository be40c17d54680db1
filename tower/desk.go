package tower

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/timmy-tower/timmy"
)

// DeskConfig is what a [Desk] needs. Book, Records, Model, Rates and Prices are
// required.
type DeskConfig struct {
	Book    Book
	Records Records
	Till    *Till // nil: nobody can pay, and what is unpaid fails
	Model   Model
	Rates   Rates
	Prices  Prices
	Bus     *Bus     // nil: nobody listens
	Papers  Papers   // nil: no receipts and no proofs
	Payouts *Payouts // nil: no refunds

	Admissions Admissions // nil: the relay sells no admission

	Workers      int             // queued requests at once; 0: 8
	Direct       int             // requests of askers on the line at once; 0: 256
	Wake         <-chan struct{} // hints that something was queued elsewhere; may be nil
	RecoverEvery time.Duration   // how often leases of dead towers are taken back; 0: each minute

	Texts Texts
	Now   func() time.Time
	Log   *slog.Logger
}

// The reasons for which a running request is given up.
var (
	errStopped   = errors.New("stopped by the asker")
	errStopping  = errors.New("the tower is stopping")
	errLeaseLost = errors.New("the lease was lost")
)

// Desk runs requests: accept, start, evaluate, work, price, finish. It does not
// know which front asked, and what it has to say is a row that the book writes.
type Desk struct {
	cfg  DeskConfig
	base context.Context // of running requests: outlives the askers
	halt context.CancelCauseFunc

	wake    chan struct{}      // a token for each worker that has reason to look
	express chan timmy.Request // commands that were just accepted
	direct  chan struct{}      // slots of askers on the line

	mu       sync.Mutex
	stopping bool
	running  map[timmy.RequestID]*run
	waiters  map[timmy.RequestID][]chan timmy.Reply
	waiting  int
	jobs     sync.WaitGroup

	counts deskCounts
}

type deskCounts struct{ complete, rejected, failed, parked, lost, panics atomic.Int64 }

// NewDesk makes a desk. Do works at once; Run takes care of what is queued.
func NewDesk(cfg DeskConfig) *Desk {
	if cfg.Workers <= 0 {
		cfg.Workers = workersDefault
	}
	if cfg.Direct <= 0 {
		cfg.Direct = directDefault
	}
	if cfg.RecoverEvery <= 0 {
		cfg.RecoverEvery = recoverEvery
	}
	if cfg.Bus == nil {
		cfg.Bus = NewBus()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Desk{
		cfg: cfg, wake: make(chan struct{}, cfg.Workers), express: make(chan timmy.Request, expressMax),
		direct: make(chan struct{}, cfg.Direct), running: map[timmy.RequestID]*run{},
		waiters: map[timmy.RequestID][]chan timmy.Reply{},
	}
	d.base, d.halt = context.WithCancelCause(context.Background())
	return d
}

// Run takes back what a dead tower left, then works off the queue until ctx ends.
// At the end it claims nothing more and gives what runs up to 25 seconds; what is
// still running then keeps its lease, and the next start takes it back.
func (d *Desk) Run(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return err
	}
	var lanes sync.WaitGroup
	for range d.cfg.Workers {
		lanes.Go(func() { d.lane(ctx) })
	}
	for range expressLanes {
		lanes.Go(func() { d.expressLane(ctx) })
	}
	d.hints(ctx)
	if d.drain() {
		lanes.Wait()
	}
	return nil
}

// Nudge says that something may have been queued. It never blocks.
func (d *Desk) Nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Submit makes a request durable. When it returns nil the request will be
// answered once, however often it is submitted. Invalid: no id or too long.
func (d *Desk) Submit(ctx context.Context, r timmy.Request) error {
	if err := checkRequest(r); err != nil {
		return err
	}
	fresh, err := d.cfg.Book.Accept(ctx, r)
	if err != nil {
		return fmt.Errorf("accepting a request: %w", err)
	}
	if !fresh {
		return nil
	}
	d.publishState(r, timmy.StateQueued)
	if r.Command {
		select {
		case d.express <- r:
			return nil
		default: // the other lanes take commands first, too
		}
	}
	d.Nudge()
	return nil
}

// Follow lets a caller watch a thread, or all of them with an empty one.
func (d *Desk) Follow(ctx context.Context, thread string) <-chan timmy.Event {
	return d.cfg.Bus.Follow(ctx, thread)
}

func checkRequest(r timmy.Request) error {
	if r.ID == "" {
		return timmy.Errorf(timmy.Invalid, "a request needs an id")
	}
	if len(r.Text) > textBytesMax {
		return timmy.Errorf(timmy.Invalid, "a request may have at most %d bytes of text", textBytesMax)
	}
	return nil
}

func (d *Desk) recover(ctx context.Context) error {
	n, err := d.cfg.Book.Recover(ctx)
	if err != nil {
		return fmt.Errorf("recovering requests: %w", err)
	}
	if n > 0 {
		d.cfg.Log.Info("requests of a dead tower taken back", "count", n)
		d.Nudge()
	}
	return nil
}

// hints turns every sign of work into a nudge until ctx ends. The ticker alone is
// enough; the others are faster.
func (d *Desk) hints(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	takeBack := time.NewTicker(d.cfg.RecoverEvery)
	defer takeBack.Stop()
	wake := d.cfg.Wake
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.cfg.Till.credited():
		case _, ok := <-wake:
			if !ok {
				wake = nil
			}
		case <-takeBack.C:
			if err := d.recover(ctx); err != nil {
				d.cfg.Log.Error("taking back requests", "error", err)
			}
		}
		d.Nudge()
	}
}

// lane claims and runs one request after the other. A lane that found something
// nudges, for there may be more.
func (d *Desk) lane(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		for ctx.Err() == nil && d.next(ctx) {
		}
	}
}

// expressLane runs commands while every other lane waits for a model: whoever
// says stop must not wait for what is to be stopped.
func (d *Desk) expressLane(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.express:
			d.runCommand(ctx, r)
		}
	}
}

// next claims the oldest queued request and runs it to its end; false when there
// is none.
func (d *Desk) next(ctx context.Context) bool {
	if !d.enter() {
		return false
	}
	defer d.jobs.Done()
	return d.claim(ctx, nil)
}

// runCommand runs a command that was just submitted, unless a lane has it already.
func (d *Desk) runCommand(ctx context.Context, r timmy.Request) {
	if !d.enter() {
		return
	}
	defer d.jobs.Done()
	d.claim(ctx, &r)
}

// claim starts a request, the oldest one if req is nil, and runs it to its end.
// False: there was none, or the book is away.
func (d *Desk) claim(ctx context.Context, req *timmy.Request) bool {
	r := d.newRun(ctx)
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookTime)
	j, ok, err := d.cfg.Book.Start(call, req, func(j timmy.Job) (timmy.Quote, error) { return d.quote(r, j) })
	cancel()
	if err != nil && j.Lease.Request == "" {
		// With ok the book has finished the request as what err says.
		if !ok && timmy.CodeOf(err) != timmy.Unpaid {
			d.cfg.Log.Error("claiming a request", "error", err)
			return false
		}
		return true
	}
	if err == nil && !ok {
		return false
	}
	d.Nudge()
	d.settle(r, j, err)
	return true
}

// enter counts a running request in, unless the desk is stopping.
func (d *Desk) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return false
	}
	d.jobs.Add(1)
	return true
}

// drain stops intake, waits for what runs, and gives up what takes too long. False:
// a model does not even return when it is cancelled, and is left behind.
func (d *Desk) drain() bool {
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() { d.jobs.Wait(); close(done) }()
	defer d.halt(errStopping)
	select {
	case <-done:
		return true
	case <-time.After(drainTime):
	}
	d.halt(errStopping)
	select {
	case <-done:
		return true
	case <-time.After(abandonTime):
		d.cfg.Log.Error("a model does not return; its request is left to the next start")
		return false
	}
}

// DeskStats says what the desk did and does.
type DeskStats struct {
	Running, Direct, Waiting           int
	Complete, Rejected, Failed, Parked int64
	Lost                               int64 // finishes that came after the lease was lost
	Panics                             int64 // of models and commands, recovered
}

// Stats counts.
func (d *Desk) Stats() DeskStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.counts
	return DeskStats{
		Running: len(d.running), Direct: len(d.direct), Waiting: d.waiting,
		Complete: c.complete.Load(), Rejected: c.rejected.Load(), Failed: c.failed.Load(),
		Parked: c.parked.Load(), Lost: c.lost.Load(), Panics: c.panics.Load(),
	}
}
