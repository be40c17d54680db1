package ledger

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
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
	fmt.Println("begins")
	if _, err := Open(context.Background(), d, Options{}); err != nil {
		return err
	}
	fmt.Println("ends")
	return d.Close()
}

// oldRows is how many sessions the books of the first schema have, so that what is
// added to them takes a while.
const oldRows = 20_000

// oldBooks makes books of the first schema.
func oldBooks(t *testing.T) (where string) {
	t.Helper()
	return booksOf(t, "00001_*.sql", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO sessions (id, owner, state, expires, created)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT 's' || i, 'o' || i, 'expired', i, i FROM n`, oldRows)
		return err
	})
}

// booksOf makes books by some of the migrations, and fills them.
func booksOf(t *testing.T, files string, fill func(tx *db.Tx) error) (where string) {
	t.Helper()
	where = booksPath(t)
	d, err := openBooks(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	names, err := fs.Glob(migrations, path.Join(d.Dialect().Folder("migrations"), files))
	if err != nil || len(names) == 0 {
		t.Fatal(files, err)
	}
	old := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		old["old/"+path.Base(name)] = &fstest.MapFile{Data: text}
	}
	if err := d.Migrate(ctx, old, "old"); err != nil {
		t.Fatal(err)
	}
	err = d.Write(ctx, fill)
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

// migrating starts a process that migrates, kills it so long after it began, and
// returns how long it took; 0: it was killed before its end.
func migrating(t *testing.T, where string, after time.Duration) (took time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), migrateEnv+"="+where)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch said := lines.Text(); said {
		case "begins":
			began = time.Now()
			defer time.AfterFunc(after, func() { _ = cmd.Process.Kill() }).Stop()
		case "ends":
			took = time.Since(began)
		default:
			t.Fatal(said)
		}
	}
	_ = cmd.Wait() // killed, or done
	return took
}

// Excludes: books of half a schema, which no tower opens again, when the process dies
// while it migrates (H11).
func TestAKilledMigrationIsWholeOrUndone(t *testing.T) {
	rng, kills, found := seed(t), times(10, 50), map[int]int{}
	whole, early := migrating(t, oldBooks(t), time.Minute), 0
	for range kills {
		where := oldBooks(t)
		if migrating(t, where, time.Duration(rng.Int64N(int64(whole*3/2)))) == 0 {
			early++
		}
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
	t.Logf("%d kills within %v, %d of them before the end; found schemas: %s", kills, whole, early, fmt.Sprint(found))
	if early == 0 {
		t.Error("no kill came while it migrated")
	}
}
