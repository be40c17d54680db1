package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/timmy-tower/timmy/failpoint"
)

// item is one write that waits. state makes "taken" and "given up" exclude each
// other, so that a caller who was told of its cancellation can be sure that f
// never runs.
type item struct {
	f     func(tx *Tx) error
	alone func(s *session) error // instead of f: runs outside of any transaction
	state atomic.Int32
	done  chan error
	err   error
	hints []string

	panicked bool // which err says too
}

const (
	waiting int32 = iota
	taken
	givenUp
)

// Write runs f in the next group commit and returns after it: nil means that
// what f did is durable. If f fails or panics, what it did is undone and the
// error returned, and the others of the batch are not affected. If the commit
// fails, all of the batch get the error. ctx counts only until f is taken; then it
// runs to its end.
//
// f must be quick, must not call Write or Read, must not keep tx, and must have
// no effect but on tx: it may be run again when another of the batch has failed. Before Run is called Write waits.
func (d *DB) Write(ctx context.Context, f func(tx *Tx) error) error {
	return d.submit(ctx, &item{f: f, done: make(chan error, 1)})
}

func (d *DB) submit(ctx context.Context, it *item) error {
	if d.write == nil {
		return ErrReadOnly
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if it.alone == nil && d.stats.last.Load() <= 1 && len(d.queue) == 0 {
		select {
		case s := <-d.turn: // nobody writes, nor did several: that spares two changes of goroutine
			d.take(s, it)
			return <-it.done
		default:
		}
	}
	queue := d.queue
	if it.alone != nil {
		queue = d.alone
	}
	select {
	case queue <- it:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.ended:
		return ErrClosed
	}
	var why error
	select {
	case err := <-it.done:
		return err
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-d.ended:
		why = ErrClosed
	}
	if it.state.CompareAndSwap(waiting, givenUp) {
		return why
	}
	return <-it.done
}

// take commits a write with those that wait, and passes the turn on.
func (d *DB) take(s *session, it *item) {
	defer func() { d.turn <- s }()
	d.batch(s, d.gather(it))
	d.mindWAL(s)
}

// Run is the writer, but for a write that finds it idle, which its caller does. It ends
// with ctx, after the batch that was taken; what waits then, and every later Write, gets
// [ErrClosed]. Call it once.
func (d *DB) Run(ctx context.Context) error {
	if d.write == nil {
		return ErrReadOnly
	}
	if !d.running.CompareAndSwap(false, true) {
		return errors.New("the database has a writer already")
	}
	defer d.running.Store(false)
	defer d.end.Do(func() { close(d.ended) })
	conn, err := d.write.Connx(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("opening the writer: %w", err)
	}
	d.turn <- newSession(conn, d.dialect)
	var listener sync.WaitGroup
	defer listener.Wait()
	if d.pg != nil {
		listener.Go(func() { d.listen(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return (<-d.turn).close()
		case it := <-d.queue:
			d.stats.inHand.Store(1)
			s := <-d.turn
			d.stats.inHand.Store(0)
			d.take(s, it)
		case it := <-d.alone:
			s := <-d.turn
			if it.state.CompareAndSwap(waiting, taken) {
				it.done <- it.alone(s)
			}
			d.turn <- s
		}
	}
}

// gather takes what waits with the first, up to a full batch. Where writes come together,
// it lets the others run once before it closes the batch: a larger one is worth more than
// an earlier one.
func (d *DB) gather(first *item) []*item {
	items, most := make([]*item, 0, 64), maxBatch
	if d.pg != nil {
		most = maxBatchPostgres
	}
	yielded := false
	for it := first; ; {
		if it.state.CompareAndSwap(waiting, taken) {
			items = append(items, it)
		}
		if len(items) == most {
			return items
		}
		select {
		case it = <-d.queue:
			continue
		default:
		}
		if yielded || d.stats.last.Load() <= 1 {
			return items
		}
		yielded = true
		runtime.Gosched() // those whom the last commit has woken may have a next write
		select {
		case it = <-d.queue:
		default:
			return items
		}
	}
}

// batch commits items together and then answers them.
func (d *DB) batch(s *session, items []*item) {
	if len(items) == 0 {
		return
	}
	s.trim()
	err := d.commit(s, items, s.careful > 0 && len(items) > 1)
	s.careful = max(0, s.careful-1)
	if err != nil {
		err = d.undo(s, err)
	}
	if errors.Is(err, errNotAll) {
		s.careful = carefulFor
		if err = d.commit(s, items, true); err != nil {
			err = d.undo(s, err)
		}
	}
	if err != nil && again(err) {
		d.oneByOne(s, items)
		return
	}
	d.answer(items, err)
}

// undo ends a transaction that was not committed, so that the next can begin.
func (d *DB) undo(s *session, why error) error {
	// A transaction that SQLite ended by itself (disk full) has nothing to roll back.
	err := s.control("ROLLBACK")
	if d.pg == nil || err == nil {
		return why
	}
	why = away(why)
	if err := s.reopen(context.Background(), d.write); err != nil {
		return fmt.Errorf("%w; connecting again: %w", why, err)
	}
	return why
}

// answer tells the callers of a transaction what became of it. It is counted
// first, so that who was answered finds it in Stats.
func (d *DB) answer(items []*item, err error) {
	d.stats.commits.Add(1)
	d.stats.last.Store(int64(len(items)))
	if n := int64(len(items)); n > d.stats.largest.Load() {
		d.stats.largest.Store(n)
	}
	d.note(len(items), err)
	for _, it := range items {
		if it.panicked {
			d.stats.panics.Add(1)
		}
		switch {
		case it.err != nil:
			d.stats.failed.Add(1)
			it.done <- it.err
		case err != nil:
			it.done <- err
		default:
			d.stats.writes.Add(1)
			it.done <- nil
		}
	}
}

// note says when writes begin to fail and when they no longer do, once each: a full disk
// must not be filled by what is said of it.
func (d *DB) note(items int, err error) {
	switch {
	case err != nil && d.failing == 0:
		d.log.Error("writes are not committed", "items", items, "err", err)
	case err == nil && d.failing > 0:
		d.log.Warn("writes are committed again", "failed", d.failing)
	}
	if err == nil {
		d.failing = 0
		return
	}
	d.failing++
	d.stats.broken.Add(1)
}

// errNotAll: an item failed that ran without a savepoint, so nothing is kept.
var errNotAll = errors.New("an item of a batch failed")

// errHidden is a failure that a write has seen and not returned.
var errHidden = errors.New("a write hid that a statement had failed")

// commit runs items in one transaction, with a savepoint for each or without. Without,
// one failure among several is errNotAll, after which all can be run again; what
// fails alone is simply undone. Failures are rare, and a savepoint costs: SQLite keeps
// a copy of every page that is written after it, and to PostgreSQL it is two more
// round trips.
func (d *DB) commit(s *session, items []*item, savepoints bool) error {
	ctx := context.Background()
	if err := d.begin(ctx, s); err != nil {
		return &unsent{fmt.Errorf("beginning a write: %w", err)}
	}
	for _, it := range items {
		run := d.plain
		if savepoints {
			run = d.one
		}
		if err := run(ctx, s, it); err != nil {
			return &unsent{err}
		}
		if it.err == nil || savepoints {
			continue
		}
		if len(items) > 1 {
			return errNotAll
		}
		if err := s.control("ROLLBACK"); err != nil {
			return &unsent{fmt.Errorf("after %w: rolling back: %w", it.err, err)}
		}
		return nil
	}
	if err := d.hint(ctx, s, items); err != nil {
		return &unsent{err}
	}
	if err := failpoint.Before(failpoint.DBCommit); err != nil {
		return &unsent{err}
	}
	if err := s.control("COMMIT"); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return failpoint.After(failpoint.DBCommit)
}

func (d *DB) begin(ctx context.Context, s *session) error {
	if d.pg != nil {
		return d.beginPostgres(ctx, s)
	}
	return s.control("BEGIN IMMEDIATE")
}

// plain runs an item that may take the transaction with it; its failure is kept in it,
// unless PostgreSQL gave it up for another's sake.
func (d *DB) plain(ctx context.Context, s *session, it *item) error {
	tx := &Tx{ctx: ctx, s: s}
	it.err = d.guarded(it, tx)
	it.hints, tx.s = tx.hints, nil
	if it.err == nil && d.pg != nil && aborted(s) {
		it.err = errHidden
	}
	if d.pg != nil && it.err != nil && given(it.err) {
		return it.err
	}
	return nil
}

// one runs an item within its savepoint. Its error means that the transaction is
// lost; the item's own failure is kept in it.
func (d *DB) one(ctx context.Context, s *session, it *item) error {
	tx := &Tx{ctx: ctx, s: s}
	if _, err := tx.Exec("SAVEPOINT item"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	it.err = d.guarded(it, tx)
	it.hints = nil
	if d.pg != nil && it.err != nil && given(it.err) {
		return it.err
	}
	if it.err == nil {
		it.hints = tx.hints
	} else {
		if _, err := tx.Exec("ROLLBACK TO SAVEPOINT item"); err != nil {
			return fmt.Errorf("after %w: rolling back: %w", it.err, err)
		}
	}
	_, err := tx.Exec("RELEASE SAVEPOINT item")
	tx.s = nil
	return err
}

func (d *DB) guarded(it *item, tx *Tx) (err error) {
	defer func() {
		it.panicked = false
		if p := recover(); p != nil {
			it.panicked = true
			d.log.Error("a write panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a write panicked: %v", p)
		}
		if err != nil {
			tx.late = nil // what waited is not to be done
		}
	}()
	if err := it.f(tx); err != nil {
		return err
	}
	return tx.Flush()
}

// Backup writes a consistent copy of the database to a new file, while it is
// being used. Of PostgreSQL it makes none: that is pg_dump's.
func (d *DB) Backup(ctx context.Context, path string) (err error) {
	if d.pg != nil {
		return errors.New("backup: copy a PostgreSQL database with pg_dump")
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("backup: %s exists already", path)
	}
	h := openHandle(&connector{path: d.path, readOnly: d.write == nil}, 1)
	defer func() { err = errors.Join(err, h.Close()) }()
	if _, err := h.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return os.Chmod(path, 0o600)
}
