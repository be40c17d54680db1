package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// goal is a ratio of two numbers of this run, and what is wanted of it.
type goal struct {
	what         string
	ratio, bound float64
	least        bool // bound is the least, else the most
}

func (g goal) holds() bool { return g.least == (g.ratio >= g.bound) || g.ratio == g.bound }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// printGoals says of each goal whether it holds.
func printGoals(w io.Writer, goals []goal) {
	fmt.Fprintln(w, "\n| ratio, in this run | measured | wanted | |\n|---|---|---|---|")
	for _, g := range goals {
		sign, verdict := "≤", "missed"
		if g.least {
			sign = "≥"
		}
		if g.holds() {
			verdict = "holds"
		}
		fmt.Fprintf(w, "| %s | %.2f | %s %g | %s |\n", g.what, g.ratio, sign, g.bound, verdict)
	}
}

// syncs is how often the disk is asked how fast it is.
const syncs = 60

// diskSpeed is the median of appending 4 KiB and waiting until they are on the disk.
func diskSpeed() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "timmy-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	for range syncs {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
