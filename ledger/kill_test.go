package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/db/disktest"
)

// killEnv names the ledger file to the process that is killed, and roundEnv the round,
// so that ids differ.
const (
	killEnv    = "TIMMY_LEDGER_KILL"
	roundEnv   = "TIMMY_LEDGER_ROUND"
	writersEnv = "TIMMY_LEDGER_WRITERS" // how many goroutines; empty: eight
)

// victim works on the ledger from many goroutines, and prints a line for all that
// was acknowledged, until it is killed.
func victim(path, round string) error {
	ctx := context.Background()
	d, err := openBooks(ctx, path)
	if err != nil {
		return err
	}
	go func() { _ = d.Run(ctx) }()
	l, err := Open(ctx, d, Options{PoolShare: 50_000})
	if err != nil {
		return err
	}
	if _, err := l.Recover(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(args ...any) { mu.Lock(); defer mu.Unlock(); fmt.Println(args...) }
	writers := 8
	if n, err := strconv.Atoi(os.Getenv(writersEnv)); err == nil {
		writers = n
	}
	failed := make(chan error, writers)
	for g := range writers {
		go func() {
			for i := 0; ; i++ {
				if err := one(ctx, l, fmt.Sprintf("%s-%d-%d", round, g, i), key(byte(g+1)), say); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// one pays 10 sats in, and 3 out for a request.
func one(ctx context.Context, l *Ledger, id string, k timmy.PubKey, say func(...any)) error {
	ref, _, err := l.Expect(ctx, timmy.TopUp{Account: timmy.UserAccount(k), Purpose: timmy.ForPay, Amount: 10 * sat})
	if err != nil {
		return err
	}
	var h timmy.Hash
	copy(h[:], id)
	if err := l.Issued(ctx, ref, timmy.Invoice{Hash: h, Bolt11: "ln", Amount: 10 * sat, Expires: time.Now().Add(time.Hour)}, timmy.Lease{}); err != nil {
		return err
	}
	if _, err := l.Credit(ctx, timmy.Payment{Hash: h, Received: 10 * sat, Settled: true}, ""); err != nil {
		return err
	}
	say("credited", h)
	r := dm(id, k)
	j, ok, err := l.Start(ctx, &r, quote(5*sat, 0))
	if err != nil || !ok {
		return fmt.Errorf("start %s: %v %w", id, ok, err)
	}
	say("accepted", id)
	if _, err := l.Finish(ctx, j, complete(3*sat, 0)); err != nil {
		return err
	}
	say("finished", id)
	return nil
}

// acks is what a ledger said yes to before it was killed: credited, accepted,
// finished → ids.
type acks map[string][]string

// killed runs a victim on the ledger at path and kills it a while after it has said yes
// so many times; right after it, nothing is under way.
func (a acks) killed(t *testing.T, path string, round, after int, pause time.Duration, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), killEnv+"="+path, roundEnv+"="+fmt.Sprint(round)), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		what, id, _ := strings.Cut(lines.Text(), " ")
		if what == "error" {
			t.Fatal(id)
		}
		a[what] = append(a[what], id)
		if n == after {
			time.Sleep(pause)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed, as it should be
}

// count is how often it said yes.
func (a acks) count() int {
	return len(a["credited"]) + len(a["accepted"]) + len(a["finished"])
}

// kept opens the ledger at path and holds it to what it said.
func (a acks) kept(t *testing.T, path string) {
	t.Helper()
	f := &fix{t: t, clock: &clock{t: time.Now()}, path: path}
	f.open()
	defer f.stop()
	f.verify()
	for _, id := range a["credited"] {
		h, err := timmy.ParseHash(id)
		f.ok(err)
		if s, err := f.Invoice(t.Context(), h); err != nil || !s.Settled {
			t.Errorf("credit of %s is lost: %v", id, err)
		}
	}
	for _, id := range a["accepted"] {
		if _, _, err := f.Reply(t.Context(), timmy.RequestID(id)); err != nil {
			t.Errorf("request %s is lost: %v", id, err)
		}
	}
	for _, id := range a["finished"] {
		if r, done, err := f.Reply(t.Context(), timmy.RequestID(id)); err != nil || !done || r.Outcome.Cost.Charged != 3*sat {
			t.Errorf("the end of %s is lost: %v %v", id, done, err)
		}
	}
	f.clock.add(2 * defaultLease)
	if _, err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.verify()
	var held timmy.Msat
	err := f.read(t.Context(), func(q *db.Tx) error { return q.Get(&held, "SELECT SUM(held) FROM accounts") })
	if err != nil || held != 0 {
		t.Errorf("%v is held by nobody, %v", held, err)
	}
}

// Excludes: anything lost that was acknowledged, books that do not balance, and holds
// of the dead, when the process dies at any instant (H4, A15).
func TestNothingAcknowledgedIsLost(t *testing.T) {
	path, said := booksPath(t), acks{}
	kills := times(20, 200)
	if server != nil {
		kills = times(8, 40) // each takes the server a second
	}
	for round := range kills {
		said.killed(t, path, round, 20+round%20*37, 0)
	}
	said.kept(t, path)
	t.Logf("%d kills: %d credits, %d ends acknowledged", kills, len(said["credited"]), len(said["finished"]))
}

// Excludes: anything lost that was acknowledged when the power fails, which takes
// what was written and not synced, or any part of it (H5). PostgreSQL answers for its
// own disk.
func TestAPowerCutLosesNothing(t *testing.T) {
	if server != nil {
		return
	}
	rng, dir, said := seed(t), t.TempDir(), acks{}
	disk, err := disktest.New(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk.Sync = 5 * time.Millisecond
	path, cuts, lost := filepath.Join(dir, "ledger.db"), times(30, 200), 0
	for round := range cuts {
		said.killed(t, path, round, 10+rng.IntN(100), time.Duration(rng.IntN(5000))*time.Microsecond, disk.Env()...)
		n, err := disk.Cut(rng)
		if err != nil {
			t.Fatal(err)
		}
		lost += n
	}
	said.kept(t, path)
	t.Logf("%d power cuts took %d writes; %d credits, %d ends acknowledged", cuts, lost, len(said["credited"]), len(said["finished"]))
	if lost < cuts {
		t.Error("too little was lost for this test to mean anything")
	}
}

// Excludes: a yes before the disk has it (H1). Writers that wait together share a
// sync, and so one writer alone is counted.
func TestEveryYesIsSynced(t *testing.T) {
	if server != nil {
		return
	}
	dir, said := t.TempDir(), acks{}
	disk, err := disktest.New(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const yes = 2000
	said.killed(t, filepath.Join(dir, "ledger.db"), 0, yes, 0, append(disk.Env(), writersEnv+"=1")...)
	syncs, err := disk.Syncs()
	t.Logf("%d syncs, %d times yes", syncs, said.count())
	if err != nil || said.count() < yes || syncs < int64(said.count()) {
		t.Errorf("%d syncs for %d times yes, %v", syncs, said.count(), err)
	}
}
