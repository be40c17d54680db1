package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/fiatjaf/eventstore"
	"github.com/fiatjaf/eventstore/badger"
	"github.com/fiatjaf/eventstore/lmdb"
	"github.com/fiatjaf/eventstore/sqlite3"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"
)

// mapSize is what the lmdb store may grow to; its default is a sparse file of 256 GiB.
const mapSize = 16 << 30

// reference opens one of khatru's stores as its examples do.
func reference(name, dir string) (eventstore.Store, error) {
	var s eventstore.Store
	switch name {
	case "khatru+lmdb":
		s = &lmdb.LMDBBackend{Path: filepath.Join(dir, "lmdb"), MapSize: mapSize}
	case "khatru+badger":
		s = &badger.BadgerBackend{Path: filepath.Join(dir, "badger"), BadgerOptionsModifier: func(o badgerdb.Options) badgerdb.Options {
			return o.WithLogger(nil)
		}}
	case "khatru+sqlite3":
		s = &sqlite3.SQLite3Backend{DatabaseURL: filepath.Join(dir, "events.sqlite")}
	default:
		return nil, fmt.Errorf("no reference is called %q", name)
	}
	return s, s.Init()
}

// serve is the process of a reference: khatru with its own websocket loop.
func serve(name, dir, addr, events string) error {
	log.SetOutput(io.Discard) // migrations of an empty store
	s, err := reference(name, dir)
	if err != nil {
		return err
	}
	if events != "" {
		if err := fill(s, events); err != nil {
			return err
		}
	}
	k := khatru.NewRelay()
	k.Log = log.New(io.Discard, "", 0)
	k.StoreEvent = append(k.StoreEvent, s.SaveEvent)
	k.QueryEvents = append(k.QueryEvents, s.QueryEvents)
	k.DeleteEvent = append(k.DeleteEvent, s.DeleteEvent)
	k.ReplaceEvent = append(k.ReplaceEvent, s.ReplaceEvent)
	return http.ListenAndServe(addr, k)
}

// fill stores the events of a file before anything is measured, without waiting for
// the disk where the store allows that.
func fill(s eventstore.Store, file string) error {
	if q, ok := s.(*sqlite3.SQLite3Backend); ok {
		q.SetMaxOpenConns(1)
		if _, err := q.Exec("PRAGMA synchronous = OFF"); err != nil {
			return err
		}
		defer q.SetMaxOpenConns(0)
	}
	return eachEvent(file, func(ev *nostr.Event) error { return s.SaveEvent(context.Background(), ev) })
}

// eachEvent reads a file with an event on each line.
func eachEvent(file string, f func(ev *nostr.Event) error) (err error) {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		ev := &nostr.Event{}
		if err := ev.UnmarshalJSON(lines.Bytes()); err != nil {
			return err
		}
		if err := f(ev); err != nil {
			return err
		}
	}
	return lines.Err()
}
