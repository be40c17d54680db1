package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/timmy-tower/timmy/db"
)

// bareConns is how many connections the bare PostgreSQL has for one transaction each.
const bareConns = 64

// bareBatch is how many callers the bare group commit takes at once.
const bareBatch = 512

// barePlaces is beyond the places of what the ledger wrote when it was funded.
const barePlaces = 1 << 20

// bareConn is a connection with what it has prepared.
type bareConn struct {
	conn  *sql.Conn
	bind  int
	stmts map[string]*sql.Stmt
}

func (c *bareConn) exec(query string, args ...any) error {
	st, ok := c.stmts[query]
	if !ok {
		var err error
		if st, err = c.conn.PrepareContext(context.Background(), sqlx.Rebind(c.bind, query)); err != nil {
			return err
		}
		c.stmts[query] = st
	}
	res, err := st.Exec(args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%.60q changed nothing: %w", query, err)
	}
	return nil
}

func (c *bareConn) plain(query string) error {
	_, err := c.conn.ExecContext(context.Background(), query)
	return err
}

// bare is the database alone, without a ledger: the reference. The statements of a
// step are executed one by one on prepared statements, and nothing is read.
type bare struct {
	db     *sql.DB
	begin  string
	files  bool           // it has no index for what is whose, as the ledger on SQLite
	sealed atomic.Int64   // places in the chain
	conns  chan *bareConn // for one transaction each
	queue  chan bareItem  // for group commit
	ended  sync.WaitGroup
}

type bareItem struct {
	step func(c *bareConn) error
	done chan error
}

// openBare opens books that were made before. With group, all steps that wait share
// a commit; else each step is a transaction.
func (s *store) openBare(place string, group bool) (*bare, error) {
	driver, dsn, bind, n := "pgx", place, sqlx.DOLLAR, bareConns
	b := &bare{begin: "BEGIN", queue: make(chan bareItem, bareBatch)}
	b.sealed.Store(barePlaces)
	if s.dialect == db.SQLite {
		b.files = true
		driver, bind, n, b.begin = "sqlite3", sqlx.QUESTION, 1, "BEGIN IMMEDIATE"
		dsn = "file:" + (&url.URL{Path: place}).EscapedPath() + "?_synchronous=FULL&_journal_mode=WAL&_foreign_keys=on"
	}
	if group {
		n = 1
	}
	h, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	h.SetMaxOpenConns(n)
	b.db, b.conns = h, make(chan *bareConn, n)
	for range n {
		conn, err := h.Conn(context.Background())
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		if s.dialect == db.SQLite {
			if _, err := conn.ExecContext(context.Background(), "PRAGMA wal_autocheckpoint=4000"); err != nil { // the ledger's
				return nil, errors.Join(err, h.Close())
			}
		}
		b.conns <- &bareConn{conn: conn, bind: bind, stmts: map[string]*sql.Stmt{}}
	}
	if group {
		b.ended.Go(func() { b.commitTogether(<-b.conns) })
	}
	return b, nil
}

func (b *bare) close() error {
	close(b.queue)
	b.ended.Wait()
	return b.db.Close()
}

// alone is a step in a transaction of its own.
func (b *bare) alone(step func(c *bareConn) error) error {
	c := <-b.conns
	defer func() { b.conns <- c }()
	return b.transaction(c, []bareItem{{step: step}})
}

// together is a step in the next group commit.
func (b *bare) together(step func(c *bareConn) error) error {
	it := bareItem{step: step, done: make(chan error, 1)}
	b.queue <- it
	return <-it.done
}

func (b *bare) commitTogether(c *bareConn) {
	for first := range b.queue {
		items := append(make([]bareItem, 0, 64), first)
		for more := true; more && len(items) < bareBatch; {
			select {
			case it, ok := <-b.queue:
				if more = ok; ok {
					items = append(items, it)
				}
			default:
				more = false
			}
		}
		err := b.transaction(c, items)
		for _, it := range items {
			it.done <- err
		}
	}
}

// transaction has no savepoints: an error ends the bench.
func (b *bare) transaction(c *bareConn, items []bareItem) error {
	if err := c.plain(b.begin); err != nil {
		return err
	}
	for _, it := range items {
		if err := it.step(c); err != nil {
			return errors.Join(err, c.plain("ROLLBACK"))
		}
	}
	return c.plain("COMMIT")
}
