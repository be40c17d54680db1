package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/nip"
)

// identify trades a signed HTTP event for a token, as a client with a key does.
func identify(a *api, key nip.Key) (token, proof string) {
	a.t.Helper()
	const path = "/identity/token"
	proof, err := nip.SignHTTP(key, http.MethodPost, a.tw.http()+path, nil, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return a.call(200, http.MethodPost, path, "", "Authorization", proof).str("nostr_token"), proof
}

func newDoorAsker(t *testing.T, tw *tower) *asker {
	who := newAsker(t, tw, tw.pubkey())
	who.b = &books{paid: map[string]int64{}}
	return who
}

var balanceLine = regexp.MustCompile(`(?m)^Balance: (\d+) sats?`)

// reply waits for the message that is no bill, in answer to text.
func (a *asker) reply(text string) string {
	a.t.Helper()
	a.ask(text, "")
	var got string
	waitFor(a.t, "an answer to "+text, func() bool {
		said, err := a.messages()
		if err != nil {
			return false
		}
		for id := range a.asks {
			for _, m := range said[id] {
				if final(m) {
					got = m
				}
			}
		}
		return got != ""
	})
	clear(a.asks)
	return got
}

// TestOneAccountForThreeDoors excludes that sats which came in by one door cannot
// be spent, or can be spent twice, by another: a zap fills the account, a session
// bound to the key spends from it, and so does a direct message.
func TestOneAccountForThreeDoors(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_POOL_SATS=0")
	a, who := newAPI(t, tw), newDoorAsker(t, tw)
	if !who.zap(1000) {
		t.FailNow()
	}
	token, proof := identify(a, who.key)
	a.call(401, http.MethodPost, "/identity/token", "", "Authorization", proof)
	if me := a.call(200, "GET", "/identity/me", "", "X-Nostr-Token", token); me.str("pubkey") != who.key.Public().String() {
		t.Fatalf("the token is of somebody else: %s", me.raw)
	}
	id, bearer := a.session("100", "X-Nostr-Token", token)
	view := a.call(200, "GET", "/sessions/"+id, "")
	if view.str("nostrPubkey") != who.key.Public().String() || view.num("balanceSats") != 1100 {
		t.Fatalf("a bound session may draw on the account of its key: %s", view.raw)
	}
	left := int64(1100)
	for range 80 { // its own deposit goes first
		done := a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 6*7?"}`, "Authorization", bearer)
		left -= done.num("debitedSats")
		if done.num("balanceRemaining") != left {
			t.Fatalf("%d sats should be left: %s", left, done.raw)
		}
		if left < 1000 {
			break
		}
	}
	if said := who.reply("/balance"); balanceLine.FindStringSubmatch(said)[1] != strconv.FormatInt(left, 10) {
		t.Fatalf("by message %q, by HTTP %d sats", said, left)
	}
	said := who.reply("What is 12*12?")
	m := regexp.MustCompile(`— (\d+) sats? · (\d+) left`).FindStringSubmatch(said)
	if m == nil || !strings.Contains(said, "144") {
		t.Fatalf("answer by message: %q", said)
	}
	cost, _ := strconv.ParseInt(m[1], 10, 64)
	if got := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); cost < 1 || got != left-cost || m[2] != fmt.Sprint(got) {
		t.Fatalf("after %q the session has %d sats, want %d", said, got, left-cost)
	}
	tw.verifyBooks()
}

// TestThePoolPaysForNewKeys excludes a free pool that is announced and serves
// nobody, or that serves strangers without a key.
func TestThePoolPaysForNewKeys(t *testing.T) {
	t.Parallel()
	tw := startTower(t, "TIMMY_POOL_SATS=1000")
	a, who := newAPI(t, tw), newDoorAsker(t, tw)
	if said := who.reply("What is 11*11?"); !strings.Contains(said, "121") {
		t.Fatalf("a new key asks: %q", said)
	}
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := identify(a, key)
	ask := func(header ...string) answer {
		id, bearer := a.session("500", header...)
		return a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 6*7?"}`, "Authorization", bearer)
	}
	free := ask("X-Nostr-Token", token)
	if free.body["free_tier"] != true || free.num("debitedSats") != 0 || free.num("balanceRemaining") != 500 ||
		free.num("absorbed_sats") < 1 || free.num("absorbed_sats") != free.obj("cost").num("totalSats") {
		t.Fatalf("a bound session is served by the pool: %s", free.raw)
	}
	paid := ask()
	if _, has := paid.body["free_tier"]; has || paid.num("debitedSats") < 1 {
		t.Fatalf("an unbound session pays: %s", paid.raw)
	}
	tw.verifyBooks()
}

// TestProgressIsStreamed excludes a stream that is buffered until the end, that
// tells of other people's requests, or that leaks a request's id to operators.
func TestProgressIsStreamed(t *testing.T) {
	t.Parallel()
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tw := startTower(t, "TIMMY_OPERATORS="+key.Public().String())
	a := newAPI(t, tw)
	id, bearer := a.session("500")
	_, stranger := a.session("500")
	a.call(401, "GET", "/sessions/"+id+"/events", "", "Authorization", stranger)
	proof, err := nip.SignHTTP(key, http.MethodGet, tw.http()+"/events", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own := follow(t, tw.http()+"/sessions/"+id+"/events", bearer)
	all := follow(t, tw.http()+"/events", proof)
	done := a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 6*7?"}`, "Authorization", bearer)
	request := done.str("requestId")
	if line := await(t, own, "cost:update"); !strings.Contains(line, request) || !strings.Contains(line, `"isFinal":true`) ||
		!strings.Contains(line, fmt.Sprintf(`"sats":%d`, done.num("debitedSats"))) {
		t.Fatalf("the session's stream: %s", line)
	}
	if line := await(t, all, "cost:update"); strings.Contains(line, request) || strings.Contains(line, id) {
		t.Fatalf("operators see an id that is a capability: %s", line)
	}
}

// follow reads the data lines of an event stream until the test is over.
func follow(t *testing.T, url, authorization string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%s: %s", url, res.Status)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			if data, ok := strings.CutPrefix(s.Text(), "data:"); ok {
				lines <- data
			}
		}
	}()
	return lines
}

func await(t *testing.T, lines <-chan string, what string) string {
	t.Helper()
	for line := range lines {
		if strings.Contains(line, what) {
			return line
		}
	}
	t.Fatalf("the stream ended without %s", what)
	return ""
}
