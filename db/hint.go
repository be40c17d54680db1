package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is where the towers on one schema hear of each other.
const channel = "'timmy_' || current_schema()"

// OnHint has f called with the name of each hint ([Tx.Hint]) that any tower on this
// PostgreSQL database committed, this one too, while Run runs. A hint is lost when
// the connection is, so look from time to time too. f must not block; a second call
// replaces it.
func (d *DB) OnHint(f func(hint string)) { d.heard.Store(&f) }

// hint tells what the items of a batch have to tell, once a batch.
func (d *DB) hint(ctx context.Context, s *session, items []*item) error {
	var names []string
	for _, it := range items {
		for _, h := range it.hints {
			if !slices.Contains(names, h) {
				names = append(names, h)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	tx := &Tx{ctx: ctx, s: s}
	if _, err := tx.Exec("SELECT pg_notify("+channel+", ?)", strings.Join(names, " ")); err != nil {
		return fmt.Errorf("hinting: %w", err)
	}
	return nil
}

// listen hears hints until ctx ends, over a connection of its own.
func (d *DB) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		d.log.Warn("hints of other towers are not heard for a moment", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (d *DB) listenOnce(ctx context.Context) (err error) {
	c, err := pgx.ConnectConfig(ctx, d.pg.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	var name string
	if err := c.QueryRow(ctx, "SELECT "+channel).Scan(&name); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
		return err
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if f := d.heard.Load(); f != nil {
			for _, h := range strings.Fields(n.Payload) {
				(*f)(h)
			}
		}
	}
}
