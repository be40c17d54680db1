package ledger

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

//go:embed migrations
var migrations embed.FS

// Options of a ledger. The zero value works; amounts of 0 mean no limit, but for
// MaxDeposit, whose 0 means that sessions do not draw on their owners.
type Options struct {
	Log  *slog.Logger     // nil: silent
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // of references; nil: crypto/rand

	// Grade moves a standing by an outcome; pure. Nil: standings do not move.
	Grade func(timmy.Standing, timmy.Outcome, time.Time) timmy.Standing

	Wallet string // names the wallet that is watched: each has a cursor of its own

	SessionExpiry time.Duration // sliding; 0: 24 h
	MinBalance    timmy.Msat    // of a session, to run a request; below it is paused
	MinDeposit    timmy.Msat    // of a session's deposit or top-up
	MaxDeposit    timmy.Msat    // the same, and the most a session may draw on its owner
	PoolShare     int64         // millionths of each charge that go to the free pool
	LeaseFor      time.Duration // 0: 150 s
	IdemFor       time.Duration // 0: 7 days
	RefundsPerDay timmy.Msat    // the most that leaves in 24 hours, fees included; 0: no refunds
}

// Ledger is the durable record. Its methods may be called from any goroutine and
// need the database's writer (db.DB.Run) to run.
type Ledger struct {
	db      *db.DB
	o       Options
	boot    string    // names this process in leases
	born    time.Time // when it began
	seen    atomic.Int64
	queued  chan struct{}
	parcels chan struct{}
	stats   counters

	// noneQueued: when this process looked last, nothing was, and it has queued nothing
	// since. Only who writes sets it.
	noneQueued atomic.Bool

	// leaseClock is what leases are measured by: on PostgreSQL its server's, for the
	// clocks of several towers differ.
	leaseClock func(t *txn) time.Time
}

type counters struct {
	accepted, started, finished, applied, replayed, unknown, refused atomic.Int64
}

// Stats counts what this process did.
type Stats struct {
	Accepted, Started, Finished         int64
	Applied, Replayed, Unknown, Refused int64 // credits
	Seen                                int64 // rows in the replay set
}

// Open migrates the database and makes a ledger of it. Recover and Fund are the
// caller's to call.
func Open(ctx context.Context, d *db.DB, o Options) (*Ledger, error) {
	if err := d.Migrate(ctx, migrations, d.Dialect().Folder("migrations")); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	return View(ctx, d, o)
}

// View makes a ledger of a database without migrating it: for commands that read
// beside a running tower.
func View(ctx context.Context, d *db.DB, o Options) (*Ledger, error) {
	l := &Ledger{db: d, o: o.withDefaults(), queued: make(chan struct{}, 1), parcels: make(chan struct{}, 1)}
	if o.PoolShare < 0 || o.PoolShare > million {
		return nil, fmt.Errorf("opening the ledger: pool share of %d millionths", o.PoolShare)
	}
	boot, err := l.newRef()
	if err != nil {
		return nil, err
	}
	l.boot, l.born, l.leaseClock = boot, l.o.Now(), leaseClock
	var n int64
	if err := l.read(ctx, func(q *db.Tx) error { return q.Get(&n, "SELECT count(*) FROM seen") }); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	l.seen.Store(n)
	d.OnHint(l.hinted)
	return l, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.SessionExpiry <= 0 {
		o.SessionExpiry = defaultSessionExpiry
	}
	if o.LeaseFor <= 0 {
		o.LeaseFor = defaultLease
	}
	if o.IdemFor <= 0 {
		o.IdemFor = defaultIdem
	}
	return o
}

// Queued gets a signal after requests were queued, on PostgreSQL by any tower. It
// is a hint: signals are merged, and one may be lost with its process, so look from
// time to time too.
func (l *Ledger) Queued() <-chan struct{} { return l.queued }

// Parcels gets a signal after parcels were written; a hint as Queued is.
func (l *Ledger) Parcels() <-chan struct{} { return l.parcels }

// Stats reads the counters.
func (l *Ledger) Stats() Stats {
	c := &l.stats
	return Stats{
		Accepted: c.accepted.Load(), Started: c.started.Load(), Finished: c.finished.Load(),
		Applied: c.applied.Load(), Replayed: c.replayed.Load(),
		Unknown: c.unknown.Load(), Refused: c.refused.Load(), Seen: l.seen.Load(),
	}
}

// txn is a write transaction with what it needs and what it will signal.
type txn struct {
	*db.Tx
	l               *Ledger
	now             time.Time
	queued, parcels bool
}

// write runs f as one transaction, which is a step that the tests can interrupt.
func (l *Ledger) write(ctx context.Context, step failpoint.Point, f func(t *txn) error) error {
	t := &txn{l: l}
	err := l.db.Write(ctx, func(tx *db.Tx) error {
		t.Tx, t.now = tx, l.o.Now()
		err := f(t)
		if err == nil {
			err = failpoint.Before(step)
		}
		if t.queued {
			l.noneQueued.Store(false)
			tx.Hint(hintQueued)
		}
		if t.parcels {
			tx.Hint(hintParcels)
		}
		return err
	})
	if err == nil {
		err = failpoint.After(step)
	}
	if err != nil {
		return storage(err)
	}
	if t.queued {
		signal(l.queued)
	}
	if t.parcels {
		signal(l.parcels)
	}
	return nil
}

// What towers on one PostgreSQL database tell each other.
const (
	hintQueued  = "queued"
	hintParcels = "parcels"
)

func (l *Ledger) hinted(hint string) {
	switch hint {
	case hintQueued:
		signal(l.queued)
	case hintParcels:
		signal(l.parcels)
	}
}

// leaseClock is the database's clock, or on SQLite this process's.
func leaseClock(t *txn) time.Time {
	if t.oneProcess() {
		return t.now
	}
	return t.Time()
}

// lease is until when a lease that is taken now holds, as it is stored.
func (t *txn) lease() int64 { return ms(t.l.leaseClock(t).Add(t.l.o.LeaseFor)) }

func (l *Ledger) read(ctx context.Context, f func(q *db.Tx) error) error {
	return storage(l.db.Read(ctx, f))
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// storage gives an error of the database its class; others pass.
func storage(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*timmy.Error](err); ok {
		return err
	}
	if db.Away(err) {
		return &timmy.Error{Code: timmy.Unavailable, Message: "the books cannot be written right now, please try again later", Err: err}
	}
	return fmt.Errorf("ledger: %w", err)
}

// bug is an error that no asker caused and no retry mends.
func bug(format string, args ...any) error {
	return &timmy.Error{Code: timmy.Internal, Message: "internal error", Err: fmt.Errorf(format, args...)}
}

func (l *Ledger) newRef() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(l.o.Rand, b); err != nil {
		return "", fmt.Errorf("making a reference: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// ms is a time as it is stored: unix milliseconds, 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// when is the inverse of ms.
func when(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// hexOf is a key as it is stored: hex, or nothing for nobody.
func hexOf(k timmy.PubKey) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

// keyOf is the inverse of hexOf.
func keyOf(s string) timmy.PubKey {
	k, err := timmy.ParsePubKey(s)
	if err != nil {
		return timmy.PubKey{}
	}
	return k
}
