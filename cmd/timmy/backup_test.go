package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/ledger"
)

// busyBooks makes books in a data directory that are written to until stop.
func busyBooks(t *testing.T, dir string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d, err := db.OpenSQLite(ctx, filepath.Join(dir, ledgerFile), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	book, err := ledger.Open(ctx, d, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	load, enough := context.WithCancel(ctx)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := uint64(1); load.Err() == nil; n++ {
				p := timmy.Payment{Hash: timmy.Hash{byte(w), byte(n), byte(n >> 8), byte(n >> 16), 1}, Received: timmy.Sat, Settled: true, At: time.Now()}
				if _, err := book.Credit(ctx, p, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		enough()
		all.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Excludes: a backup taken under load that is torn, and a restore that leaves the
// log of the old books beside the new ones (H10).
func TestBackupsUnderLoadRestore(t *testing.T) {
	dir := t.TempDir()
	stop := busyBooks(t, dir)
	defer stop()
	vars := []string{"TIMMY_DATA_DIR=" + dir}
	target := t.TempDir()
	for i := range 50 {
		file := filepath.Join(target, fmt.Sprint(i, ".db"))
		if o := runWith(t, vars, "backup", "--to", file); o.code != 0 || !strings.Contains(o.stdout, "verified") {
			t.Fatalf("%+v", o)
		}
		fresh := filepath.Join(t.TempDir(), "data")
		for _, args := range [][]string{{"restore", file}, {"ledger", "verify"}} {
			if o := runWith(t, []string{"TIMMY_DATA_DIR=" + fresh}, args...); o.code != 0 {
				t.Fatalf("%v: %+v", args, o)
			}
		}
	}
	stop()
	if o := runWith(t, vars, "restore", filepath.Join(target, "0.db")); o.code != exitFailed || !strings.Contains(o.stderr, "--force") {
		t.Errorf("over books: %+v", o)
	}
	if o := runWith(t, vars, "restore", "--force", filepath.Join(target, "9.db")); o.code != 0 {
		t.Errorf("forced: %+v", o)
	}
	old, err := filepath.Glob(filepath.Join(dir, ledgerFile+".old-*"))
	if err != nil || len(old) != 1 {
		t.Errorf("the old books: %v, %v", old, err)
	}
	if o := runWith(t, vars, "ledger", "verify"); o.code != 0 {
		t.Errorf("%+v", o)
	}
}

// Excludes: a backup that overwrites the last good one, or leaves half a file; and
// a restore of what is no ledger, or under a running tower.
func TestBackupsRefuse(t *testing.T) {
	dir := t.TempDir()
	busyBooks(t, dir)()
	vars := []string{"TIMMY_DATA_DIR=" + dir}
	target := t.TempDir()
	taken := filepath.Join(target, "taken.db")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{taken, filepath.Join(dir, ledgerFile), filepath.Join(target, "no", "folder.db")} {
		if o := runWith(t, vars, "backup", "--to", to); o.code != exitFailed {
			t.Errorf("%s: %+v", to, o)
		}
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "precious" {
		t.Errorf("the target was touched: %q, %v", b, err)
	}
	if left, err := os.ReadDir(target); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	fresh := filepath.Join(t.TempDir(), "data")
	if o := runWith(t, []string{"TIMMY_DATA_DIR=" + fresh}, "restore", taken); o.code == 0 {
		t.Errorf("a text was restored: %+v", o)
	}
	if _, err := os.Stat(filepath.Join(fresh, ledgerFile)); err == nil {
		t.Error("a text is in place of the books")
	}
	good := filepath.Join(target, "good.db")
	if o := runWith(t, vars, "backup", "--to", good); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if o := runWith(t, vars, "restore", "--force", good); o.code != exitFailed || !strings.Contains(o.stderr, "running tower") {
		t.Errorf("under a tower: %+v", o)
	}
}

// Excludes: commands that make empty books where there are none, and answers that
// a script cannot tell apart.
func TestBooksCommandsAnswerScripts(t *testing.T) {
	none := []string{"TIMMY_DATA_DIR=" + filepath.Join(t.TempDir(), "none")}
	for _, args := range []string{"ledger balance", "ledger export", "ledger suspense", "ledger statement", "invoice list", "ledger suspense resolve x --to house:pool --reason y"} {
		if o := runWith(t, none, strings.Fields(args)...); o.code != exitNoBooks || !strings.Contains(o.stderr, "no books") {
			t.Errorf("%s: %+v", args, o)
		}
	}
	dir := t.TempDir()
	busyBooks(t, dir)()
	vars := []string{"TIMMY_DATA_DIR=" + dir}
	for args, code := range map[string]int{
		"ledger balance":               exitOK,
		"ledger balance house:pool":    exitOK,
		"ledger balance nobody":        exitUsage,
		"ledger balance session:none":  exitNotFound,
		"ledger export --csv":          exitOK,
		"ledger export --json":         exitOK,
		"ledger statement --month nov": exitUsage,
		"ledger statement":             exitOK,
		"invoice list --state odd":     exitUsage,
		"invoice list":                 exitOK,
		"invoice reconcile":            exitUnreachable,
		"ledger suspense resolve none --to house:pool --reason why": exitNotFound,
		"ledger suspense resolve none --to house:dust --reason why": exitFailed,
		"ledger suspense resolve none --to house:pool":              exitFailed,
	} {
		if o := runWith(t, vars, strings.Fields(args)...); o.code != code {
			t.Errorf("%s: %+v, want %d", args, o, code)
		}
	}
}
