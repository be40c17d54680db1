package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/timmy-tower/timmy/bench/load"
)

// levels is how many connections publish at once, and how many events at most.
var levels = []struct{ conns, events int }{{1, 3_000}, {16, 12_000}, {64, 16_000}, {256, 16_000}}

// publishing measures events published and acknowledged, one in flight on each
// connection.
func (b *bench) publishing(s *subject) error {
	from := 0
	for _, l := range levels {
		if err := b.publishAt(s, l.conns, b.wraps[from:from+l.events]); err != nil {
			return err
		}
		from += l.events
	}
	return nil
}

func (b *bench) publishAt(s *subject, conns int, frames [][]byte) error {
	r, cpu, err := b.flood(s, conns, frames)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("publish, %d connections", conns)
	b.add(what, "events/s", s.name, r.Rate())
	b.add(what, "p50 ms", s.name, load.Milliseconds(r.At(.5)))
	b.add(what, "p99 ms", s.name, load.Milliseconds(r.At(.99)))
	b.add(what, "CPU µs", s.name, cpu)
	b.add(what, "failed", s.name, float64(r.Failed))
	return nil
}

// flood publishes frames over new connections until they or the time are used up,
// and says what processor time each cost the relay, in µs.
func (b *bench) flood(s *subject, conns int, frames [][]byte) (r load.Result, cpu float64, err error) {
	sockets := make([]*load.Socket, conns)
	for i := range sockets {
		if sockets[i], err = s.connect(); err != nil {
			return r, 0, err
		}
		defer sockets[i].Close()
		if err := sockets[i].Deadline(time.Now().Add(4*b.cell + 30*time.Second)); err != nil {
			return r, 0, err
		}
	}
	var once sync.Once
	per := len(frames) / conns
	before := s.processorTime()
	r = load.Measure("", conns, per, b.cell, func(c, n int) error {
		err := publish(sockets[c], frames[c*per+n])
		if err != nil {
			once.Do(func() { b.note("%s refused while publishing: %v", s.name, err) })
		}
		return err
	})
	if len(r.Took) == 0 {
		return r, 0, errors.New(s.name + ": nothing was published")
	}
	cpu = float64((s.processorTime() - before).Microseconds()) / float64(len(r.Took))
	return r, cpu, nil
}
