package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/bench/load"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
)

const (
	ours         = "timmy"
	startTimeout = 5 * time.Minute // a reference loads its events first
	loaders      = 64
)

// subject is one relay process on a folder of its own.
type subject struct {
	name, addr, dir string
	cmd             *exec.Cmd
}

// start starts a relay on a fresh folder below parent, with the events of a file
// stored before it listens; "" is none.
func start(name, binary, parent, events string) (*subject, error) {
	dir, err := os.MkdirTemp(parent, "relays-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &subject{name: name, addr: l.Addr().String(), dir: dir}
	if err := l.Close(); err != nil {
		return nil, err
	}
	if s.cmd, err = s.command(binary, events); err != nil {
		return nil, err
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	return s, s.ready()
}

// command is the tower on an empty folder with limits out of the way, or this program
// as a reference.
func (s *subject) command(binary, events string) (*exec.Cmd, error) {
	if s.name != ours {
		self, err := os.Executable()
		return exec.Command(self, "-serve", s.name, "-dir", s.dir, "-addr", s.addr, "-events", events), err
	}
	if events != "" {
		if err := prefill(filepath.Join(s.dir, "events.db"), events); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(binary, "run")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "TIMMY_LISTEN=" + s.addr, "TIMMY_DATA_DIR=" + s.dir, "TIMMY_METRICS_LISTEN=off",
		"TIMMY_LOG_LEVEL=error", "TIMMY_RELAY_FRAMES_PER_SECOND=1000000", "TIMMY_RELAY_EVENTS_PER_ADDRESS=0", "TIMMY_RELAY_EVENTS_PER_KEY=0",
		"TIMMY_RELAY_CONNECTIONS_PER_ADDRESS=100000",
	}
	return cmd, nil
}

func (s *subject) ready() error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := load.Connect(s.addr); err == nil {
			return c.Close()
		}
	}
	s.stop()
	return fmt.Errorf("%s was not ready in time", s.name)
}

// stop ends the process and removes what it stored.
func (s *subject) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	_ = os.RemoveAll(s.dir)
}

func (s *subject) processorTime() time.Duration {
	d, err := load.ProcessorTime(s.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return d
}

func (s *subject) resident() float64 {
	n, err := load.Resident(s.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return float64(n)
}

// prefill stores events in the tower's file with the tower's own store.
func prefill(path, events string) (err error) {
	d, err := db.OpenSQLite(context.Background(), path, db.Options{})
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	defer func() {
		end()
		err = errors.Join(err, <-done, d.Close())
	}()
	s := relay.NewStore(d, time.Now)
	if err := s.Init(); err != nil {
		return err
	}
	queue := make(chan *nostr.Event)
	failed := make([]error, loaders)
	var wg sync.WaitGroup
	for i := range loaders {
		wg.Go(func() {
			for ev := range queue {
				failed[i] = errors.Join(failed[i], s.SaveEvent(ctx, ev))
			}
		})
	}
	err = eachEvent(events, func(ev *nostr.Event) error { queue <- ev; return nil })
	close(queue)
	wg.Wait()
	return errors.Join(append(failed, err)...)
}

// connect opens a connection and, to the tower, proves the given keys: it shows gift
// wraps to their receiver only. The references show them to anybody.
func (s *subject) connect(keys ...nip.Key) (*load.Socket, error) {
	c, err := load.Connect(s.addr)
	if err != nil || s.name != ours {
		return c, err
	}
	b, err := c.Read()
	if err != nil {
		return nil, err
	}
	var hello []string
	if err := json.Unmarshal(b, &hello); err != nil || len(hello) != 2 {
		return nil, fmt.Errorf("want a challenge, got %s", b)
	}
	for _, k := range keys {
		ev, err := nip.Auth(k, "ws://"+s.addr, hello[1], time.Now())
		if err != nil {
			return nil, err
		}
		raw, err := ev.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if err := c.Write(append(append([]byte(`["AUTH",`), raw...), ']')); err != nil {
			return nil, err
		}
		if b, err = c.Read(); err != nil {
			return nil, err
		}
		if !bytes.Contains(b, []byte(",true,")) {
			return nil, fmt.Errorf("key refused: %s", b)
		}
	}
	return c, nil
}

// publish sends an EVENT message and waits for its OK.
func publish(c *load.Socket, frame []byte) error {
	if err := c.Write(frame); err != nil {
		return err
	}
	for {
		b, err := c.Read()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(b, []byte(`["OK"`)) {
			continue
		}
		if !bytes.Contains(b, []byte(`,true,`)) {
			return fmt.Errorf("refused: %s", b)
		}
		return nil
	}
}

// ask sends a REQ and counts the events up to EOSE.
func ask(c *load.Socket, req []byte) (events int, err error) {
	if err := c.Write(req); err != nil {
		return 0, err
	}
	for {
		b, err := c.Read()
		switch {
		case err != nil:
			return events, err
		case bytes.HasPrefix(b, []byte(`["EVENT"`)):
			events++
		case bytes.HasPrefix(b, []byte(`["EOSE"`)):
			return events, nil
		case bytes.HasPrefix(b, []byte(`["CLOSED"`)), bytes.HasPrefix(b, []byte(`["NOTICE"`)):
			return events, fmt.Errorf("%s: %s", req, b)
		}
	}
}
