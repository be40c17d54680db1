package ledger

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/timmy-tower/timmy/db"
)

// migrateEnv names the database to the process that is killed while it migrates.
const migrateEnv = "TIMMY_LEDGER_MIGRATE"

// migrateOnly brings the books at path to the newest schema.
func migrateOnly(path string) error {
	d, err := openBooks(context.Background(), path)
	if err != nil {
		return err
	}
	if _, err := Open(context.Background(), d, Options{}); err != nil {
		return err
	}
	return d.Close()
}

// oldRows is how many sessions the books of the first schema have, so that what is
// added to them takes a while.
const oldRows = 20_000

// oldBooks makes books of the first schema.
func oldBooks(t *testing.T) (where string) {
	t.Helper()
	where = booksPath(t)
	d, err := openBooks(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	dir := "migrations/sqlite"
	if d.Dialect() == db.Postgres {
		dir = "migrations/postgres"
	}
	first, err := fs.ReadFile(migrations, path.Join(dir, "00001_ledger.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(ctx, fstest.MapFS{"old/00001_ledger.sql": {Data: first}}, "old"); err != nil {
		t.Fatal(err)
	}
	err = d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO sessions (id, owner, state, expires, created)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT 's' || i, 'o' || i, 'expired', i, i FROM n`, oldRows)
		return err
	})
	cancel()
	if stopped := <-done; err != nil || stopped != nil {
		t.Fatal(err, stopped)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return where
}

// schema is the version that the books say they have.
func schema(t *testing.T, where string) (version int) {
	t.Helper()
	d, err := openBooks(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Read(t.Context(), func(q *db.Tx) error { return q.Get(&version, `SELECT MAX(version_id) FROM goose_db_version`) })
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// Excludes: books of half a schema, which no tower opens again, when the process dies
// while it migrates (H11).
func TestAKilledMigrationIsWholeOrUndone(t *testing.T) {
	rng, kills, found := seed(t), times(10, 50), map[int]int{}
	migrating := func(where string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), migrateEnv+"="+where)
		return cmd
	}
	began := time.Now()
	if out, err := migrating(oldBooks(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(began) * 2 / 3 // the first is the slowest
	for range kills {
		where := oldBooks(t)
		cmd := migrating(where)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(whole))))
		if err := cmd.Process.Kill(); err != nil && !strings.Contains(err.Error(), "finished") {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, or done
		found[schema(t, where)]++
		f := &fix{t: t, clock: &clock{t: time.Now()}, path: where}
		f.open()
		f.verify()
		var rows int
		f.ok(f.read(t.Context(), func(q *db.Tx) error { return q.Get(&rows, `SELECT COUNT(*) FROM sessions WHERE refund_to = ''`) }))
		if rows != oldRows {
			t.Errorf("%d of %d rows are left", rows, oldRows)
		}
		f.stop()
	}
	t.Logf("%d kills within %v; found schemas: %s", kills, whole, fmt.Sprint(found))
	if len(found) < 2 {
		t.Error("no kill came while it migrated")
	}
}
