package db

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	sqlite3 "github.com/mattn/go-sqlite3"
)

var errTxOver = errors.New("transaction is over")

// Tx is what a transaction may do. It belongs to the function it was given to
// and to its goroutine. Queries use '?' for arguments, whatever the dialect, and
// are prepared once per connection, so their text should not carry values.
//
// After an error return it: on PostgreSQL nothing more could be done.
type Tx struct {
	ctx   context.Context
	s     *session
	hints []string
	late  []*later
}

// session is a connection with its prepared statements.
type session struct {
	conn    *sqlx.Conn
	dialect Dialect
	stmts   statements[*sqlx.Stmt]
	own     statements[statement] // of SQLite's driver itself
	args    []driver.NamedValue   // of the one that runs
	cells   []driver.Value        // of the row it reads
	began   time.Time             // of the batch, by the server's clock
	lost    bool                  // the connection is gone
	careful int                   // so many batches yet have savepoints
}

func newSession(conn *sqlx.Conn, d Dialect) *session { return &session{conn: conn, dialect: d} }

func (s *session) prepare(ctx context.Context, query string) (*sqlx.Stmt, error) {
	if st, ok := s.stmts.byText[query]; ok {
		return st, nil
	}
	text := s.dialect.text(query)
	st, err := s.conn.PreparexContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("preparing %.80q: %w", query, err)
	}
	s.stmts.keep(query, st)
	return st, nil
}

// text is a query as its database wants it. SQLite may plan a query by the values that
// are bound to it, and then prepares it anew each time that they are cleared, which the
// driver does before each run: a multiple of what it costs to run. What stands behind a
// plus it does not look at.
func (d Dialect) text(query string) string {
	if d == Postgres {
		return sqlx.Rebind(sqlx.DOLLAR, query)
	}
	return strings.NewReplacer("= ?", "= +?", "LIMIT ?", "LIMIT +?", "OFFSET ?", "OFFSET +?").Replace(query)
}

// reopen replaces a connection that was lost, and with it all it had prepared.
func (s *session) reopen(ctx context.Context, h *sqlx.DB) error {
	s.lost = true
	_ = s.close()
	conn, err := h.Connx(ctx)
	if err != nil {
		return away(err)
	}
	*s = *newSession(conn, s.dialect)
	return nil
}

// trim closes the oldest statements over the limit. Only between transactions:
// rows of one may be open within.
func (s *session) trim() {
	s.stmts.trim()
	s.own.trim()
}

// control begins or ends a transaction.
func (s *session) control(query string) (err error) {
	if s.dialect == Postgres {
		_, err = s.conn.ExecContext(context.Background(), query)
	} else {
		_, err = s.direct(context.Background(), query)
	}
	return err
}

// close ends the connection. To PostgreSQL there is nothing left to write then, and
// the server may have ended it before.
func (s *session) close() error {
	if s.dialect == Postgres {
		_ = s.conn.Close()
		return nil
	}
	return errors.Join(s.stmts.close(), s.own.close(), s.conn.Close())
}

func (tx *Tx) prepare(query string, args []any) (*sqlx.Stmt, []any, error) {
	if tx.s == nil {
		return nil, nil, errTxOver
	}
	if err := tx.Flush(); err != nil {
		return nil, nil, err
	}
	args, err := tx.arguments(args)
	if err != nil {
		return nil, nil, err
	}
	st, err := tx.s.prepare(tx.ctx, query)
	return st, args, err
}

// Dialect tells whose SQL is spoken.
func (tx *Tx) Dialect() Dialect { return tx.s.dialect }

// Time is the clock of the PostgreSQL server when a batch of writes got its turn:
// the one clock that all towers share. On SQLite, and in a read, it is zero.
func (tx *Tx) Time() time.Time { return tx.s.began }

// Hint wakes the listeners of all towers (see [DB.OnHint]) when this is committed.
// On SQLite, which has one tower, it does nothing. Hints are names, short and few.
func (tx *Tx) Hint(name string) {
	if tx.s.dialect == Postgres && !slices.Contains(tx.hints, name) {
		tx.hints = append(tx.hints, name)
	}
}

// arguments gives PostgreSQL plain values: its driver would ask a type of ours for
// its text, which is for people.
func (tx *Tx) arguments(args []any) ([]any, error) {
	if tx.s.dialect != Postgres {
		return args, nil
	}
	plain := make([]any, len(args))
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		plain[i] = v
	}
	return plain, nil
}

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	r, err := tx.exec(query, args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (tx *Tx) exec(query string, args []any) (sql.Result, error) {
	if tx.s != nil && tx.s.dialect == SQLite {
		return tx.s.direct(tx.ctx, query, args...)
	}
	st, args, err := tx.prepare(query, args)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(tx.ctx, args...)
}

// Insert writes one row and says the number that the database gave it in the column key,
// which on SQLite is the rowid. No row, for ON CONFLICT kept it away: sql.ErrNoRows.
func (tx *Tx) Insert(key, query string, args ...any) (n int64, err error) {
	if tx.s != nil && tx.s.dialect == Postgres {
		err = tx.Row([]any{&n}, query+" RETURNING "+key, args...)
		return n, err
	}
	// For RETURNING SQLite makes a table at each run, which takes as long as the insert.
	r, err := tx.exec(query, args)
	if err != nil {
		return 0, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, cmp.Or(err, sql.ErrNoRows)
	}
	return r.LastInsertId()
}

// Get reads one row into dest: a struct with db tags, or a pointer to one value.
// No row: sql.ErrNoRows.
func (tx *Tx) Get(dest any, query string, args ...any) error {
	st, args, err := tx.prepare(query, args)
	if err != nil {
		return err
	}
	return st.GetContext(tx.ctx, dest, args...)
}

// Row reads one row into what dest points to, one for each column: [Tx.Get] without
// looking for their names, for what is read with every request. Columns are numbers, texts
// and bytes; only bytes may be NULL. No row: sql.ErrNoRows.
func (tx *Tx) Row(dest []any, query string, args ...any) error {
	if tx.s != nil && tx.s.dialect == SQLite {
		return tx.s.directRow(tx.ctx, dest, query, args...)
	}
	st, args, err := tx.prepare(query, args)
	if err != nil {
		return err
	}
	return st.QueryRowContext(tx.ctx, args...).Scan(dest...)
}

// Select reads all rows into dest, a pointer to a slice. Give every query a
// LIMIT.
func (tx *Tx) Select(dest any, query string, args ...any) error {
	st, args, err := tx.prepare(query, args)
	if err != nil {
		return err
	}
	return st.SelectContext(tx.ctx, dest, args...)
}

// Each calls f for each row, without keeping them. f scans the row and must not
// run the same query again. An error of f ends it and is returned.
func (tx *Tx) Each(f func(rows *sqlx.Rows) error, query string, args ...any) (err error) {
	st, args, err := tx.prepare(query, args)
	if err != nil {
		return err
	}
	rows, err := st.QueryxContext(tx.ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Away reports whether an error means that the database cannot be written just
// now (closed, full, locked, unreadable), so that trying later may help.
func Away(err error) bool {
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrReadOnly) {
		return true
	}
	if awayPostgres(err) {
		return true
	}
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case sqlite3.ErrFull, sqlite3.ErrIoErr, sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrReadonly, sqlite3.ErrCantOpen:
		return true
	}
	return false
}
