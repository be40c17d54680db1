package ledger

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// shortLease lets a test wait for the end of a lease by the server's own clock.
const shortLease = 1500 * time.Millisecond

// mate is one of several towers on one database.
type mate struct {
	*Ledger
	stop func()
}

// newMate opens the books as a tower of its own, with the clock of its machine:
// off by some minutes, which must not matter to leases.
func newMate(t *testing.T, url string, off time.Duration) *mate {
	t.Helper()
	d, err := db.OpenPostgres(t.Context(), url, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	l, err := Open(t.Context(), d, Options{
		LeaseFor: shortLease, Now: func() time.Time { return time.Now().Add(off) }, PoolShare: 100_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &mate{Ledger: l}
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

// answers counts how often each request was finished.
type answers struct {
	mu sync.Mutex
	of map[timmy.RequestID]int
}

func (a *answers) add(id timmy.RequestID) { a.mu.Lock(); defer a.mu.Unlock(); a.of[id]++ }

func (a *answers) count() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.of) }

// work answers what is queued until all want have their answer. keep takes what was
// started and is never finished, as a tower that dies.
func (m *mate) work(ctx context.Context, t *testing.T, a *answers, want int, keep int) {
	for kept := 0; a.count() < want && ctx.Err() == nil; {
		if _, err := m.Recover(ctx); err != nil {
			t.Error(err)
			return
		}
		j, ok, err := m.Start(ctx, nil, quote(5*sat, 0))
		switch {
		case err != nil:
			t.Error(err)
			return
		case !ok:
			select {
			case <-m.Queued():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		case kept < keep:
			if kept++; kept == keep {
				m.stop()
				return
			}
			continue
		}
		if _, err := m.Finish(ctx, j, complete(3*sat, 0)); err != nil {
			if timmy.CodeOf(err) != timmy.Conflict {
				t.Error(err)
			}
			continue
		}
		a.add(j.ID)
	}
}

// Excludes: a request that two towers answer, or that is lost with the tower that
// had it; and a live tower whose leases are taken for a dead one's, whatever its
// clock says (H13).
func TestFourTowersShareTheQueue(t *testing.T) {
	if server == nil {
		return // a SQLite file has one tower
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	var towers []*mate
	for i := range 4 {
		towers = append(towers, newMate(t, url, time.Duration(i-1)*10*time.Minute))
	}
	f := &fix{Ledger: towers[0].Ledger, t: t, clock: &clock{t: time.Now()}}
	const requests, askers = 200, 20
	for i := range askers {
		f.give(timmy.UserAccount(key(byte(i))), 1000*sat)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a := &answers{of: map[timmy.RequestID]int{}}
	var wg sync.WaitGroup
	for i, m := range towers {
		if i == 3 {
			wg.Go(func() { m.work(ctx, t, a, requests, 5) })
			continue
		}
		for range 4 {
			wg.Go(func() { m.work(ctx, t, a, requests, 0) })
		}
	}
	for i := range requests {
		if fresh, err := towers[i%3].Accept(ctx, dm(fmt.Sprint(i), key(byte(i%askers)))); err != nil || !fresh {
			t.Fatalf("accept: %v, %v", fresh, err)
		}
	}
	wg.Wait()
	for i := range requests {
		if n := a.of[timmy.RequestID(fmt.Sprint(i))]; n != 1 {
			t.Errorf("request %d was answered %d times", i, n)
		}
	}
	for i := range askers {
		f.posted(timmy.UserAccount(key(byte(i))), (1000-3*requests/askers)*sat)
	}
	f.verify()
}

// Excludes: lost updates and overdrafts when several towers debit one account at
// once, and callers who hear of the others' conflicts.
func TestTowersDebitOneAccount(t *testing.T) {
	if server == nil {
		return
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	var towers []*mate
	for range 4 {
		towers = append(towers, newMate(t, url, 0))
	}
	f := &fix{Ledger: towers[0].Ledger, t: t, clock: &clock{t: time.Now()}}
	k := key(1)
	f.give(timmy.UserAccount(k), 500*sat)
	a := &answers{of: map[timmy.RequestID]int{}}
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			m := towers[g%4]
			for i := range 5 {
				r := dm(fmt.Sprintf("%d-%d", g, i), k)
				r.Front, r.Wait = timmy.FrontREST, false
				j, ok, err := m.Start(t.Context(), &r, quote(7*sat, 0))
				if timmy.CodeOf(err) == timmy.Unpaid {
					continue
				}
				if err != nil || !ok {
					t.Errorf("start: %v %v", ok, err)
					return
				}
				if _, err := m.Finish(t.Context(), j, complete(7*sat, 0)); err != nil {
					t.Errorf("finish: %v", err)
					return
				}
				a.add(r.ID)
			}
		})
	}
	wg.Wait()
	if a.count() != 71 {
		t.Errorf("%d debits, want 71", a.count())
	}
	f.posted(timmy.UserAccount(k), 3*sat)
	f.verify()
}

// Excludes: a tower that hears of another's work only when it looks.
func TestATowerHearsOfAnothersWork(t *testing.T) {
	if server == nil {
		return
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	one, other := newMate(t, url, 0), newMate(t, url, 0)
	for i := range 100 { // the listener may not be there yet
		if _, err := one.Accept(t.Context(), dm(fmt.Sprint(i), key(1))); err != nil {
			t.Fatal(err)
		}
		select {
		case <-other.Queued():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Error("nothing was heard")
}

// Excludes: an Idempotency-Key that another living tower holds and that is run twice.
func TestAnotherTowersCallIsNotTakenOver(t *testing.T) {
	if server == nil {
		return
	}
	url, err := server.Database()
	if err != nil {
		t.Fatal(err)
	}
	one, other := newMate(t, url, -time.Hour), newMate(t, url, time.Hour)
	if i, err := one.Reserve(t.Context(), "k", [32]byte{1}, "a"); err != nil || i.State != IdemFresh {
		t.Fatalf("first: %+v, %v", i, err)
	}
	if i, err := other.Reserve(t.Context(), "k", [32]byte{1}, "b"); err != nil || i.State != IdemInFlight {
		t.Errorf("while it runs: %+v, %v", i, err)
	}
	time.Sleep(shortLease + 200*time.Millisecond)
	if i, err := other.Reserve(t.Context(), "k", [32]byte{1}, "b"); err != nil || i.State != IdemFresh || i.Subject != "a" {
		t.Errorf("when its tower is dead: %+v, %v", i, err)
	}
	if err := one.Drop(t.Context(), "k"); err != nil { // it was not dead, and its call was refused
		t.Error(err)
	}
	if i, err := one.Reserve(t.Context(), "k", [32]byte{1}, "c"); err != nil || i.State != IdemInFlight {
		t.Errorf("the key that another tower has: %+v, %v", i, err)
	}
	if err := other.Drop(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if i, err := one.Reserve(t.Context(), "k", [32]byte{1}, "c"); err != nil || i.State != IdemFresh || i.Subject != "c" {
		t.Errorf("a freed key: %+v, %v", i, err)
	}
}

// Excludes: a schema that only one of the two databases gets.
func TestBothDatabasesHaveTheSameMigrations(t *testing.T) {
	names := func(dir string) (list []string) {
		entries, err := migrations.ReadDir("migrations/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	if a, b := names("sqlite"), names("postgres"); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("SQLite has %v, PostgreSQL %v", a, b)
	}
}
