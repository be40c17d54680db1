package db

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Excludes: statements that are sent together and are counted for each other, come out of
// their order, or are done although the write failed.
func TestStatementsThatWaitAreSentTogether(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	add := func(tx *Tx, k string, check func(n int64) error) error {
		return tx.Later(check, "INSERT INTO a (k, v) VALUES (?, 1) ON CONFLICT (k) DO NOTHING", k)
	}
	var seen []int64
	note := func(n int64) error { seen = append(seen, n); return nil }
	err := d.Write(t.Context(), func(tx *Tx) error {
		err := errors.Join(add(tx, "x", note), add(tx, "y", nil), add(tx, "x", func(n int64) error {
			if n != 0 {
				t.Error("a key was there twice")
			}
			return errors.Join(note(n), add(tx, "z", note)) // a check may write
		}))
		if len(seen) != 0 {
			t.Error("a statement did not wait")
		}
		var n int
		if err := errors.Join(err, tx.Get(&n, "SELECT count(*) FROM a")); err != nil || n != 3 {
			t.Errorf("%d rows, %v", n, err)
		}
		return tx.Later(note, "UPDATE a SET v = v + 1 WHERE v = ?", 1)
	})
	if err != nil || fmt.Sprint(seen) != "[1 0 1 3]" {
		t.Errorf("counts %v, %v", seen, err)
	}
	boom := errors.New("boom")
	for name, f := range map[string]func(tx *Tx) error{
		"by its caller":  func(tx *Tx) error { return errors.Join(add(tx, "c", nil), boom) },
		"by a check":     func(tx *Tx) error { return add(tx, "c", func(int64) error { return boom }) },
		"by a statement": func(tx *Tx) error { return errors.Join(add(tx, "c", nil), tx.Later(nil, "UPDATE a SET v = -1")) },
	} {
		for round := range 2 { // all at once without savepoints, which fails, and then with
			gate, entered := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { _ = d.Write(t.Context(), func(*Tx) error { close(entered); <-gate; return nil }) })
			<-entered
			for i := range 3 {
				wg.Go(func() {
					if err := d.Write(t.Context(), func(tx *Tx) error { return add(tx, fmt.Sprint(name, round, i), nil) }); err != nil {
						t.Errorf("%s: another's write: %v", name, err)
					}
				})
			}
			wg.Go(func() {
				if err := d.Write(t.Context(), f); err == nil {
					t.Errorf("%s: no error", name)
				}
			})
			for d.Stats().Waiting < 4 {
				time.Sleep(time.Millisecond)
			}
			close(gate)
			wg.Wait()
		}
	}
	var n, c int
	err = d.Read(t.Context(), func(q *Tx) error {
		return errors.Join(q.Get(&n, "SELECT count(*) FROM a"), q.Get(&c, "SELECT count(*) FROM a WHERE k = 'c'"))
	})
	if err != nil || n != 3+18 || c != 0 {
		t.Errorf("%d rows, %d of writes that failed, %v", n, c, err)
	}
}
