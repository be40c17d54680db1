package db

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// later is a statement whose turn is before the next that is asked for, or at the end.
type later struct {
	query string
	args  []any
	check func(n int64) error
	n     int64
}

// Later runs a statement of which only the number of changed rows is of interest, and
// gives that to check, whose error is returned as the statement's would be; nil asks
// nothing. On PostgreSQL statements that follow each other are sent together, before
// the next call of another kind or at the end of the write, which then returns what
// went wrong: one way to the server instead of one for each. On SQLite it is done when
// Later returns.
func (tx *Tx) Later(check func(n int64) error, query string, args ...any) error {
	if check == nil {
		check = func(int64) error { return nil }
	}
	if tx.s == nil || tx.s.dialect != Postgres {
		n, err := tx.Exec(query, args...)
		if err != nil {
			return err
		}
		return check(n)
	}
	args, err := tx.arguments(args)
	if err != nil {
		return err
	}
	tx.late = append(tx.late, &later{query: query, args: args, check: check})
	return nil
}

// Flush sends what waits and asks the checks, in order, which may call tx: for who needs
// what they have found out. Any call but Later does it first.
func (tx *Tx) Flush() error {
	for len(tx.late) > 0 {
		list := tx.late
		tx.late = nil
		if err := tx.s.conn.Raw(func(c any) error { return send(tx, c, list) }); err != nil {
			return err
		}
		for _, l := range list {
			if err := l.check(l.n); err != nil {
				return err
			}
		}
	}
	return nil
}

func send(tx *Tx, c any, list []*later) error {
	conn, ok := c.(*stdlib.Conn)
	if !ok {
		return errors.New("not a connection to PostgreSQL")
	}
	var b pgx.Batch
	for _, l := range list {
		b.Queue(tx.s.dialect.text(l.query), l.args...)
	}
	answers := conn.Conn().SendBatch(tx.ctx, &b)
	for _, l := range list {
		tag, err := answers.Exec()
		if err != nil {
			return errors.Join(err, answers.Close())
		}
		l.n = tag.RowsAffected()
	}
	return answers.Close()
}
