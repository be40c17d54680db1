package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/timmy-tower/timmy/db"
)

// bookCallers is how many callers at once each row of the books has.
var bookCallers = []int{1, 16, 64, 256}

const (
	// goalCallers is the row that the goals speak of.
	goalCallers = 64
	// readers is how many read beside the callers, each readsPerSecond times.
	readers        = 4
	readsPerSecond = 50
)

// benchLedger is a request in the books, reserved and captured, beside the bare
// database that does the same inserts and updates in the same run.
func benchLedger(w io.Writer, d time.Duration, seed uint64) (goals []goal, err error) {
	list, stop, err := stores()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, s := range list {
		more, err := s.benchLedger(w, d, seed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.dialect, err)
		}
		goals = append(goals, more...)
	}
	return goals, nil
}

// trio are the same books three times: run by the ledger, and by the bare database
// in its two ways.
type trio struct {
	books        *books
	group, alone *bare
	places       []string // of group, alone and books
}

func (s *store) openTrio() (*trio, error) {
	askers := bookCallers[len(bookCallers)-1]
	t := &trio{}
	for _, open := range []func(place string) error{
		func(place string) (err error) { t.group, err = s.openBare(place, true); return err },
		func(place string) (err error) { t.alone, err = s.openBare(place, false); return err },
	} {
		place, err := s.place()
		if err != nil {
			return nil, err
		}
		t.places = append(t.places, place)
		made, err := s.openBooks(place, askers)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(made.stop(), open(place)); err != nil {
			return nil, err
		}
	}
	place, err := s.place()
	if err != nil {
		return nil, err
	}
	t.places = append(t.places, place)
	t.books, err = s.openBooks(place, askers)
	return t, err
}

func (t *trio) close() error { return errors.Join(t.books.stop(), t.group.close(), t.alone.close()) }

// heapFloor is what a tower has the collector take for used besides what is.
const heapFloor = 16 << 20

// benchLedger measures one store.
func (s *store) benchLedger(w io.Writer, d time.Duration, seed uint64) (goals []goal, err error) {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	t, err := s.openTrio()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	ways := []struct {
		name string
		do   func(c int, id string) error
	}{
		{"the ledger", t.books.request},
		{"bare, group commit", func(c int, id string) error {
			return errors.Join(t.group.together(t.group.reserve(c, id)), t.group.together(t.group.capture(c, id)))
		}},
		{"bare, one transaction each", func(c int, id string) error {
			return errors.Join(t.alone.alone(t.alone.reserve(c, id)), t.alone.alone(t.alone.capture(c, id)))
		}},
	}
	at := map[string]result{} // with goalCallers
	for _, callers := range bookCallers {
		for _, way := range ways {
			r := measure(fmt.Sprintf("%s: reserve and capture, %s", s.dialect, way.name), callers, 1<<30, d, ids(callers, way.do))
			t.books.settle(&r)
			if fmt.Fprintln(w, r.row()); r.err != nil {
				return nil, fmt.Errorf("%s: %w", r.what, r.err)
			}
			if callers == goalCallers {
				at[way.name] = r
			}
		}
	}
	read := t.readBeside(w, s.dialect, d, seed)
	if read.err != nil {
		return nil, read.err
	}
	return s.goals(at["the ledger"], at["bare, group commit"], at["bare, one transaction each"], read), nil
}

// ids gives each request of a row an id of its own, in the order of time, as HTTP does.
func ids(row int, do func(c int, id string) error) func(c, n int) error {
	return func(c, n int) error {
		at := time.Now().UnixMilli()
		return do(c, fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", at>>16, at&0xffff, row&0xfff, c, n))
	}
}

// readBeside is the row of goalCallers again, while a few read.
func (t *trio) readBeside(w io.Writer, dialect db.Dialect, d time.Duration, seed uint64) result {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	rnd := chacha(seed)
	for range readers {
		own := rand.New(rnd.fork())
		wg.Go(func() { t.books.read(ctx, own) })
	}
	what := fmt.Sprintf("%s: the same, the ledger, %d readers of %d/s", dialect, readers, readsPerSecond)
	r := measure(what, goalCallers, 1<<30, d, ids(-1, t.books.request))
	cancel()
	wg.Wait()
	t.books.settle(&r)
	fmt.Fprintln(w, r.row())
	return r
}

// read asks what fronts ask, at a bounded rate.
func (b *books) read(ctx context.Context, rnd *rand.Rand) {
	tick := time.NewTicker(time.Second / readsPerSecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := question(rnd.IntN(goalCallers), "")
		// What is read, and an error at the end, change no measurement.
		_, _ = b.Balance(ctx, r.Payer)
		_, _ = b.Requests(ctx, r.From, 20)
		_, _ = b.Postings(ctx, r.Payer, 20)
	}
}

// goals compares what was measured with what is wanted.
func (s *store) goals(own, group, alone, read result) []goal {
	name := s.dialect.String()
	goals := []goal{
		{name + ": requests per second ÷ bare group commit", own.rate() / group.rate(), .8, true},
		{name + ": p99 ÷ bare group commit's", ratio(own.at(.99), group.at(.99)), 2, false},
		{fmt.Sprintf("%s: p99 with %d readers ÷ without", name, readers), ratio(read.at(.99), own.at(.99)), 3, false},
	}
	each := goal{name + ": requests per second ÷ bare, one transaction each", own.rate() / alone.rate(), 6, true}
	if s.dialect == db.SQLite {
		return append(goals, each)
	}
	return goals
}
