package rest

import (
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestRequestChecksInTheDocumentedOrder: body, session, bearer, expiry, balance,
// state.
func TestRequestChecksInTheDocumentedOrder(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	p, nowhere := "/sessions/"+id+"/request", "/sessions/unknown/request"
	for _, bad := range []string{
		"", "{}", "[]", "null", `"hi"`, `{"request":""}`, `{"request":"   "}`, `{"request":"\u00a0\ufeff\n"}`, `{"request":5}`,
		`{"request":["hi"]}`, `{"request":null}`, `{"request":"hi"`, `{"Request":"hi"}`, "{\"request\":\"\xff\"}",
	} {
		d.want(d.call("POST", nowhere, bad), 400, msgText)
	}
	d.want(d.call("POST", nowhere, `{"request":"a\u0000b"}`), 400, "")
	d.want(d.call("POST", nowhere, `{"request":"`+strings.Repeat("x", 16385)+`"}`), 413, "request too long")
	d.want(d.call("POST", nowhere, `{"request":"hi"}`), 404, msgNoSession)
	d.want(d.call("POST", p, `{"request":"hi"}`), 401, msgBearer)
	d.want(d.call("POST", p, `{"request":" `+strings.Repeat("x", 16384)+` "}`, auth), 200, "")

	w := d.want(d.call("POST", "/sessions", `{"amount_sats":500}`), 201, "").str("sessionId")
	d.want(d.call("POST", "/sessions/"+w+"/request", `{"request":"hi"}`, auth), 401, msgBearer)

	d.sessions[id].State = timmy.SessionPaused
	d.sessions[id].posted = 7*timmy.Sat + 1
	g := d.want(d.call("POST", p, `{"request":"hi"}`, auth), 402, "Insufficient balance")
	if f := fields(g.json); !maps.Equal(f, set("error", "balance", "minimumRequired")) || g.num("balance") != 7 || g.num("minimumRequired") != 50 {
		t.Errorf("got %s", g.body)
	}
	d.sessions[id].State = "odd"
	d.want(d.call("POST", p, `{"request":"hi"}`, auth), 409, "Session is in state 'odd'")
	d.sessions[id].State = timmy.SessionActive
	d.want(d.call("POST", p, `{"request":"hi"}`, auth), 402, "Insufficient balance")
	d.pass(life + time.Second)
	d.want(d.call("POST", p, `{"request":"hi"}`), 401, msgBearer)
	d.want(d.call("POST", p, `{"request":"hi"}`, auth), 410, msgExpired)
}

// TestRequestIDsAreInTheOrderOfTime, which is what they begin with (UUID 7), and people are
// shown the last digits.
func TestRequestIDsAreInTheOrderOfTime(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	before := "019b7ca9-8c8e-7" // 2026-01-02T03:04:05.006Z
	for range 5 {
		got := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "").str("requestId")
		if !isUUID(got) || got[14] != '7' || got < before || timmy.RequestID(got).Short() != got[32:] {
			t.Errorf("%s, after %s", got, before)
		}
		before = got
		d.pass(time.Millisecond)
	}
}

// TestReplyHasTheDocumentedFields for every outcome, and fetches the same again.
func TestReplyHasTheDocumentedFields(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("5000")
	always := []string{"requestId", "state", "debitedSats", "balanceRemaining", "cost"}
	sat := timmy.Sat
	for _, c := range []struct {
		name    string
		outcome func(*timmy.Reply)
		extra   []string
		debited int
	}{
		{"complete", nil, []string{"result"}, 20},
		{"rejected", func(r *timmy.Reply) {
			r.Outcome.State, r.Outcome.Text, r.Outcome.Reason = timmy.StateRejected, "", "no <b>"
			r.Outcome.Cost = timmy.Cost{Eval: 5 * sat, Total: 5 * sat, Charged: 5 * sat}
		}, []string{"reason"}, 5},
		{"failed", func(r *timmy.Reply) {
			r.Outcome = timmy.Outcome{State: timmy.StateFailed, Reason: "the model is away", Rate: r.Outcome.Rate}
		}, []string{"errorMessage"}, 0},
		{"complete", func(r *timmy.Reply) {
			r.Outcome.Cost.Charged, r.Outcome.Cost.Absorbed = 8*sat, 12*sat
		}, []string{"result", "free_tier", "absorbed_sats"}, 8},
	} {
		d.mu.Lock()
		d.outcome = c.outcome
		d.mu.Unlock()
		g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "")
		if f := fields(g.json); !maps.Equal(f, set(append(c.extra, always...)...)) {
			t.Errorf("%s: fields %v", c.name, f)
		}
		if g.str("state") != c.name || g.num("debitedSats") != c.debited || g.num("cost", "chargedSats") != c.debited ||
			g.num("cost", "evalSats")+g.num("cost", "workSats") != g.num("cost", "totalSats") || g.at("cost", "btcPriceUsd") != 60000.5 {
			t.Errorf("%s: got %s", c.name, g.body)
		}
		if again := d.want(d.call("GET", "/sessions/"+id+"/requests/"+g.str("requestId"), "", auth), 200, ""); again.body != g.body {
			t.Errorf("fetched %s, was told %s", again.body, g.body)
		}
	}
	if g := d.call("GET", "/sessions/"+id, ""); g.num("balanceSats") != 5000-33 {
		t.Errorf("got %s", g.body)
	}
}

// TestParallelRequestsNeverOverdraw: D4, N requests all passed the check and all
// ran. Money for three pays for three.
func TestParallelRequestsNeverOverdraw(t *testing.T) {
	d := open(t, nil)
	d.price = 50 * timmy.Sat
	id, auth := d.funded("150")
	var ran, unpaid atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch g := d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth); g.status {
			case 200:
				ran.Add(1)
			case 402:
				unpaid.Add(1)
			}
		})
	}
	wg.Wait()
	if ran.Load() != 3 || unpaid.Load() != 47 || d.sessions[id].posted != 0 {
		t.Errorf("%d ran, %d unpaid, %v left", ran.Load(), unpaid.Load(), d.sessions[id].posted)
	}
}

// TestDeskRefusalsHaveTheDocumentedWords: what the desk says after our own
// checks passed, in a race.
func TestDeskRefusalsHaveTheDocumentedWords(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{timmy.Errorf(timmy.Unpaid, "x"), 402, "Insufficient balance"},
		{timmy.Errorf(timmy.Expired, "x"), 410, msgExpired},
		{timmy.Errorf(timmy.Conflict, "x"), 409, "Session is in state 'active'"},
		{timmy.Errorf(timmy.Limited, "Two at a time"), 429, "Two at a time"},
		{timmy.Errorf(timmy.Unavailable, "The queue is full"), 503, "The queue is full"},
		{timmy.Errorf(timmy.Internal, "no column request_text"), 500, "Request failed"},
		{context.DeadlineExceeded, 503, "The tower is too busy"},
	} {
		d.desk = func(timmy.Request) error { return c.err }
		g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), c.status, c.text)
		if (c.status == 503 || c.status == 429) && g.header.Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", c.err)
		}
	}
	d.desk = func(r timmy.Request) error {
		if r.Wait || r.Front != timmy.FrontREST || r.Thread != "session:"+id || r.Payer != timmy.SessionAccount(id) || !isUUID(string(r.ID)) || r.Text != "hi" {
			t.Errorf("request %+v", r)
		}
		return timmy.Errorf(timmy.Unpaid, "x")
	}
	d.call("POST", "/sessions/"+id+"/request", `{"request":" hi\n"}`, auth)
}

// TestAHungUpCallerIsChargedOnce: D12, paid and the answer gone. It can be
// fetched, by the one who paid and nobody else.
func TestAHungUpCallerIsChargedOnce(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	_, stranger := d.funded("500")
	started, gate := make(chan string, 1), make(chan struct{})
	d.work = func(r timmy.Request) { started <- string(r.ID); <-gate }
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = d.try(ctx, "POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth)
	}()
	rid := <-started
	p := "/sessions/" + id + "/requests/" + rid
	g := d.want(d.call("GET", p, "", auth), 202, "")
	if g.str("requestId") != rid || g.str("state") != "running" || g.header.Get("Retry-After") == "" {
		t.Errorf("got %s", g.body)
	}
	hangUp()
	<-gone
	close(gate)
	<-d.replies[timmy.RequestID(rid)].done
	if g = d.want(d.call("GET", p, "", auth), 200, ""); g.str("result") != "answer to hi" {
		t.Errorf("got %s", g.body)
	}
	if d.sessions[id].posted != 480*timmy.Sat || d.runs != 1 {
		t.Errorf("%v left after %d runs", d.sessions[id].posted, d.runs)
	}
	d.want(d.call("GET", p, ""), 401, msgBearer)
	d.want(d.call("GET", p, "", stranger), 401, msgBearer)
	other := d.call("POST", "/sessions", `{"amount_sats":500}`).str("sessionId")
	d.want(d.call("GET", "/sessions/"+other+"/requests/"+rid, "", auth), 401, msgBearer)
	second, itsAuth := d.funded("500")
	d.want(d.call("GET", "/sessions/"+second+"/requests/"+rid, "", itsAuth), 404, msgNoRequest)
	for _, bad := range []string{"unknown", "00000000-0000-4000-8000-000000000000", "%00"} {
		d.want(d.call("GET", "/sessions/"+id+"/requests/"+bad, "", auth), 404, msgNoRequest)
	}
	d.pass(life + time.Second)
	d.want(d.call("GET", p, "", auth), 200, "")
}

// TestAWaitThatEndsIsNoFailure: a client that is told 5xx repeats the call and
// pays twice; 202 names where the answer will be.
func TestAWaitThatEndsIsNoFailure(t *testing.T) {
	d := open(t, func(c *Config, _ *world) { c.RequestTimeout = 30 * time.Millisecond })
	id, auth := d.funded("500")
	gate := make(chan struct{})
	d.work = func(timmy.Request) { <-gate }
	const key = "Idempotency-Key: k"
	g := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 202, "")
	at := g.header.Get("Location")
	if at != "/sessions/"+id+"/requests/"+g.str("requestId") {
		t.Errorf("Location %q", at)
	}
	d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 409, "")
	close(gate)
	<-d.replies[timmy.RequestID(g.str("requestId"))].done
	first := d.want(d.call("GET", at, "", auth), 200, "")
	for range 2 {
		if again := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth, key), 200, ""); again.body != first.body {
			t.Errorf("got %s, want %s", again.body, first.body)
		}
	}
	if d.runs != 1 {
		t.Errorf("ran %d times", d.runs)
	}
}
