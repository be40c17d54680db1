package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/timmy-tower/timmy/bench/load"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/relay"
)

// callersOf is how many callers at once each row has.
var callersOf = []int{1, 16, 64}

func main() {
	binary := flag.String("timmy", "./bin/timmy", "the binary to measure")
	seconds := flag.Int("seconds", 5, "how long one row takes at most")
	seed := flag.Uint64("seed", 1, "of keys and texts")
	part := flag.String("part", "", "only this part: ledger, age, tower")
	old := flag.Int("old", 1_000_000, "how many requests the old books of the part age have had")
	postgres := flag.Bool("postgres", false, "the books of the part age are PostgreSQL's: a million requests take it half an hour")
	flag.Parse()
	a := ages{old: *old}
	if *postgres {
		a.dialect = db.Postgres
	}
	if err := run(os.Stdout, *part, *binary, time.Duration(*seconds)*time.Second, *seed, a); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, part, binary string, d time.Duration, seed uint64, a ages) error {
	disk, err := diskSpeed()
	if err != nil {
		return err
	}
	header(w, seed, d, disk)
	var goals []goal
	for _, p := range []struct {
		name string
		do   func() ([]goal, error)
	}{
		{"ledger", func() ([]goal, error) { return benchLedger(w, d, seed) }},
		{"tower", func() ([]goal, error) { return benchTower(w, binary, d, seed) }},
		// last, for it leaves the disk a gigabyte to take in
		{"age", func() ([]goal, error) { return a.bench(w, d) }},
	} {
		if part != "" && part != p.name {
			continue
		}
		more, err := p.do()
		if err != nil {
			return err
		}
		goals = append(goals, more...)
	}
	printGoals(w, goals)
	return nil
}

// benchTower is what its doors do.
func benchTower(w io.Writer, binary string, d time.Duration, seed uint64) (goals []goal, err error) {
	t, err := startTower(binary)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if goals, err = benchREST(t, w, d); err != nil {
		return nil, err
	}
	for _, part := range []func(*tower, io.Writer, time.Duration, uint64) error{benchDM, benchPublish} {
		if err := part(t, w, d, seed); err != nil {
			return nil, err
		}
	}
	return goals, nil
}

// What is wanted of a request over HTTP.
const (
	restCallers = 32                     // for the rate
	restRate    = 3000                   // a second, on
	restDisk    = 300 * time.Microsecond // a disk that syncs as fast as this
	restAdded   = time.Millisecond       // over HTTP alone, at one caller
)

// benchREST is durable requests by HTTP: accepted, reserved, answered by the
// built-in model, charged, committed. Each caller has a session of its own.
func benchREST(t *tower, w io.Writer, d time.Duration) (goals []goal, err error) {
	idle, err := t.benchIdle(d)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(w, idle.row())
	for _, callers := range []int{1, 16, restCallers, 64} {
		r, err := t.benchRequests(callers, d)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(w, r.row())
		switch {
		case callers == 1:
			goals = append(goals, goal{"HTTP request, p50 added to HTTP alone, in ms", ratio(r.at(.5)-idle.at(.5), restAdded), 1, false})
		case callers == restCallers:
			what := fmt.Sprintf("HTTP request, per second at %d callers ÷ %d (a goal for syncs of %s and less)", callers, restRate, restDisk)
			goals = append(goals, goal{what, r.rate() / restRate, 1, true})
		}
	}
	return goals, nil
}

// benchIdle is HTTP without a request: what the books add is measured against it.
func (t *tower) benchIdle(d time.Duration) (result, error) {
	c, err := load.Call(t.addr)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	return measure("HTTP alone (GET /healthz)", 1, 1<<30, d, func(int, int) error {
		return answered(c, "ok", "GET", "/healthz", "", "")
	}), nil
}

// answered makes a call whose answer has to contain a text.
func answered(c *load.Caller, text, method, path, bearer, body string) error {
	status, answer, err := c.Do(method, path, bearer, body)
	if err == nil && (status != http.StatusOK || !bytes.Contains(answer, []byte(text))) {
		err = fmt.Errorf("%s %s: %d: %s", method, path, status, answer)
	}
	return err
}

// benchRequests is one row: each caller asks in a few sessions of its own.
func (t *tower) benchRequests(callers int, d time.Duration) (result, error) {
	type session struct{ id, bearer string }
	sessions, conns := make([][]session, callers), make([]*load.Caller, callers)
	for c := range sessions {
		var err error
		if conns[c], err = load.Call(t.addr); err != nil {
			return result{}, err
		}
		defer conns[c].Close()
		for range 2 + 40/callers {
			id, bearer, err := t.session()
			if err != nil {
				return result{}, err
			}
			sessions[c] = append(sessions[c], session{id, bearer})
		}
	}
	return measure("HTTP request, durable", callers, 1<<30, d, func(c, n int) error {
		s := sessions[c][n%len(sessions[c])]
		body := fmt.Sprintf(`{"request":"What is %d+%d?"}`, n, c)
		return answered(conns[c], `"state":"complete"`, "POST", "/sessions/"+s.id+"/request", s.bearer, body)
	}), nil
}

// benchDM is direct messages from end to end: sealed, published, opened,
// answered, charged, sealed, delivered, opened by the asker.
func benchDM(t *tower, w io.Writer, d time.Duration, seed uint64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	to, err := t.pubkey()
	if err != nil {
		return err
	}
	rnd := chacha(seed)
	for _, callers := range callersOf {
		seats := make([][]*seat, callers)
		per := max(2, 24/callers)
		for c := range seats {
			for range per {
				s, err := t.newSeat(ctx, to, rnd.fork())
				if err != nil {
					return err
				}
				seats[c] = append(seats[c], s)
			}
		}
		time.Sleep(time.Second) // the zaps are credited
		r := measure("direct message, question to answer", callers, per*asksPerKey, d, func(c, n int) error {
			return seats[c][n%per].ask(ctx, n)
		})
		fmt.Fprintln(w, r.row())
		for _, row := range seats {
			for _, s := range row {
				s.conn.Close()
			}
		}
	}
	return nil
}

// benchPublish is gift wraps for somebody else, published and acknowledged.
func benchPublish(t *tower, w io.Writer, d time.Duration, seed uint64) error {
	ctx := context.Background()
	rnd := chacha(seed + 1)
	for _, callers := range callersOf {
		most := 12000 / callers
		if callers == 1 {
			most = 6000
		}
		events, err := wraps(callers*most, rnd)
		if err != nil {
			return err
		}
		conns := make([]*relay.Conn, callers)
		for c := range conns {
			if conns[c], err = relay.Dial(ctx, "ws://"+t.addr, relay.DialOptions{AllowPrivate: true}); err != nil {
				return err
			}
		}
		r := measure("event published, OK received", callers, most, d, func(c, n int) error {
			return conns[c].Publish(ctx, events[c*most+n])
		})
		fmt.Fprintln(w, r.row())
		for _, c := range conns {
			c.Close()
		}
	}
	return nil
}

// source is randomness that a seed repeats. It is for load, never for secrets
// that matter.
type source struct{ *rand.ChaCha8 }

func chacha(seed uint64) source {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return source{rand.NewChaCha8(key)}
}

// fork is another source, for another goroutine.
func (s source) fork() source { return chacha(s.Uint64()) }
