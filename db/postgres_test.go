package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// openPG gives a PostgreSQL database with the table of open and a running writer,
// or nil where there is no server.
func openPG(t *testing.T) *DB {
	t.Helper()
	if server == nil {
		return nil
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenPostgres(t.Context(), url, Options{})
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

// giveUp makes the server give a transaction up, as it does for another's sake.
func giveUp(tx *Tx, code string) error {
	_, err := tx.Exec("DO $$ BEGIN RAISE EXCEPTION 'not you' USING ERRCODE = '" + code + "'; END $$")
	return err
}

// Excludes: a connection that answers before it is on the disk, or sees what the
// tower before has not committed.
func TestPostgresSettingsHold(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	check := func(tx *Tx, want map[string]string) error {
		for name, w := range want {
			var got string
			if err := tx.Get(&got, "SELECT current_setting('"+name+"')"); err != nil || got != w {
				return fmt.Errorf("%s is %q, want %q: %w", name, got, w, err)
			}
		}
		return nil
	}
	err := d.Write(t.Context(), func(tx *Tx) error {
		if off := time.Since(tx.Time()); off < -time.Minute || off > time.Minute {
			t.Errorf("the server's clock is %v off", off)
		}
		return check(tx, map[string]string{
			"synchronous_commit": "on", "transaction_isolation": "read committed", "TimeZone": "UTC",
			"lock_timeout": "15s", "idle_in_transaction_session_timeout": "10s",
		})
	})
	if err != nil {
		t.Error(err)
	}
	err = d.Read(t.Context(), func(q *Tx) error {
		return check(q, map[string]string{"transaction_isolation": "repeatable read", "transaction_read_only": "on"})
	})
	if err != nil {
		t.Error(err)
	}
	if err := d.Read(t.Context(), put("k", 1)); err == nil {
		t.Error("a reader wrote")
	}
}

// Excludes: one caller's failure or panic that undoes, or keeps, another's work.
func TestOnPostgresAFailureUndoesItsOwnWriteOnly(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			err := d.Write(t.Context(), func(tx *Tx) error {
				if err := put(fmt.Sprint(i), i)(tx); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return put(fmt.Sprint(i), i)(tx) // twice
				case 2:
					panic("boom")
				}
				return nil
			})
			if (err == nil) != (i%3 == 0) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := count(t, d); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
	if s := d.Stats(); s.Largest > maxBatchPostgres || s.Commits > 250 {
		t.Errorf("stats: %+v", s)
	}
}

// Excludes: a write that hid the failure of a statement, and is told that it is durable:
// PostgreSQL answers such a COMMIT by a rollback, without an error.
func TestAHiddenFailureIsNoSuccess(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	hide := func(tx *Tx) error {
		_ = put("a", 1)(tx)
		_ = put("a", 1)(tx)
		return nil
	}
	if err := d.Write(t.Context(), hide); err == nil {
		t.Error("alone: no error")
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if i%10 != 0 {
				_ = d.Write(t.Context(), put(fmt.Sprint(i), i))
				return
			}
			if err := d.Write(t.Context(), hide); err == nil {
				t.Error("among others: no error")
			}
		})
	}
	wg.Wait()
	var n int
	err := d.Read(t.Context(), func(q *Tx) error { return q.Get(&n, "SELECT count(*) FROM a WHERE k = 'a'") })
	if err != nil || n != 0 {
		t.Errorf("%d rows of hidden failures, %v", n, err)
	}
	if err := d.Write(t.Context(), put("after", 1)); err != nil {
		t.Error(err)
	}
}

// Excludes: callers who hear of conflicts that pass (H13), and a batch that one
// write takes down which cannot get through.
func TestWhatPostgresGivesUpIsTriedAgain(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	for _, code := range []string{"40001", "40P01"} {
		gate, entered := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Write(t.Context(), func(*Tx) error { close(entered); <-gate; return nil }) })
		<-entered
		tries := map[string]int{}
		write := func(name string, fails int) {
			wg.Go(func() {
				err := d.Write(t.Context(), func(tx *Tx) error {
					if err := put(code+name, 1)(tx); err != nil {
						return err
					}
					if tries[name]++; tries[name] <= fails { // the writer's goroutine alone
						return giveUp(tx, code)
					}
					return nil
				})
				if fails < 100 && err != nil {
					t.Errorf("%s %s: %v", code, name, err)
				}
				e, ok := errors.AsType[*pgconn.PgError](err)
				if fails >= 100 && (!ok || e.Code != code || !Away(err)) {
					t.Errorf("%s %s: %v", code, name, err)
				}
			})
		}
		write("plain", 0)
		write("unlucky", 4)
		write("never", 1000)
		for d.Stats().Waiting < 3 {
			time.Sleep(time.Millisecond)
		}
		close(gate)
		wg.Wait()
		if tries["never"] > maxTries+1 {
			t.Errorf("tried %d times", tries["never"])
		}
	}
	if n := count(t, d); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

// Excludes: a writer, or a reader, that stays broken when its connection was lost.
func TestALostConnectionIsMended(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	lost := false
	err := d.Write(t.Context(), func(tx *Tx) error {
		if err := put("k", 1)(tx); err != nil {
			return err
		}
		if !lost {
			lost = true
			_, err := tx.Exec("SELECT pg_terminate_backend(pg_backend_pid())")
			return err
		}
		return nil
	})
	if err != nil || count(t, d) != 1 {
		t.Errorf("lost before its commit: %v", err)
	}
	for range 2 * defaultReaders {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := d.Read(ctx, func(q *Tx) error { _, err := q.Exec("SELECT pg_sleep(5)"); return err })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read that takes too long: %v", err)
		}
	}
	if n := count(t, d); n != 1 {
		t.Errorf("%d rows", n)
	}
	err = server.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'timmy'")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), put("l", 1)); err != nil || count(t, d) != 2 {
		t.Errorf("after all were ended: %v", err)
	}
}

// Excludes: a password in an error, and a database that silently is another.
func TestAnAddressIsNeverShown(t *testing.T) {
	for _, url := range []string{
		"", "host=localhost password=pl4nted", "postgres://u:pl4nted@127.0.0.1:1/x", "postgres://u:pl4nted@h:port/x",
		"postgres://u:pl4nted@127.0.0.1:1/x?sslmode=nonsense",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := OpenPostgres(ctx, url, Options{})
		cancel()
		if err == nil || strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("%v", err)
		}
	}
}

// Excludes: an older program on a newer schema, a half-made migration, and two
// towers that migrate at once.
func TestPostgresIsMigratedOnce(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	one := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE one (x BIGINT);\n")}
	two := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE two (x BIGINT);\n")}
	bad := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE three (x BIGINT);\nCREATE BROKEN;\n")}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := d.Migrate(t.Context(), fstest.MapFS{"m/00001_a.sql": one, "m/00002_b.sql": two}, "m"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := d.Migrate(t.Context(), fstest.MapFS{"m/00001_a.sql": one}, "m"); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("older files: %v", err)
	}
	all := fstest.MapFS{"m/00001_a.sql": one, "m/00002_b.sql": two, "m/00003_c.sql": bad}
	if err := d.Migrate(t.Context(), all, "m"); err == nil {
		t.Error("a broken migration passed")
	}
	var n int
	err := d.Read(t.Context(), func(q *Tx) error { return q.Get(&n, "SELECT count(*) FROM pg_tables WHERE tablename = 'three'") })
	if err != nil || n != 0 {
		t.Errorf("half of a migration stayed: %v", err)
	}
}

// Excludes: callers that hang, or hear nothing useful, while the server is away; and
// a tower that has to be started again when it is back.
func TestAServerThatIsAwayIsAnErrorAndPasses(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := d.Write(t.Context(), put(fmt.Sprint(i), 1)); !Away(err) {
				t.Errorf("write: %v", err)
			}
			err := d.Read(t.Context(), func(q *Tx) error { _, err := q.Exec("SELECT 1"); return err })
			if !Away(err) {
				t.Errorf("read: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), put("again", 1)); err != nil || count(t, d) != 1 {
		t.Errorf("when it is back: %v", err)
	}
}

// Excludes: two towers that start at once and of which one fails because the other makes
// a part; and two parts, of which one sees or waits for the other.
func TestPartsOfADatabaseAreApart(t *testing.T) {
	d := openPG(t)
	if d == nil {
		return
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	parts := make([]*DB, 4)
	for i := range parts {
		wg.Go(func() {
			p, err := OpenPostgres(t.Context(), url, Options{Part: "events"})
			if err != nil {
				t.Error(err)
				return
			}
			parts[i] = p
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, p := range parts {
		run(t, p)
		var schema string
		if err := p.Read(t.Context(), func(tx *Tx) error { return tx.Get(&schema, `SELECT current_schema()`) }); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(schema, "_events") {
			t.Errorf("the part is in %q", schema)
		}
	}
	books, err := OpenPostgres(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, books)
	err = books.Write(t.Context(), func(*Tx) error { // holds the turn of the books
		return parts[0].Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec("CREATE TABLE only_here (k TEXT)")
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	var seen bool
	const there = `SELECT to_regclass('only_here') IS NOT NULL`
	if err := books.Read(t.Context(), func(tx *Tx) error { return tx.Get(&seen, there) }); err != nil || seen {
		t.Errorf("the books see a table of the events: %v (%v)", seen, err)
	}
	if err := parts[1].Read(t.Context(), func(tx *Tx) error { return tx.Get(&seen, there) }); err != nil || !seen {
		t.Errorf("the part does not see its table: %v", err)
	}
}
