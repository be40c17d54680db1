package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/bench/load"
	"github.com/timmy-tower/timmy/nip"
)

const (
	callers = 64
	people  = 100 // who ask
)

func main() {
	name := flag.String("config", "", "measure this one and print its numbers; empty: all, in turns")
	pure := flag.String("pure", "", "this program without the tag libsecp256k1, for A")
	cell := flag.Duration("cell", 4*time.Second, "how long one measurement takes at most")
	rounds := flag.Int("rounds", 3, "how often each has its turn")
	seed := flag.Uint64("seed", 1, "of keys and messages")
	folder := flag.String("folder", "", "where data is put; empty: the system's folder for temporary files")
	wraps := flag.Int("growth", 0, "take so many wraps through the tower's parts and compare the memory")
	flag.Parse()
	var err error
	switch {
	case *wraps > 0:
		err = growth(os.Stdout, *folder, *wraps, *seed)
	case *name != "":
		err = one(os.Stdout, *name, *folder, *cell, *seed)
	default:
		err = all(os.Stdout, *pure, *folder, *cell, *rounds, *seed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

// numbers are those of one measurement.
type numbers struct{ rate, p50, p99, cpu float64 } // per second, ms, ms, µs for each message

// config is one of what is compared.
type config struct {
	name, what string
	most       int // messages in a second: as many are made before
}

func configs() []config {
	return []config{
		{"tower", "the tower's parts, two files", 4000},
		{"E2", "E, bare group commit, two files", 4000},
		{"E1", "E, bare group commit, one file", 4000},
		{"A", "A, default parts", 1000},
	}
}

// all runs each configuration as a process of its own, in turns.
func all(w io.Writer, pure, folder string, cell time.Duration, rounds int, seed uint64) error {
	if pure == "" {
		return errors.New("-pure names the build without libsecp256k1")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	load.Header(w, seed, fmt.Sprintf("%d callers, %d rounds in turns of %v, medians", callers, rounds, cell))
	seen := map[string][]numbers{}
	list := configs()
	for round := range rounds {
		for i := range list {
			c := list[(i+round)%len(list)]
			program := self
			if c.name == "A" {
				program = pure
			}
			cmd := exec.Command(program, "-config", c.name, "-cell", cell.String(), "-seed", fmt.Sprint(seed), "-folder", folder)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
			var n numbers
			if _, err := fmt.Sscan(string(out), &n.rate, &n.p50, &n.p99, &n.cpu); err != nil {
				return fmt.Errorf("%s printed %q: %w", c.what, out, err)
			}
			seen[c.name] = append(seen[c.name], n)
		}
	}
	report(w, seen)
	return nil
}

func report(w io.Writer, seen map[string][]numbers) {
	fmt.Fprintln(w, "\n| what | per second | p50 ms | p99 ms | CPU µs |\n|---|---|---|---|---|")
	for _, c := range configs() {
		of := func(f func(numbers) float64) float64 { return median(seen[c.name], f) }
		fmt.Fprintf(w, "| %s | %.0f | %.1f | %.1f | %.0f |\n", c.what,
			of(func(n numbers) float64 { return n.rate }), of(func(n numbers) float64 { return n.p50 }),
			of(func(n numbers) float64 { return n.p99 }), of(func(n numbers) float64 { return n.cpu }))
	}
	rate := func(name string) float64 { return median(seen[name], func(n numbers) float64 { return n.rate }) }
	fmt.Fprintln(w, "\n| ratio, in this run | measured | wanted | |\n|---|---|---|---|")
	for _, g := range []struct {
		name, what string
		bound      float64
	}{{"A", "the tower ÷ A", 5}, {"E2", "the tower ÷ E in two files", .8}, {"E1", "the tower ÷ E in one file", 0}} {
		r, verdict, wanted := rate("tower")/rate(g.name), "", "–"
		if g.bound > 0 {
			verdict, wanted = "missed", fmt.Sprintf("≥ %g", g.bound)
			if r >= g.bound {
				verdict = "holds"
			}
		}
		fmt.Fprintf(w, "| %s | %.2f | %s | %s |\n", g.what, r, wanted, verdict)
	}
}

func median(list []numbers, f func(numbers) float64) float64 {
	var v []float64
	for _, n := range list {
		v = append(v, f(n))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// one measures a configuration. All wraps are made before.
func one(w io.Writer, name, folder string, cell time.Duration, seed uint64) (err error) {
	i := slices.IndexFunc(configs(), func(c config) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("there is no configuration %s", name)
	}
	dir, err := os.MkdirTemp(folder, "pipeline-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rnd := load.NewSource(seed)
	keys, err := load.Keys(people+1, rnd)
	if err != nil {
		return err
	}
	me, askers := keys[people], keys[:people]
	per := int(cell.Seconds()*float64(configs()[i].most)) / callers
	wraps, err := questions(me, askers, per*callers, rnd)
	if err != nil {
		return err
	}
	p, err := open(name, dir, me, askers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	before, err := load.ProcessorTime(os.Getpid())
	if err != nil {
		return err
	}
	var once sync.Once
	var failure error
	r := load.Measure(name, callers, per, cell, func(c, n int) error {
		err := p.message(wraps[c*per+n])
		if err != nil {
			once.Do(func() { failure = err })
		}
		return err
	})
	after, err := load.ProcessorTime(os.Getpid())
	if err != nil || r.Failed > 0 {
		return errors.Join(err, failure)
	}
	cpu := float64((after - before).Microseconds()) / float64(len(r.Took))
	fmt.Fprintln(w, r.Rate(), load.Milliseconds(r.At(.5)), load.Milliseconds(r.At(.99)), cpu)
	return nil
}

// questions are what the askers write, in turns.
func questions(me nip.Key, askers []nip.Key, n int, rnd load.Source) ([]*nostr.Event, error) {
	list := make([]*nostr.Event, n)
	for i := range list {
		l := nip.Letter{To: me.Public(), Scheme: nip.NIP17, Text: fmt.Sprintf("What is %d and %d, in one word?", i, i+1), At: time.Now()}
		events, err := nip.Seal(askers[i%len(askers)], l, rnd)
		if err != nil {
			return nil, err
		}
		list[i] = events[0]
	}
	return list, nil
}

// reply is 500 bytes.
func reply() string { return strings.Repeat("An answer. ", 45) + "Done." }
