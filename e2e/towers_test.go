package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/timmy-tower/timmy/db/pgtest"
)

// startServer starts a PostgreSQL server and gives the address of one database on it.
func startServer(t *testing.T) string {
	t.Helper()
	s, err := pgtest.Start(pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := s.Database()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// fleet is several towers with one key, one wallet and one database.
type fleet struct {
	t      *testing.T
	url    string
	node   *lnbits
	towers []*tower
	api    []*api
}

func startFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t, url: startServer(t), node: startLNbits(t)}
	for i := range n {
		tw := newTower(t, append(f.node.env(), "TIMMY_DATABASE_URL="+f.url, "TIMMY_LOG_LEVEL=warn", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0")...)
		for _, name := range []string{"tower.key", "server.key"} {
			if i == 0 {
				break // it makes them
			}
			raw, err := os.ReadFile(filepath.Join(f.towers[0].data, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tw.data, name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tw.start()
		f.towers, f.api = append(f.towers, tw), append(f.api, newAPI(t, tw))
	}
	return f
}

// session pays one at the wallet.
func (f *fleet) session(sats int64) (id, bearer string) {
	f.t.Helper()
	created := f.api[0].call(201, "POST", "/sessions", fmt.Sprintf(`{"amount_sats":%d}`, sats))
	if _, err := f.node.node.Pay(context.Background(), created.obj("invoice").str("paymentRequest"), 0); err != nil {
		f.t.Fatal(err)
	}
	id = created.str("sessionId")
	return id, "Bearer " + f.api[0].active(id).str("macaroon")
}

// insist repeats a call at one tower after the other until it is answered.
func (f *fleet) insist(path, body, bearer string, first int) (answer, error) {
	key, last := newUUID(), ""
	for n, end := first, time.Now().Add(5*time.Minute); time.Now().Before(end); n++ {
		got, err := f.api[n%len(f.api)].try("POST", path, body, "Authorization", bearer, "Idempotency-Key", key)
		if err == nil && got.status == 200 {
			return got, nil
		}
		if err == nil && got.status != 409 && got.status != 503 {
			return got, fmt.Errorf("status %d: %s", got.status, got.raw)
		}
		last = fmt.Sprint(got.status, " ", got.raw, " ", err)
		time.Sleep(50 * time.Millisecond)
	}
	return answer{}, fmt.Errorf("no answer within five minutes, at last: %s", last)
}

// TestFourTowersOnOneDatabase shares the work of callers over HTTP and by direct
// message among four towers, of which one is killed again and again. What a caller
// was not answered by a dead tower another answers, at the latest when the lease of
// the dead is over: no request is answered or charged twice, and none is lost.
func TestFourTowersOnOneDatabase(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	f := startFleet(t, 4)
	const callers, deposit, kills = 6, 10_000, 12
	var over atomic.Bool
	var load sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{} // request ids
	for c := range callers {
		id, bearer := f.session(deposit)
		load.Go(func() {
			spent := int64(0)
			for n := 0; !over.Load(); n++ {
				got, err := f.insist("/sessions/"+id+"/request", fmt.Sprintf(`{"request":"What is %d*%d?"}`, n+3, n+4), bearer, c+n)
				if err != nil || !strings.Contains(strings.ReplaceAll(got.str("result"), ",", ""), fmt.Sprint((n+3)*(n+4))) {
					t.Errorf("question %d of caller %d: %v %s", n, c, err, got.raw)
					return
				}
				spent += got.num("debitedSats")
				mu.Lock()
				if seen[got.str("requestId")] {
					t.Errorf("request %s was given to two questions", got.str("requestId"))
				}
				seen[got.str("requestId")] = true
				mu.Unlock()
			}
			if left := f.api[0].call(200, "GET", "/sessions/"+id, "").num("balanceSats"); left != deposit-spent {
				t.Errorf("%d sats are left of %d, and the answers cost %d", left, deposit, spent)
			}
		})
	}
	questions := f.write(&over, &load)
	victim := f.towers[3]
	for range kills {
		time.Sleep(time.Duration(300+rng.IntN(1200)) * time.Millisecond)
		victim.kill()
		if err := victim.tryStart(); err != nil {
			t.Fatal(err)
		}
	}
	over.Store(true)
	load.Wait()
	f.answered(questions)
	f.verify(len(seen) + len(questions.asks))
	t.Logf("%d requests over HTTP, %d direct messages, %d kills", len(seen), len(questions.asks), kills)
	if len(seen) < 50 || len(questions.asks) < 10 {
		t.Error("too little happened for this test to mean anything")
	}
}

// write has somebody write to each tower in turn, whose commands cost nothing.
func (f *fleet) write(over *atomic.Bool, load *sync.WaitGroup) *asker {
	a := newAsker(f.t, f.towers[0], f.towers[0].pubkey())
	load.Go(func() {
		for n := 0; !over.Load(); n++ {
			a.tw = f.towers[n%len(f.towers)]
			a.ask("/balance", "sats")
			time.Sleep(200 * time.Millisecond)
		}
	})
	return a
}

// answered waits until every message has its answer on the relay of every tower, whichever
// answered, and fails the test if one has two.
func (f *fleet) answered(a *asker) {
	f.t.Helper()
	count := func() map[string]int {
		said := map[string]int{}
		found, err := a.messages()
		if err != nil {
			f.t.Logf("reading: %v", err)
		}
		for question, texts := range found {
			for _, text := range texts {
				if strings.Contains(text, a.asks[question]) {
					said[question]++
				}
			}
		}
		return said
	}
	for i, tw := range f.towers {
		a.tw = tw
		waitFor(f.t, fmt.Sprintf("an answer to every message at tower %d", i), func() bool {
			said := count()
			for question := range a.asks {
				if said[question] == 0 {
					return false
				}
			}
			return true
		})
		for question, n := range count() {
			if n != 1 {
				f.t.Errorf("message %s has %d answers at tower %d", question, n, i)
			}
		}
	}
}

// verify has the books checked and counts what is in them.
func (f *fleet) verify(requests int) {
	f.t.Helper()
	for _, tw := range f.towers {
		if code := tw.stop(); code != 0 {
			f.t.Errorf("SIGTERM: exit code %d", code)
		}
	}
	f.towers[0].arm = []string{"TIMMY_DATABASE_URL=" + f.url}
	f.towers[0].verifyBooks()
	d, err := sql.Open("pgx", f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	defer d.Close()
	var n, held int64
	if err := d.QueryRow(`SELECT (SELECT count(*) FROM requests), (SELECT sum(held) FROM accounts)`).Scan(&n, &held); err != nil {
		f.t.Fatal(err)
	}
	if n != int64(requests) || held != 0 {
		f.t.Errorf("%d requests are in the books and %d msat are held, want %d and 0", n, held, requests)
	}
}
