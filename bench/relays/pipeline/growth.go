package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/timmy-tower/timmy/bench/load"
)

// portion is how many wraps are made before they are taken through, so that they
// themselves are not what the memory holds.
const portion = 4096

// growth takes n wraps through the tower's parts, and compares the heap after a
// collection at a fifth of them, when all that is bounded is full, with that at the end.
func growth(w io.Writer, folder string, n int, seed uint64) (err error) {
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
	p, err := open("tower", dir, me, askers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	load.Header(w, seed, fmt.Sprintf("%d wraps through the tower's parts, %d callers", n, callers))
	var early uint64
	at, done := 0, 0
	for done < n {
		wraps, err := questions(me, askers, portion, rnd)
		if err != nil {
			return err
		}
		var once sync.Once
		var failure error
		r := load.Measure("growth", callers, portion/callers, time.Hour, func(c, i int) error {
			err := p.message(wraps[c*portion/callers+i])
			if err != nil {
				once.Do(func() { failure = err })
			}
			return err
		})
		if r.Failed > 0 {
			return failure
		}
		if done += portion; early == 0 && done >= n/5 {
			wraps, at = nil, done
			early = heap()
		}
	}
	late := heap()
	verdict := "missed"
	if float64(late) <= 1.1*float64(early) {
		verdict = "holds"
	}
	fmt.Fprintf(w, "\n| heap after a collection | measured | wanted | |\n|---|---|---|---|\n| after %d wraps, KiB | %d | – | |\n"+
		"| after %d wraps, KiB | %d | – | |\n| the last ÷ the first | %.2f | ≤ 1.1 | %s |\n| bytes for each wrap between | %.1f | – | |\n",
		at, early>>10, done, late>>10, float64(late)/float64(early), verdict, (float64(late)-float64(early))/float64(done-at))
	return nil
}

// heap is what is left of it by a collection; the second frees what the first finalized.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
