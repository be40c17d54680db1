package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

// schema is the least that books and events need.
const schema = `
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, posted BIGINT NOT NULL, held BIGINT NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, payer TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL, result TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS postings (key TEXT PRIMARY KEY, source TEXT NOT NULL, destination TEXT NOT NULL, amount BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS event (rid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pubkey TEXT NOT NULL, kind INTEGER NOT NULL, created_at INTEGER NOT NULL, raw BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS event_kind ON event (kind, created_at DESC);
CREATE INDEX IF NOT EXISTS event_author ON event (pubkey, kind, created_at DESC);
CREATE TABLE IF NOT EXISTS tag (name TEXT NOT NULL, value TEXT NOT NULL, kind INTEGER NOT NULL, created_at INTEGER NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY (name, value, kind, created_at, rid)) WITHOUT ROWID;`

// statement is one with its arguments.
type statement struct {
	query string
	args  []any
}

func reserving(l letter) []statement {
	payer := l.from.String()
	return []statement{
		{`INSERT INTO requests (id, payer, text, state) VALUES (?, ?, ?, 'queued')`, []any{l.id, payer, l.text}},
		{`UPDATE accounts SET held = held + ? WHERE name = ? AND posted - held >= ?`, []any{int64(held), payer, int64(held)}},
		{`UPDATE requests SET state = 'running' WHERE id = ?`, []any{l.id}},
		{`INSERT INTO postings (key, source, destination, amount) VALUES (?, ?, 'held', ?)`, []any{"hold:" + l.id, payer, int64(held)}},
	}
}

func capturing(l letter) []statement {
	payer := l.from.String()
	return []statement{
		{`UPDATE accounts SET held = held - ?, posted = posted - ? WHERE name = ?`, []any{int64(held), int64(cost), payer}},
		{`UPDATE accounts SET posted = posted + ? WHERE name = 'revenue'`, []any{int64(cost)}},
		{`INSERT INTO postings (key, source, destination, amount) VALUES (?, ?, 'revenue', ?)`, []any{"finish:" + l.id, payer, int64(cost)}},
		{`UPDATE requests SET state = 'complete', result = ? WHERE id = ?`, []any{reply(), l.id}},
	}
}

func execute(tx *db.Tx, list []statement) error {
	for _, s := range list {
		if n, err := tx.Exec(s.query, s.args...); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("%.40q changed %d rows", s.query, n), err)
		}
	}
	return nil
}

// insert stores an event with its tags.
func insert(tx *db.Tx, ev *nostr.Event) error {
	raw, err := ev.MarshalJSON()
	if err != nil {
		return err
	}
	rid, err := tx.Insert("rid", `INSERT INTO event (id, pubkey, kind, created_at, raw) VALUES (?, ?, ?, ?, ?)`, ev.ID, ev.PubKey, ev.Kind, int64(ev.CreatedAt), raw)
	if err != nil {
		return err
	}
	for _, t := range ev.Tags {
		_, err := tx.Exec(`INSERT INTO tag (name, value, kind, created_at, rid) VALUES (?, ?, ?, ?, ?)`, t[0], t[1], ev.Kind, int64(ev.CreatedAt), rid)
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the tables, and gives each asker an account.
func prepare(d *db.DB, askers []nip.Key) error {
	return d.Write(context.Background(), func(tx *db.Tx) error {
		for table := range strings.SplitSeq(strings.TrimSpace(schema), ";\n") {
			if _, err := tx.Exec(table); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`INSERT INTO accounts (name, posted) VALUES ('revenue', 0)`); err != nil {
			return err
		}
		for _, k := range askers {
			if _, err := tx.Exec(`INSERT INTO accounts (name, posted) VALUES (?, ?)`, k.Public().String(), int64(deposit)); err != nil {
				return err
			}
		}
		return nil
	})
}

// openBare has the books and the events in group commits: of one file, where a step and
// its events share one, or of two, one after the other.
func openBare(p *parts, books, events string, askers []nip.Key) error {
	ctx := context.Background()
	b, endBooks, err := openDB(books)
	if err != nil {
		return err
	}
	p.close = endBooks
	if err := prepare(b, askers); err != nil {
		return err
	}
	write := func(list []statement, stored ...*nostr.Event) error {
		return b.Write(ctx, func(tx *db.Tx) error {
			if err := execute(tx, list); err != nil {
				return err
			}
			for _, ev := range stored {
				if err := insert(tx, ev); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if events != "" {
		e, endEvents, err := openDB(events)
		if err != nil {
			return err
		}
		p.close = func() error { return errors.Join(endBooks(), endEvents()) }
		if err := prepare(e, nil); err != nil {
			return err
		}
		one := write
		write = func(list []statement, stored ...*nostr.Event) error {
			err := one(list)
			return errors.Join(err, together(stored, func(ev *nostr.Event) error {
				return e.Write(ctx, func(tx *db.Tx) error { return insert(tx, ev) })
			}))
		}
	}
	p.reserve = func(l letter, wrap *nostr.Event) (any, error) { return nil, write(reserving(l), wrap) }
	p.capture = func(l letter, _ any, answer []*nostr.Event) error { return write(capturing(l), answer...) }
	return nil
}

// openSingle has a transaction for each step, and a store that syncs for each event.
func openSingle(p *parts, books string, store eventstore.Store, askers []nip.Key) error {
	ctx := context.Background()
	b, end, err := openDB(books)
	if err != nil {
		return err
	}
	p.close = func() error { store.Close(); return end() }
	if err := errors.Join(prepare(b, askers), store.Init()); err != nil {
		return err
	}
	var turn sync.Mutex // one writer, and nobody who waits shares its commit
	write := func(list []statement, stored ...*nostr.Event) error {
		turn.Lock()
		err := b.Write(ctx, func(tx *db.Tx) error { return execute(tx, list) })
		turn.Unlock()
		for _, ev := range stored {
			err = errors.Join(err, store.SaveEvent(ctx, ev))
		}
		return err
	}
	p.reserve = func(l letter, wrap *nostr.Event) (any, error) { return nil, write(reserving(l), wrap) }
	p.capture = func(l letter, _ any, answer []*nostr.Event) error { return write(capturing(l), answer...) }
	return nil
}
