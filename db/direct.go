package db

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
)

// statements are what a connection has prepared, by their texts.
type statements[S io.Closer] struct {
	byText map[string]S
	order  []string // oldest first
}

func (c *statements[S]) keep(query string, st S) {
	if c.byText == nil {
		c.byText = map[string]S{}
	}
	c.byText[query] = st
	c.order = append(c.order, query)
}

// trim closes the oldest over the limit.
func (c *statements[S]) trim() {
	for len(c.order) > maxStatements {
		st := c.byText[c.order[0]]
		delete(c.byText, c.order[0])
		c.order = c.order[1:]
		_ = st.Close() // one that cannot be closed goes with its connection
	}
}

func (c *statements[S]) close() error {
	var errs []error
	for _, st := range c.byText {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}

// statement is one of a driver, for either use.
type statement interface {
	driver.StmtExecContext
	driver.StmtQueryContext
	io.Closer
}

// direct executes a statement on the connection of SQLite's driver itself, prepared
// once. What database/sql does for each execution (copies of the arguments, their
// conversion by reflection, locks) takes a tenth of a short write.
func (s *session) direct(ctx context.Context, query string, args ...any) (r sql.Result, err error) {
	err = s.conn.Raw(func(c any) error {
		st, err := s.prepareDirect(ctx, c, query)
		if err != nil {
			return err
		}
		values, err := s.values(args)
		if err == nil {
			r, err = st.ExecContext(ctx, values)
		}
		clear(s.args)
		return err
	})
	return r, err
}

// directRow reads one row in the same way. No row: sql.ErrNoRows.
func (s *session) directRow(ctx context.Context, dest []any, query string, args ...any) error {
	return s.conn.Raw(func(c any) (err error) {
		st, err := s.prepareDirect(ctx, c, query)
		if err != nil {
			return err
		}
		values, err := s.values(args)
		if err != nil {
			return err
		}
		rows, err := st.QueryContext(ctx, values)
		clear(s.args)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		if n := len(rows.Columns()); n != len(dest) {
			return fmt.Errorf("%.80q has %d columns, want %d", query, n, len(dest))
		}
		s.cells = slices.Grow(s.cells[:0], len(dest))[:len(dest)]
		defer clear(s.cells)
		if err := rows.Next(s.cells); err != nil {
			if errors.Is(err, io.EOF) {
				err = sql.ErrNoRows
			}
			return err
		}
		for i, v := range s.cells {
			if err := assign(dest[i], v); err != nil {
				return fmt.Errorf("column %d of %.80q: %w", i+1, query, err)
			}
		}
		return nil
	})
}

// assign puts what a driver read where dest points.
func assign(dest any, v driver.Value) error {
	switch v := v.(type) {
	case int64:
		switch d := dest.(type) {
		case *int64:
			*d = v
			return nil
		case *bool:
			*d = v != 0
			return nil
		}
		if d := reflect.ValueOf(dest).Elem(); d.CanInt() && !d.OverflowInt(v) {
			d.SetInt(v)
			return nil
		}
	case string:
		switch d := dest.(type) {
		case *string:
			*d = v
			return nil
		}
		if d := reflect.ValueOf(dest).Elem(); d.Kind() == reflect.String {
			d.SetString(v)
			return nil
		}
	case []byte:
		if d, ok := dest.(*[]byte); ok {
			*d = bytes.Clone(v)
			return nil
		}
	case nil:
		if d, ok := dest.(*[]byte); ok {
			*d = nil
			return nil
		}
	}
	return fmt.Errorf("a %T does not go into a %T", v, dest)
}

func (s *session) prepareDirect(ctx context.Context, c any, query string) (statement, error) {
	if st, ok := s.own.byText[query]; ok {
		return st, nil
	}
	conn, ok := c.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("driver cannot prepare")
	}
	prepared, err := conn.PrepareContext(ctx, s.dialect.text(query))
	if err != nil {
		return nil, fmt.Errorf("preparing %.80q: %w", query, err)
	}
	st, ok := prepared.(statement)
	if !ok {
		return nil, errors.Join(errors.New("driver cannot execute"), prepared.Close())
	}
	s.own.keep(query, st)
	return st, nil
}

// values are arguments as drivers take them, in memory that is used again.
func (s *session) values(args []any) ([]driver.NamedValue, error) {
	s.args = s.args[:0]
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args, nil
}

// value is an argument as drivers take it; the frequent types without reflection.
func value(a any) (driver.Value, error) {
	switch a.(type) {
	case nil, string, int64, []byte, bool:
		return a, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(a)
}
