package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/timmy-tower/timmy/bench/load"
	"github.com/timmy-tower/timmy/nip"
)

const (
	readers       = 16
	keysOfReader  = 6
	queriesOfEach = 3_000
)

// querying measures REQ to EOSE, CLOSE after each, by 16 connections over what is
// stored. Of gift wraps each reader asks for those to keys of its own.
func (b *bench) querying(s *subject) error {
	sockets := make([]*load.Socket, readers)
	mine := make([][]nip.Key, readers)
	for i := range sockets {
		for n := range keysOfReader {
			mine[i] = append(mine[i], b.receivers[(i*keysOfReader+n)%len(b.receivers)])
		}
		c, err := s.connect(mine[i]...)
		if err != nil {
			return err
		}
		defer c.Close()
		sockets[i] = c
	}
	filters := []struct {
		name   string
		filter func(c, n int) string
	}{
		{"id", func(c, n int) string { return fmt.Sprintf(`{"ids":["%s"]}`, b.noteIDs[(c*7919+n*31)%len(b.noteIDs)]) }},
		{"1059 #p limit 50", func(c, n int) string {
			return fmt.Sprintf(`{"kinds":[1059],"#p":["%s"],"limit":50}`, mine[c][n%keysOfReader].Public())
		}},
		{"author and kind, limit 20", func(c, n int) string {
			return fmt.Sprintf(`{"authors":["%s"],"kinds":[1],"limit":20}`, b.authors[(c*13+n)%len(b.authors)])
		}},
		{"kind 1, limit 100", func(int, int) string { return `{"kinds":[1],"limit":100}` }},
	}
	for _, f := range filters {
		if err := b.queryWith(s, sockets, f.name, f.filter); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) queryWith(s *subject, sockets []*load.Socket, name string, filter func(c, n int) string) error {
	var mu sync.Mutex
	var failed error
	events := 0
	before := s.processorTime()
	r := load.Measure("", len(sockets), queriesOfEach, b.cell/2, func(c, n int) error {
		// The references handle frames of one client at the same time: with one id
		// for all, a CLOSE would at times end the question after it.
		id := strconv.Itoa(n)
		got, err := ask(sockets[c], []byte(`["REQ","`+id+`",`+filter(c, n)+`]`))
		mu.Lock()
		defer mu.Unlock()
		events += got
		if err != nil {
			failed = err
			return err
		}
		return sockets[c].Write([]byte(`["CLOSE","` + id + `"]`))
	})
	if failed != nil || len(r.Took) == 0 {
		return fmt.Errorf("%s: %s: %w", s.name, name, failed)
	}
	what := fmt.Sprintf("REQ %s, %d stored", name, b.stored)
	b.add(what, "queries/s", s.name, r.Rate())
	b.add(what, "p50 ms", s.name, load.Milliseconds(r.At(.5)))
	b.add(what, "p99 ms", s.name, load.Milliseconds(r.At(.99)))
	b.add(what, "CPU µs", s.name, float64((s.processorTime()-before).Microseconds())/float64(len(r.Took)))
	b.add(what, "events each", s.name, float64(events)/float64(len(r.Took)))
	return nil
}
