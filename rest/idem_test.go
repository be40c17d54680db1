package rest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

const keyUUID = "Idempotency-Key: 6b1f0f0e-0000-4000-8000-00000000000"

// TestIdempotencyKeysAreRead: bounds, and a UUID where nothing else protects the
// answer from a stranger who guesses the key.
func TestIdempotencyKeysAreRead(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("5000")
	const body = `{"amount_sats":500}`
	for _, bad := range []string{"", strings.Repeat("k", 256), "schlüssel", "a\tb"} {
		d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, "Idempotency-Key: "+bad), 400, "")
		d.want(d.call("POST", "/sessions/"+id+"/topup", body, auth, "Idempotency-Key: "+bad), 400, "")
		d.want(d.call("POST", "/sessions", body, "Idempotency-Key: "+bad), 400, "")
	}
	d.want(d.call("POST", "/sessions/"+id+"/topup", body, auth, "Idempotency-Key: a", "Idempotency-Key: a"), 400, "")
	d.want(d.call("POST", "/sessions", body, "Idempotency-Key: order 17"), 400, "Idempotency-Key must be a UUID")
	d.want(d.call("POST", "/sessions", body, keyUUID+"1"), 201, "")
	d.want(d.call("POST", "/sessions", body, "Idempotency-Key: order 17", "X-Nostr-Token: "+d.api.token(alice, d.clock().Add(time.Hour))), 201, "")
	d.want(d.call("POST", "/sessions/"+id+"/topup", body, auth, "Idempotency-Key: "+strings.Repeat("k", 255)), 200, "")
}

// TestARepeatedCallIsAnsweredTheSame: D11, a retry made a second session, a
// second invoice, a second charge.
func TestARepeatedCallIsAnsweredTheSame(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	for _, c := range []struct {
		path, body, other, key string
		status                 int
	}{
		{"/sessions", `{"amount_sats":500}`, `{"amount_sats":501}`, keyUUID + "2", 201},
		{"/sessions/" + id + "/request", `{"request":"hi"}`, `{"request":"ho"}`, "Idempotency-Key: one", 200},
		{"/sessions/" + id + "/topup", `{"amount_sats":500}`, `{"amount_sats":501}`, "Idempotency-Key: one", 200},
	} {
		first := d.want(d.call("POST", c.path, c.body, auth, c.key), c.status, "")
		if first.header.Get("Idempotency-Replayed") != "" {
			t.Error("the first answer says replayed")
		}
		again := d.want(d.call("POST", "/api"+c.path, c.body, auth, c.key), c.status, "")
		if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("got %s, want %s", again.body, first.body)
		}
		d.want(d.call("POST", c.path, c.other, auth, c.key), 422, "")
	}
	if d.runs != 1 || d.made != 3 {
		t.Errorf("%d runs, %d invoices", d.runs, d.made)
	}
	d.pass(life + time.Second) // the kept answer outlives the session
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, "Idempotency-Key: one"), 200, "")
}

// TestKeysBelongToACredential: nobody is given another's answer for a key that
// both use.
func TestKeysBelongToACredential(t *testing.T) {
	d := open(t, nil)
	a, authA := d.funded("500")
	b, authB := d.funded("500")
	const key = "Idempotency-Key: same"
	ga := d.want(d.call("POST", "/sessions/"+a+"/request", `{"request":"a"}`, authA, key), 200, "")
	gb := d.want(d.call("POST", "/sessions/"+b+"/request", `{"request":"b"}`, authB, key), 200, "")
	if ga.str("result") == gb.str("result") {
		t.Errorf("both got %s", ga.body)
	}
	d.want(d.call("POST", "/sessions/"+a+"/request", `{"request":"a"}`, authB, key), 401, "")
	owner := func(k timmy.PubKey) with { return "X-Nostr-Token: " + d.api.token(k, d.clock().Add(time.Hour)) }
	sa := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, owner(alice), key), 201, "")
	sb := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, owner(bob), key), 201, "")
	if sa.str("sessionId") == sb.str("sessionId") {
		t.Error("two owners share a session")
	}
}

// TestRefusalsFreeTheKey: a corrected try may use it again.
func TestRefusalsFreeTheKey(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("100")
	const key = "Idempotency-Key: k"
	d.sessions[id].posted = 0
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 402, "")
	if len(d.keys) != 0 {
		t.Errorf("kept %v", d.keys)
	}
	d.sessions[id].posted = 100 * timmy.Sat
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"ho"}`, auth, key), 200, "")
	d.want(d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":100}`, auth), 200, "")
	d.want(d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":100}`, auth, "Idempotency-Key: t"), 409, msgPending)
	d.wallet = func(timmy.TopUp) error { return timmy.Errorf(timmy.Unavailable, "away") }
	d.want(d.call("POST", "/sessions", `{"amount_sats":100}`, keyUUID+"3"), 503, "")
	d.wallet = nil
	d.want(d.call("POST", "/sessions", `{"amount_sats":100}`, keyUUID+"3"), 201, "")
}

// TestOneKeyRunsOnce: fifty at once with one key are one charge; the others are
// told to wait, and then get the same answer.
func TestOneKeyRunsOnce(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("5000")
	gate := make(chan struct{})
	d.work = func(timmy.Request) { <-gate }
	var ran, busy atomic.Int32
	var wg sync.WaitGroup
	post := func() got {
		return d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, "Idempotency-Key: once")
	}
	for range 50 {
		wg.Go(func() {
			switch g := post(); {
			case g.status == 200:
				ran.Add(1)
			case g.status == 409 && g.header.Get("Retry-After") != "":
				if busy.Add(1) == 49 {
					close(gate)
				}
			default:
				t.Errorf("got %d %s", g.status, g.body)
			}
		})
	}
	wg.Wait()
	if ran.Load() != 1 || d.runs != 1 {
		t.Errorf("%d answers, %d runs", ran.Load(), d.runs)
	}
	if g := d.want(post(), 200, ""); g.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %v", g.header)
	}
}

// TestACallCutOffByACrashRunsOnce: the key's subject is the request's id, so the
// second try finds what the first one did.
func TestACallCutOffByACrashRunsOnce(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	key := "Idempotency-Key: crash"
	d.fail = func(m string) error {
		if m == "keep" {
			return timmy.Errorf(timmy.Internal, "killed")
		}
		return nil
	}
	first := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 200, "")
	s1 := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, keyUUID+"4"), 201, "")
	d.fail = nil
	d.crash()
	d.api.unsettled.by.Purge()
	if again := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 200, ""); again.body != first.body {
		t.Errorf("got %s, want %s", again.body, first.body)
	}
	if s2 := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`, keyUUID+"4"), 201, ""); s2.body != s1.body {
		t.Errorf("got %s, want %s", s2.body, s1.body)
	}
	if d.runs != 1 || d.made != 2 {
		t.Errorf("%d runs, %d invoices", d.runs, d.made)
	}
}

// Excludes a key that stays in flight, or whose work is done again, because the books
// could not be written when it was answered.
func TestAKeyIsSettledOnceTheBooksCanBeWritten(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	const key = "Idempotency-Key: full"
	full := func(m string) error {
		if m == "keep" || m == "drop" {
			return timmy.Errorf(timmy.Internal, "disk full")
		}
		return nil
	}
	ask := func(status int) got {
		t.Helper()
		return d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), status, "")
	}
	d.fail = full
	d.sessions[id].posted = 0
	ask(402)
	ask(409)
	d.fail = nil
	ask(402)
	d.sessions[id].posted = 500 * timmy.Sat
	d.fail = full
	first := ask(200)
	ask(200) // of a request the answer is known, even so
	d.fail = nil
	if again := ask(200); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %s, want %s", again.body, first.body)
	}
	if d.runs != 1 || d.api.unsettled.by.Len() != 0 {
		t.Errorf("%d runs, %d answers wait", d.runs, d.api.unsettled.by.Len())
	}
}

// Excludes a key that is freed for a second call while the first one's is running,
// because both came with a refusal that had to be settled.
func TestARefusalIsSettledByOneCaller(t *testing.T) {
	for range 50 {
		d := open(t, nil)
		id, auth := d.funded("500")
		var over atomic.Int32
		d.fail = func(m string) error {
			if m == "drop" {
				return timmy.Errorf(timmy.Internal, "disk full")
			}
			return nil
		}
		post := func() got {
			return d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, "Idempotency-Key: one")
		}
		d.sessions[id].posted = 0
		d.want(post(), 402, "")
		d.fail = nil
		d.sessions[id].posted = 500 * timmy.Sat
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if g := post(); g.status == 200 && g.header.Get("Idempotency-Replayed") == "" {
					over.Add(1)
				} else if g.status != 200 && g.status != 409 {
					t.Errorf("got %d %s", g.status, g.body)
				}
			})
		}
		all.Wait()
		if d.runs != 1 {
			t.Fatalf("%d runs, %d fresh answers", d.runs, over.Load())
		}
	}
}

// TestAnUnknownOutcomeKeepsTheKey: after a 500 that may have charged, the key
// must not run the request again.
func TestAnUnknownOutcomeKeepsTheKey(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	const key = "Idempotency-Key: k"
	d.desk = func(r timmy.Request) error {
		d.replies[r.ID] = &fakeReply{done: make(chan struct{}), Reply: timmy.Reply{Request: r.ID, Payer: r.Payer}}
		return timmy.Errorf(timmy.Internal, "commit: unknown")
	}
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 500, "Request failed")
	d.desk = nil
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 409, "")
}
