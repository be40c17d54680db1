package db

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
)

// open gives a database with one table a(k, v) and a running writer.
func open(t *testing.T) *DB { return openLogged(t, nil) }

func openLogged(t *testing.T, log *slog.Logger) *DB {
	t.Helper()
	d, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "a b?#%.db"), Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	run(t, d)
	err = d.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("CREATE TABLE a (k TEXT PRIMARY KEY, v BIGINT NOT NULL CHECK (v >= 0))")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func run(t *testing.T, d *DB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, d.Close()); err != nil {
			t.Error(err)
		}
	})
}

func put(k string, v int) func(tx *Tx) error {
	return func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO a (k, v) VALUES (?, ?)", k, v)
		return err
	}
}

func count(t *testing.T, d *DB) (n int) {
	t.Helper()
	if err := d.Read(t.Context(), func(q *Tx) error { return q.Get(&n, "SELECT count(*) FROM a") }); err != nil {
		t.Fatal(err)
	}
	return n
}

// Excludes: a setting sent to one connection of a pool and missed by the next.
func TestSettingsHoldOnEveryConnection(t *testing.T) {
	d := open(t)
	check := func(tx *Tx, queryOnly string) error {
		for q, want := range map[string]string{
			"PRAGMA journal_mode": "wal", "PRAGMA synchronous": "2", "PRAGMA busy_timeout": "5000",
			"PRAGMA foreign_keys": "1", "PRAGMA query_only": queryOnly,
		} {
			var got string
			if err := tx.Get(&got, q); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, want %s", q, got, want)
			}
		}
		return nil
	}
	if err := d.Write(t.Context(), func(tx *Tx) error { return check(tx, "0") }); err != nil {
		t.Error(err)
	}
	var in, out sync.WaitGroup
	in.Add(defaultReaders)
	for range defaultReaders {
		out.Go(func() {
			err := d.Read(t.Context(), func(q *Tx) error { in.Done(); in.Wait(); return check(q, "1") })
			if err != nil {
				t.Error(err)
			}
		})
	}
	out.Wait()
}

// Excludes: one caller's failure or panic that undoes, or keeps, another's work.
func TestAFailureUndoesItsOwnWriteOnly(t *testing.T) {
	d := open(t)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	var good atomic.Int32
	for i := range 300 {
		wg.Go(func() {
			err := d.Write(t.Context(), func(tx *Tx) error {
				if err := put(strings.Repeat("x", i+1), i)(tx); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return boom
				case 2:
					panic("boom")
				}
				return nil
			})
			switch {
			case i%3 == 0 && err == nil:
				good.Add(1)
			case i%3 == 1 && errors.Is(err, boom), i%3 == 2 && err != nil:
			default:
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := count(t, d); n != 100 || good.Load() != 100 {
		t.Fatalf("%d rows, %d successes, want 100", n, good.Load())
	}
	if s := d.Stats(); s.Panics != 100 || s.Failed != 200 || s.Commits > 302 {
		t.Errorf("stats: %+v", s)
	}
}

// Excludes: a commit for each of many waiting callers.
func TestWaitingWritesShareACommit(t *testing.T) {
	d := open(t)
	before := d.Stats().Commits
	gate, entered := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = d.Write(t.Context(), func(*Tx) error { close(entered); <-gate; return nil })
	})
	<-entered
	for i := range 200 {
		wg.Go(func() {
			if err := d.Write(t.Context(), put(strings.Repeat("y", i+1), 1)); err != nil {
				t.Error(err)
			}
		})
	}
	for d.Stats().Waiting < 200 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	wg.Wait()
	if s := d.Stats(); s.Commits-before != 2 || s.Largest != 200 {
		t.Errorf("%d commits, largest %d; want 2 and 200", s.Commits-before, s.Largest)
	}
}

// Excludes: a caller that was told of its cancellation, while its write happens.
func TestACancelledWriteNeverRuns(t *testing.T) {
	d := open(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	go func() { _ = d.Write(context.Background(), func(*Tx) error { close(entered); <-gate; return nil }) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- d.Write(ctx, put("late", 1)) }()
	for d.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(gate)
	if n := count(t, d); n != 0 {
		t.Error("the cancelled write ran")
	}
}

// Excludes: a reader that waits for the writer, or sees half of a batch.
func TestAReadDoesNotWaitForTheWriter(t *testing.T) {
	d := open(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Write(context.Background(), func(tx *Tx) error {
			if err := put("k", 1)(tx); err != nil {
				return err
			}
			close(entered)
			<-gate
			return nil
		})
	}()
	<-entered
	if n := count(t, d); n != 0 {
		t.Errorf("an uncommitted row was seen")
	}
	close(gate)
	if err := <-done; err != nil || count(t, d) != 1 {
		t.Errorf("err %v", err)
	}
}

// Excludes: a write through a reader handle.
func TestAReadCannotWrite(t *testing.T) {
	d := open(t)
	if err := d.Read(t.Context(), put("k", 1)); err == nil {
		t.Error("a reader wrote")
	}
	if n := count(t, d); n != 0 {
		t.Error("row written")
	}
}

// Excludes: callers that hang for ever on a database whose writer ended.
func TestWritesAfterTheEndAreRefused(t *testing.T) {
	d, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "x.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), put("k", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.Read(t.Context(), put("k", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

// Excludes: a driver's riddle ("unable to open database file") for a plain mistake.
func TestBadPathsAreSaidPlainly(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "no path", dir: "is a folder", filepath.Join(dir, "no", "x.db"): "folder does not exist", junk: "not a database",
	} {
		if _, err := OpenSQLite(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if _, err := OpenSQLiteReadOnly(t.Context(), filepath.Join(dir, "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read-only: %v", err)
	}
}

// Excludes: an older program on a newer schema; a half-made migration.
func TestMigrateRefusesANewerDatabase(t *testing.T) {
	d := open(t)
	one := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE one (x BIGINT);\n")}
	two := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE two (x BIGINT);\n")}
	bad := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE three (x BIGINT);\nCREATE BROKEN;\n")}
	if err := d.Migrate(t.Context(), fstest.MapFS{"m/00001_a.sql": one, "m/00002_b.sql": two}, "m"); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), fstest.MapFS{"m/00001_a.sql": one}, "m"); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("older files: %v", err)
	}
	all := fstest.MapFS{"m/00001_a.sql": one, "m/00002_b.sql": two, "m/00003_c.sql": bad}
	if err := d.Migrate(t.Context(), all, "m"); err == nil {
		t.Error("a broken migration passed")
	}
	var n int
	_ = d.Read(t.Context(), func(q *Tx) error {
		return q.Get(&n, "SELECT count(*) FROM sqlite_master WHERE name = 'three'")
	})
	if n != 0 {
		t.Error("half of a migration stayed")
	}
}

// Excludes: acknowledged rows lost, a writer that stays broken when the disk is full,
// and a line for each write that fails.
func TestAFullDiskIsAnErrorAndPasses(t *testing.T) {
	var said bytes.Buffer // by the writer, which is done with it when it has answered
	d := openLogged(t, slog.New(slog.NewTextHandler(&said, nil)))
	setLimit := func(pages string) {
		t.Helper()
		err := d.submit(t.Context(), &item{done: make(chan error, 1), alone: func(s *session) error {
			_, err := s.conn.ExecContext(context.Background(), "PRAGMA max_page_count = "+pages)
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	setLimit("30")
	acked := 0
	var failed error
	for i := range 100 {
		if failed = d.Write(t.Context(), put(strings.Repeat("z", 3000)+string(rune('A'+i)), 1)); failed != nil {
			break
		}
		acked++
	}
	var se sqlite3.Error
	if !errors.As(failed, &se) || se.Code != sqlite3.ErrFull {
		t.Fatalf("got %v", failed)
	}
	if n := count(t, d); n != acked {
		t.Errorf("%d rows, %d acknowledged", n, acked)
	}
	for range 10 {
		if err := d.Write(t.Context(), put(strings.Repeat("y", 3000), 1)); err == nil {
			t.Error("a write was committed")
		}
	}
	setLimit("1000000")
	if err := d.Write(t.Context(), put("again", 1)); err != nil {
		t.Errorf("after room was made: %v", err)
	}
	if n := strings.Count(said.String(), "\n"); n != 2 || !strings.Contains(said.String(), "failed=11") {
		t.Errorf("%d lines: %s", n, said.String())
	}
}

// Excludes: a copy without what is only in the write-ahead log yet.
func TestBackupHoldsAllThatWasAcknowledged(t *testing.T) {
	d := open(t)
	for _, k := range []string{"a", "b", "c"} {
		if err := d.Write(t.Context(), put(k, 1)); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := d.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := d.Backup(t.Context(), to); err == nil {
		t.Error("a backup was overwritten")
	}
	if err := d.Checkpoint(t.Context()); err != nil || d.Stats().WALBytes != 0 {
		t.Errorf("checkpoint: %v, %d bytes left", err, d.Stats().WALBytes)
	}
	c, err := OpenSQLite(t.Context(), to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n := count(t, c); n != 3 {
		t.Errorf("%d rows", n)
	}
	r, err := OpenSQLiteReadOnly(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := count(t, r); n != 3 {
		t.Errorf("%d rows seen beside the writer", n)
	}
	if err := r.Write(t.Context(), put("x", 1)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
}

// Excludes: an SQLite with the bug that corrupts a WAL, up to 3.51.2, and one refused
// because its number is longer.
func TestAnOldSQLiteIsRefused(t *testing.T) {
	for v, want := range map[string]bool{
		"3.51.2": true, "3.7.0": true, "3.9.99": true, "3.52": true, "x": true,
		"3.52.0": false, "3.52.0.1": false, "3.54.1": false, "3.100.0": false, "4.0.0": false,
	} {
		if older(v, minSQLite) != want {
			t.Errorf("%s: %v", v, !want)
		}
	}
}
