package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
)

// Errors of this package. Both mean that nothing was written.
var (
	ErrClosed   = errors.New("database is closed")
	ErrReadOnly = errors.New("database is open for reading only")
)

// Options of a database. The zero value is good.
type Options struct {
	Readers int          // reader handles; 0: 4, at most 16
	Log     *slog.Logger // nil: silent

	// Part names a schema of its own in a PostgreSQL database, beside the one the
	// address leads to: "events" is public_events there. It is made if it is missing.
	// Writers of two parts do not wait for each other. On SQLite a part is a file.
	Part string
}

// Dialect is the kind of SQL behind a [Tx].
type Dialect int

// The dialects.
const (
	SQLite Dialect = iota
	Postgres
)

// String is the name as people write it.
func (d Dialect) String() string {
	if d == Postgres {
		return "PostgreSQL"
	}
	return "SQLite"
}

// DB is one database: a queue to its one writer, and a few readers. Its methods
// may be called from any goroutine.
type DB struct {
	path    string
	log     *slog.Logger
	pg      *postgres // nil: SQLite
	dialect Dialect
	write   *sqlx.DB // nil: read-only
	read    *sqlx.DB
	readers chan *session
	all     []*session
	queue   chan *item
	alone   chan *item
	turn    chan *session // the writing connection, while nobody writes
	running atomic.Bool
	ended   chan struct{} // closed when no write will be taken any more
	end     sync.Once
	stats   counters
	failing int // batches since one was committed; the writer's own
	heard   atomic.Pointer[func(hint string)]
}

// Stats is what a database did since it was opened.
type Stats struct {
	Writes   int64 // committed
	Failed   int64 // rolled back alone
	Panics   int64 // of those, because f panicked
	Commits  int64
	Broken   int64 // batches that could not be committed
	Largest  int64 // batch
	Waiting  int   // in the queue now
	Reads    int64
	WALBytes int64 // size of the write-ahead log now
}

type counters struct {
	writes, failed, panics, commits, broken, largest, reads atomic.Int64

	last   atomic.Int64 // how many shared the commit before
	inHand atomic.Int64 // 1: the writer waits for its turn with what it took from the queue
}

func newDB(path string, o Options) *DB {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Readers <= 0 {
		o.Readers = defaultReaders
	}
	n := min(o.Readers, maxReaders)
	return &DB{
		path: path, log: o.Log, dialect: SQLite,
		readers: make(chan *session, n),
		queue:   make(chan *item, maxBatch),
		alone:   make(chan *item, 1),
		turn:    make(chan *session, 1),
		ended:   make(chan struct{}),
	}
}

func (d *DB) openReaders(ctx context.Context, h *sqlx.DB) error {
	d.read = h
	for range cap(d.readers) {
		conn, err := d.read.Connx(ctx)
		if err != nil {
			return err
		}
		s := newSession(conn, d.dialect)
		d.all = append(d.all, s)
		d.readers <- s
	}
	return nil
}

// Path is the file, as it was given, or the address of the server without user
// and password.
func (d *DB) Path() string { return d.path }

// Dialect tells whose SQL is spoken.
func (d *DB) Dialect() Dialect { return d.dialect }

// Read runs f in a read-only snapshot: all its queries see one state, and none
// waits for the writer. f must not keep q. It waits for one of the few reader
// handles; ctx ends the wait, and interrupts a query that runs.
func (d *DB) Read(ctx context.Context, f func(q *Tx) error) (err error) {
	var s *session
	select {
	case s = <-d.readers:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s == nil {
		return ErrClosed
	}
	defer func() { d.readers <- s }()
	d.stats.reads.Add(1)
	s.trim()
	if err := d.beginRead(ctx, s); err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	tx := &Tx{ctx: ctx, s: s}
	defer func() {
		tx.s = nil
		err = errors.Join(err, d.endRead(s, err))
	}()
	return f(tx)
}

func (d *DB) beginRead(ctx context.Context, s *session) error {
	if d.pg == nil {
		return s.control("BEGIN")
	}
	const begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	if !s.lost {
		if err := s.control(begin); err == nil {
			return nil
		}
	}
	if err := s.reopen(ctx, d.read); err != nil {
		return err
	}
	return s.control(begin)
}

// endRead ends the snapshot. A cancelled query takes a connection to PostgreSQL
// with it, which is mended by the next read.
func (d *DB) endRead(s *session, why error) error {
	err := s.control("ROLLBACK")
	switch {
	case err == nil:
		return nil
	case d.pg != nil:
		s.lost = true
		if why != nil {
			return nil
		}
	}
	return fmt.Errorf("ending a read: %w", err)
}

// Stats reads the counters.
func (d *DB) Stats() Stats {
	c := &d.stats
	s := Stats{
		Writes: c.writes.Load(), Failed: c.failed.Load(), Panics: c.panics.Load(),
		Commits: c.commits.Load(), Broken: c.broken.Load(), Largest: c.largest.Load(),
		Waiting: len(d.queue) + int(c.inHand.Load()), Reads: c.reads.Load(),
	}
	s.WALBytes = d.walSize()
	return s
}

// Close ends the database. Run must have ended; reads that are under way are
// waited for, later ones answer [ErrClosed].
func (d *DB) Close() error {
	if d.running.Load() {
		return errors.New("closing a database whose writer still runs")
	}
	closed := false
	d.end.Do(func() { close(d.ended) })
	for range d.all {
		if s := <-d.readers; s == nil {
			closed = true
			break
		}
	}
	if closed {
		return nil
	}
	var errs []error
	for _, s := range d.all {
		errs = append(errs, s.close())
	}
	for _, h := range []*sqlx.DB{d.read, d.write} {
		if h != nil {
			errs = append(errs, io.Closer(h).Close())
		}
	}
	close(d.readers)
	return errors.Join(errs...)
}
