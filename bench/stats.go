package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// result is one row: how many operations were acknowledged in how long, and how
// long each took.
type result struct {
	what    string
	callers int
	elapsed time.Duration
	took    []time.Duration
	failed  int
	err     error // the first failure's
}

func (r result) rate() float64 { return float64(len(r.took)) / r.elapsed.Seconds() }

func (r result) at(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	slices.Sort(r.took)
	return r.took[min(len(r.took)-1, int(q*float64(len(r.took))))]
}

// add puts another measurement of the same into this one.
func (r *result) add(o result) {
	r.what, r.callers = o.what, o.callers
	r.elapsed += o.elapsed
	r.took = append(r.took, o.took...)
	r.failed += o.failed
	r.err = errors.Join(r.err, o.err)
}

func (r result) row() string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("| %s | %d | %.0f | %.2f | %.2f | %d | %d |",
		r.what, r.callers, r.rate(), ms(r.at(.5)), ms(r.at(.99)), len(r.took), r.failed)
}

// measure runs op in a closed loop by so many callers until the time is up, or
// each has done most of them. An operation counts when it returned without an
// error.
func measure(what string, callers, most int, d time.Duration, op func(caller, n int) error) result {
	res := result{what: what, callers: callers}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			var took []time.Duration
			failed := 0
			var why error
			for n := 0; n < most && time.Since(start) < d; n++ {
				t := time.Now()
				if err := op(c, n); err != nil {
					if failed++; why == nil {
						why = err
					}
					continue
				}
				took = append(took, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			res.took = append(res.took, took...)
			res.failed += failed
			if res.err == nil {
				res.err = why
			}
		})
	}
	wg.Wait()
	res.elapsed = time.Since(start)
	return res
}

// header says where the numbers come from.
func header(w io.Writer, seed uint64, d, disk time.Duration) {
	fmt.Fprintf(w, "machine: %s, %d cores, %s %s/%s\n", cpu(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "commit:  %s\n", commit())
	fmt.Fprintf(w, "seed:    %d, %s per row, load and tower share the machine, loopback\n", seed, d)
	fmt.Fprintf(w, "disk:    %s for 4 KiB and fsync, median of %d\n\n", disk.Round(10*time.Microsecond), syncs)
	fmt.Fprintln(w, "| what | callers | per second | p50 ms | p99 ms | done | failed |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func commit() string {
	rev, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	out := string(bytes.TrimSpace(rev))
	if dirty, _ := exec.Command("git", "status", "--porcelain", "-uno").Output(); len(dirty) > 0 {
		out += " with changes"
	}
	return out
}
