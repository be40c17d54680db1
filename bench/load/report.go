package load

import (
	"bytes"
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

// Result is one row: how many operations were acknowledged in how long, and how
// long each took.
type Result struct {
	What    string
	Callers int
	Elapsed time.Duration
	Took    []time.Duration
	Failed  int
}

// At is the quantile q of what an operation took; 0 if none was acknowledged.
func (r Result) At(q float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	slices.Sort(r.Took)
	return r.Took[min(len(r.Took)-1, int(q*float64(len(r.Took))))]
}

// Rate is acknowledged operations a second.
func (r Result) Rate() float64 { return float64(len(r.Took)) / r.Elapsed.Seconds() }

// Heads is the head of the table of [Result.Row].
const Heads = "| what | callers | per second | p50 ms | p99 ms | done | failed |\n|---|---|---|---|---|---|---|"

// Row is the result as a line of a table.
func (r Result) Row() string {
	return fmt.Sprintf("| %s | %d | %.0f | %.2f | %.2f | %d | %d |",
		r.What, r.Callers, r.Rate(), Milliseconds(r.At(.5)), Milliseconds(r.At(.99)), len(r.Took), r.Failed)
}

// Milliseconds is a duration as the tables show it.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Measure runs op in a closed loop by so many callers until the time is up, or
// each has done most of them. An operation counts when it returned without an
// error.
func Measure(what string, callers, most int, d time.Duration, op func(caller, n int) error) Result {
	res := Result{What: what, Callers: callers}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			var took []time.Duration
			failed := 0
			for n := 0; n < most && time.Since(start) < d; n++ {
				t := time.Now()
				if err := op(c, n); err != nil {
					failed++
					continue
				}
				took = append(took, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			res.Took = append(res.Took, took...)
			res.Failed += failed
		})
	}
	wg.Wait()
	res.Elapsed = time.Since(start)
	return res
}

// Header says where the numbers come from.
func Header(w io.Writer, seed uint64, how string) {
	fmt.Fprintf(w, "machine: %s, %d cores, %s %s/%s\n", processor(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "commit:  %s\n", commit())
	fmt.Fprintf(w, "seed:    %d, %s, load and what is measured share the machine, loopback\n\n", seed, how)
}

func processor() string {
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
