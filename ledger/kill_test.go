package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// killEnv names the ledger file to the child of TestNothingAcknowledgedIsLost, and
// roundEnv the round, so that ids differ.
const (
	killEnv  = "TIMMY_LEDGER_KILL"
	roundEnv = "TIMMY_LEDGER_ROUND"
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
	failed := make(chan error, 8)
	for g := range 8 {
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
	if _, err := l.Finish(ctx, j.Lease, complete(3*sat, 0)); err != nil {
		return err
	}
	say("finished", id)
	return nil
}

// Excludes: anything lost that was acknowledged, and books that do not balance,
// when the process dies at any instant (H4).
func TestNothingAcknowledgedIsLost(t *testing.T) {
	path := booksPath(t)
	kills := 20
	if server != nil {
		kills = 8 // each takes the server a second
	}
	acked := map[string][]string{}
	for round := range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killEnv+"="+path, roundEnv+"="+fmt.Sprint(round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, after := bufio.NewScanner(out), 20+round*37
		for n := 0; lines.Scan(); n++ {
			what, id, _ := strings.Cut(lines.Text(), " ")
			if what == "error" {
				t.Fatal(id)
			}
			acked[what] = append(acked[what], id)
			if n == after {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed, as it should be
	}
	f := &fix{t: t, clock: &clock{t: time.Now()}, path: path}
	f.open()
	defer f.stop()
	f.verify()
	for _, id := range acked["credited"] {
		h, err := timmy.ParseHash(id)
		f.ok(err)
		if s, err := f.Invoice(t.Context(), h); err != nil || !s.Settled {
			t.Errorf("credit of %s is lost: %v", id, err)
		}
	}
	for _, id := range acked["accepted"] {
		if _, _, err := f.Reply(t.Context(), timmy.RequestID(id)); err != nil {
			t.Errorf("request %s is lost: %v", id, err)
		}
	}
	for _, id := range acked["finished"] {
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
	t.Logf("%d kills: %d credits, %d ends acknowledged", kills, len(acked["credited"]), len(acked["finished"]))
}
