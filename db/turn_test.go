package db

import (
	"context"
	"errors"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Excludes: two changes of goroutine for a write that nobody else is in the way of.
func TestAnIdleWriterIsSpared(t *testing.T) {
	d := open(t)
	mine := 0
	for range 100 { // the writer is busy for a moment yet with what opened the books
		err := d.Write(t.Context(), func(*Tx) error {
			if strings.Contains(string(debug.Stack()), "testing.tRunner") {
				mine++
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if mine < 50 {
		t.Errorf("%d of 100 writes were done by their caller's goroutine", mine)
	}
}

// Excludes: callers that wait for good because the writer ended, acknowledged writes that
// are gone, and refused ones that are there.
func TestTheEndOfTheWriterLeavesNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	var acknowledged atomic.Int64
	for round := range 20 {
		d, err := OpenSQLite(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		err = d.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec("CREATE TABLE IF NOT EXISTS a (k INTEGER PRIMARY KEY, v BIGINT NOT NULL)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for n := 0; ; n++ {
					err := d.Write(context.Background(), func(tx *Tx) error { _, err := tx.Exec("INSERT INTO a (v) VALUES (1)"); return err })
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if acknowledged.Add(1); n == 5+round {
						stop()
					}
				}
			})
		}
		wg.Wait()
		stop()
		if err := errors.Join(<-ended, d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenSQLiteReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := int64(count(t, d)); n != acknowledged.Load() {
		t.Errorf("%d rows, %d were acknowledged", n, acknowledged.Load())
	}
}
