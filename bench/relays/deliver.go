package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy/bench/load"
)

const subsOfConn = 20 // subscriptions on one connection

// idle opens subscriptions that match nothing that is published.
func (b *bench) idle(s *subject, subs int) (list []*load.Socket, err error) {
	for range subs / subsOfConn {
		c, err := s.connect()
		if err != nil {
			return list, err
		}
		list = append(list, c)
		for n := range subsOfConn {
			var who [32]byte
			if _, err := b.rnd.Read(who[:]); err != nil {
				return list, err
			}
			req := fmt.Sprintf(`["REQ","i%d",{"kinds":[1],"#p":["%s"],"limit":0}]`, n, hex.EncodeToString(who[:]))
			if _, err := ask(c, []byte(req)); err != nil {
				return list, err
			}
		}
	}
	return list, nil
}

func closeAll(list []*load.Socket) {
	for _, c := range list {
		_ = c.Close()
	}
}

// delivering measures the time from sending an event to having it as a subscriber,
// with 16 publishers and 1,000 subscriptions.
func (b *bench) delivering(s *subject) error {
	others, err := b.idle(s, 1_000-subsOfConn)
	defer closeAll(others)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := ask(c, []byte(`["REQ","live",{"kinds":[1],"limit":0}]`)); err != nil {
		return err
	}
	frames := b.notes[:12_000]
	arrived := make(chan map[string]time.Time, 1)
	go func() { arrived <- arrivals(c, len(frames)) }()
	sent := make([]time.Time, len(frames))
	sockets := make([]*load.Socket, 16)
	for i := range sockets {
		if sockets[i], err = s.connect(); err != nil {
			return err
		}
		defer sockets[i].Close()
	}
	per := len(frames) / len(sockets)
	load.Measure("", len(sockets), per, b.cell, func(c, n int) error {
		sent[c*per+n] = time.Now()
		return publish(sockets[c], frames[c*per+n])
	})
	if err := c.Deadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	at := <-arrived
	r := load.Result{Elapsed: b.cell}
	for i, t := range sent {
		if t.IsZero() {
			continue
		}
		if came, ok := at[idOf(frames[i])]; ok {
			r.Took = append(r.Took, came.Sub(t))
		} else {
			r.Failed++
		}
	}
	const what = "publish → subscriber, 16 connections, 1,000 subscriptions"
	b.add(what, "p50 ms", s.name, load.Milliseconds(r.At(.5)))
	b.add(what, "p99 ms", s.name, load.Milliseconds(r.At(.99)))
	b.add(what, "lost", s.name, float64(r.Failed))
	return nil
}

// arrivals notes when which event came, until the connection ends or all came.
func arrivals(c *load.Socket, most int) map[string]time.Time {
	at := make(map[string]time.Time, most)
	for len(at) < most {
		m, err := c.Read()
		if err != nil {
			return at
		}
		if bytes.HasPrefix(m, []byte(`["EVENT"`)) {
			at[idOf(m)] = time.Now()
		}
	}
	return at
}

// idOf finds the id in a message that carries an event.
func idOf(m []byte) string {
	mark := []byte(`"id":"`)
	i := bytes.Index(m, mark)
	if i < 0 || len(m) < i+len(mark)+64 {
		return ""
	}
	return string(m[i+len(mark) : i+len(mark)+64])
}

// resting measures what idle subscriptions add to the cost of a publish.
func (b *bench) resting(s *subject) error {
	half := 8_000
	_, alone, err := b.flood(s, 16, b.notes[:half])
	if err != nil {
		return err
	}
	subs, err := b.idle(s, 2_000)
	defer closeAll(subs)
	if err != nil {
		return err
	}
	_, with, err := b.flood(s, 16, b.notes[half:2*half])
	if err != nil {
		return err
	}
	const what = "2,000 idle subscriptions"
	b.add(what, "CPU µs per publish without", s.name, alone)
	b.add(what, "with", s.name, with)
	b.add(what, "ratio", s.name, with/alone)
	return nil
}

// stalling measures what one reader that reads nothing costs the others. It is there for
// the second third of the events alone: a store gets slower as it grows, and that is not
// the reader's.
func (b *bench) stalling(s *subject) error {
	third := len(b.notes) / 3
	before, _, err := b.flood(s, 16, b.notes[:third])
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := ask(c, []byte(`["REQ","stuck",{"kinds":[1],"limit":0}]`)); err != nil {
		return err
	}
	stuck, _, err := b.flood(s, 16, b.notes[third:2*third])
	if err != nil {
		return err
	}
	c.Close()
	after, _, err := b.flood(s, 16, b.notes[2*third:])
	if err != nil {
		return err
	}
	free := (before.Rate() + after.Rate()) / 2
	const what = "one stuck reader"
	b.add(what, "events/s before and after", s.name, free)
	b.add(what, "with", s.name, stuck.Rate())
	b.add(what, "ratio", s.name, stuck.Rate()/free)
	return nil
}

// holding measures the memory of connections that do nothing.
func (b *bench) holding(s *subject) error {
	const conns = 1_000
	warm, err := s.connect()
	if err != nil {
		return err
	}
	defer warm.Close()
	before := s.resident()
	list := make([]*load.Socket, 0, conns)
	defer func() { closeAll(list) }()
	for range conns {
		c, err := s.connect()
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	time.Sleep(time.Second)
	b.add("1,000 idle connections", "MiB", s.name, (s.resident()-before)/(1<<20))
	return nil
}
