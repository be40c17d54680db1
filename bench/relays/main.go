package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/bench/load"
	"github.com/timmy-tower/timmy/nip"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "timmy", "./bin/timmy", "the tower to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each relay has its turn")
	flag.IntVar(&o.stored, "stored", 100_000, "events in the store that is queried; a million takes long to load")
	flag.DurationVar(&o.cell, "cell", 4*time.Second, "how long one measurement takes at most")
	flag.Uint64Var(&o.seed, "seed", 1, "of keys and events")
	flag.StringVar(&o.folder, "folder", "", "where data is put; empty: the system's folder for temporary files")
	flag.StringVar(&o.memory, "memory", "/dev/shm", "where the stores that are queried are put: filling them would take long on a disk")
	parts := flag.String("parts", strings.Join(partNames(), ","), "what is measured")
	relays := flag.String("relays", "timmy,khatru+lmdb,khatru+badger,khatru+sqlite3", "what is measured beside each other")
	as := flag.String("serve", "", "be the process of this reference instead")
	addr := flag.String("addr", "", "of -serve")
	dir := flag.String("dir", "", "of -serve")
	events := flag.String("events", "", "of -serve: file of events to store first")
	flag.Parse()
	o.parts, o.relays = strings.Split(*parts, ","), strings.Split(*relays, ",")
	var err error
	if *as != "" {
		err = serve(*as, *dir, *addr, *events)
	} else {
		err = run(os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relays:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, folder, memory string
	rounds, stored         int
	cell                   time.Duration
	seed                   uint64
	parts, relays          []string
}

// bench is one run.
type bench struct {
	options
	table
	rnd           load.Source
	wraps, notes  [][]byte // EVENT messages
	noteIDs       []string
	authors       []string
	receivers     []nip.Key
	file, scratch string
}

// part is something that is measured on a running relay.
type part struct {
	name   string
	stored bool // on a store that is filled first
	run    func(b *bench, s *subject) error
}

func parts() []part {
	return []part{
		{"publish", false, (*bench).publishing},
		{"deliver", false, (*bench).delivering},
		{"idle", false, (*bench).resting},
		{"stall", false, (*bench).stalling},
		{"memory", false, (*bench).holding},
		{"query", true, (*bench).querying},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func run(w io.Writer, o options) (err error) {
	b := &bench{options: o, rnd: load.NewSource(o.seed)}
	if b.scratch, err = os.MkdirTemp(o.folder, "relays-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
	load.Header(w, o.seed, fmt.Sprintf("%d rounds in turns, medians", o.rounds))
	if err := b.prepare(); err != nil {
		return err
	}
	for round := range o.rounds {
		for i := range o.relays {
			name := o.relays[(i+round)%len(o.relays)]
			if err := b.turn(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	b.print(w, o.relays)
	return nil
}

// turn is one relay's turn: each part on a fresh process and folder.
func (b *bench) turn(name string) error {
	for _, p := range parts() {
		if !slices.Contains(b.parts, p.name) {
			continue
		}
		folder, file := b.scratch, ""
		if p.stored {
			folder, file = b.memory, b.file
		}
		s, err := start(name, b.binary, folder, file)
		if err != nil {
			return err
		}
		err = p.run(b, s)
		s.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// prepare signs all events before anything is measured.
func (b *bench) prepare() (err error) {
	if b.receivers, err = load.Keys(100, b.rnd); err != nil {
		return err
	}
	total := 0
	for _, l := range levels {
		total += l.events
	}
	wraps, err := load.Wraps(total, b.receivers, b.rnd)
	if err != nil {
		return err
	}
	if b.wraps, err = load.EventFrames(wraps); err != nil {
		return err
	}
	notes, err := load.Notes(16_000, b.rnd)
	if err != nil {
		return err
	}
	if b.notes, err = load.EventFrames(notes); err != nil {
		return err
	}
	if !slices.Contains(b.parts, "query") {
		return nil
	}
	return b.store()
}

// store writes the file that stores are filled from: half of it gift wraps, half of
// it notes.
func (b *bench) store() (err error) {
	wraps, err := load.Wraps(b.stored/2, b.receivers, b.rnd)
	if err != nil {
		return err
	}
	notes, err := load.Notes(b.stored-b.stored/2, b.rnd)
	if err != nil {
		return err
	}
	b.file = filepath.Join(b.scratch, "events.jsonl")
	out, err := os.Create(b.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, list := range [][]*nostr.Event{wraps, notes} {
		for _, ev := range list {
			if _, err := fmt.Fprintln(out, ev.String()); err != nil {
				return err
			}
		}
	}
	for i, ev := range notes {
		if b.noteIDs = append(b.noteIDs, ev.ID); i < 100 {
			b.authors = append(b.authors, ev.PubKey)
		}
	}
	return nil
}
