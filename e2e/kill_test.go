package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// books is what the callers of a kill test know for sure: what they paid, and
// what they were told it cost.
type books struct {
	mu       sync.Mutex
	paid     map[string]int64 // payment hash → sats
	charged  map[string]int64 // request id → sats
	balances map[string]int64 // session → sats it must hold
	asked    []*asker
}

func newBooks() *books {
	return &books{paid: map[string]int64{}, charged: map[string]int64{}, balances: map[string]int64{}}
}

// seed is TIMMY_SEED, or a new one. It is logged: the same seed makes the same
// choices again.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("TIMMY_SEED"), 10, 64); err == nil {
		n = given
	}
	t.Logf("TIMMY_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 1))
}

// TestKilledAtAnyInstant kills the tower (-9) again and again under mixed load:
// HTTP sessions with idempotency keys, direct messages, zaps and payments. In the
// end every paid invoice is credited once, every request that was accepted is
// answered once and charged once, and the books verify.
func TestKilledAtAnyInstant(t *testing.T) {
	kills := 200
	if n, err := strconv.Atoi(os.Getenv("TIMMY_KILLS")); err == nil {
		kills = n
	}
	rng := seed(t)
	tw := startTower(t, "TIMMY_LOG_LEVEL=warn", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0")
	b := newBooks()
	end := b.mixedLoad(t, tw, 3)
	began := time.Now()
	for i := range kills {
		time.Sleep(time.Duration(10+rng.IntN(200)) * time.Millisecond)
		tw.kill()
		if err := tw.tryStart(); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
	}
	t.Logf("%d kills in %v", kills, time.Since(began).Round(time.Second))
	end()
	b.check(t, tw)
}

// mixedLoad starts so many callers over HTTP and as many by direct message, and
// returns what ends them.
func (b *books) mixedLoad(t *testing.T, tw *tower, each int) (end func()) {
	t.Helper()
	me := tw.pubkey()
	var over atomic.Bool
	var load sync.WaitGroup
	for range each {
		load.Go(func() { httpLoad(t, tw, b, &over) })
		a := newAsker(t, tw, me)
		b.asked = append(b.asked, a)
		load.Go(func() { a.load(b, &over) })
	}
	return func() { over.Store(true); load.Wait() }
}

// check compares what the callers know with what the tower says.
func (b *books) check(t *testing.T, tw *tower) {
	t.Helper()
	for _, a := range b.asked {
		a.settle()
	}
	a := newAPI(t, tw)
	for id, want := range b.balances {
		waitFor(t, fmt.Sprintf("session balance of %d sats", want), func() bool {
			return a.call(200, "GET", "/sessions/"+id, "").num("balanceSats") == want
		})
	}
	questions := 0
	for _, a := range b.asked {
		questions += a.check()
	}
	tw.verifyBooks()
	if code := tw.stop(); code != 0 {
		t.Fatalf("SIGTERM: exit code %d", code)
	}
	settled := readBooks(t, tw, `SELECT count(*) FROM postings WHERE key LIKE 'settle:%'`)
	if settled != int64(len(b.paid)) {
		t.Fatalf("%d payments were credited, %d were paid", settled, len(b.paid))
	}
	open := readBooks(t, tw, `SELECT coalesce(sum(held), 0) FROM accounts`)
	if open != 0 {
		t.Fatalf("%d msat are still held with nothing running", open)
	}
	t.Logf("%d payments, %d HTTP requests, %d direct messages", len(b.paid), len(b.charged), questions)
	if len(b.charged) < 10 || questions < 10 {
		t.Fatal("too little happened for this test to mean anything")
	}
}

// httpLoad opens sessions, pays them and asks, each call repeated under its
// Idempotency-Key until it is answered.
func httpLoad(t *testing.T, tw *tower, b *books, over *atomic.Bool) {
	a := newAPI(t, tw)
	for !over.Load() {
		id, bearer, ok := b.session(a, `{"amount_sats":400}`, 400)
		if !ok {
			return
		}
		balance := int64(400)
		for n := range 6 {
			body := fmt.Sprintf(`{"request":"What is %d*%d?"}`, n+2, n+3)
			done, ok := until200(a, "POST", "/sessions/"+id+"/request", body, "Authorization", bearer, "Idempotency-Key", newUUID())
			if !ok {
				return
			}
			if done.status == 402 {
				break
			}
			if done.str("state") == "complete" && !strings.Contains(done.str("result"), strconv.Itoa((n+2)*(n+3))) {
				t.Errorf("a wrong answer: %s", done.raw)
			}
			balance -= done.num("debitedSats")
			b.mu.Lock()
			b.charged[done.str("requestId")] = done.num("debitedSats")
			b.mu.Unlock()
		}
		b.mu.Lock()
		b.balances[id] = balance
		b.mu.Unlock()
	}
}

// session opens a session and pays its deposit, whatever is killed meanwhile. When
// the invoice has expired before that, it opens another.
func (b *books) session(a *api, body string, sats int64, header ...string) (id, bearer string, ok bool) {
	created, ok := until200(a, "POST", "/sessions", body, append(header, "Idempotency-Key", newUUID())...)
	if !ok {
		return "", "", false
	}
	switch err := b.pay(a, created.obj("invoice"), sats); {
	case errors.Is(err, errLapsed):
		return b.session(a, body, sats, header...)
	case err != nil:
		a.t.Error(err)
		return "", "", false
	}
	id = created.str("sessionId")
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if view, err := a.try("GET", "/sessions/"+id, ""); err == nil && view.str("state") == "active" {
			return id, "Bearer " + view.str("macaroon"), true
		}
	}
	a.t.Errorf("a paid session was not active after three minutes")
	return "", "", false
}

func (b *books) pay(a *api, invoice answer, sats int64) error {
	if err := payUntilPaid(a.tw, invoice.str("paymentRequest")); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paid[invoice.str("paymentHash")] = sats
	return nil
}

// until200 repeats a call until the tower is up and answers it.
func until200(a *api, method, path, body string, header ...string) (answer, bool) {
	last := ""
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		got, err := a.try(method, path, body, header...)
		last = fmt.Sprint(got.status, " ", got.raw, " ", err)
		if err == nil && (got.status == 200 || got.status == 201 || got.status == 402) {
			return got, true
		}
		if err == nil && got.status != 409 && got.status != 429 && got.status != 503 {
			a.t.Errorf("%s %s: status %d: %s", method, path, got.status, got.raw)
			return got, false
		}
	}
	a.t.Errorf("%s %s was not answered within three minutes, at last: %s", method, path, last)
	return answer{}, false
}
