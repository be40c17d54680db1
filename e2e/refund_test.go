package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUnspentSatsGoBack: over HTTP, by message and with a token, into the wallet of
// another tower; the wallet's own journal says what left, also when the tower is
// killed (-9) at any moment of it.
func TestUnspentSatsGoBack(t *testing.T) {
	t.Parallel()
	payee := newAPI(t, startTower(t))
	target := func(sats int) string {
		created := payee.call(201, "POST", "/sessions", fmt.Sprintf(`{"amount_sats":%d}`, sats))
		return created.obj("invoice").str("paymentRequest")
	}
	off := payee.call(400, "POST", "/sessions", `{"amount_sats":100,"refund_address":"me@wallet.example"}`)
	if off.str("error") != "This tower gives no refunds" {
		t.Errorf("got %s", off.raw)
	}

	tw := startTower(t, "TIMMY_REFUNDS_SATS_PER_DAY=1500")
	a := newAPI(t, tw)
	id, bearer := a.session("2000")
	path := "/sessions/" + id + "/refund"
	order := func(sats int) string { return fmt.Sprintf(`{"destination":%q}`, target(sats)) }

	first := a.refunded(path, order(200), bearer)
	if first.str("state") != "paid" || first.num("amountSats") != 200 || first.num("feeMsat") != 1000 {
		t.Errorf("got %s", first.raw)
	}
	own := a.call(201, "POST", "/sessions", `{"amount_sats":100}`).obj("invoice").str("paymentRequest")
	a.call(400, "POST", path, fmt.Sprintf(`{"destination":%q}`, own), "Authorization", bearer)
	a.call(402, "POST", path, order(1795), "Authorization", bearer)
	a.call(429, "POST", path, order(1500), "Authorization", bearer)

	killed := map[int64]func() answer{}
	for n := range 6 {
		killed[int64(100+n)] = a.killedWhile(n, order(100+n))
	}
	if left := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); left != 1799 {
		t.Errorf("%d sats left", left)
	}
	for sats, state := range killed {
		told := state()
		if sent := sentBy(t, tw)[sats]; told.str("state") == "paid" && !sent {
			t.Errorf("%d sats are called paid, and the wallet paid none", sats)
		} else if sent {
			for end := time.Now().Add(60 * time.Second); state().str("state") != "paid"; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d sats were paid, and the caller is not told so: %s", sats, state().raw)
				}
			}
		}
	}
	tw.verifyBooks()
	list, err := tw.timmy("ledger", "refunds", "--all", "--json")
	if paid := strings.Count(list, `"state": "paid"`); err != nil || paid == 0 || paid > len(sentBy(t, tw)) {
		t.Errorf("the books list: %v\n%s", err, list)
	}

	a.tokenGoesBack(target(150))
	tw.verifyBooks()
}

// refunded asks for a refund, by its key again and again until it has its end: how
// long that takes is the machine's affair.
func (a *api) refunded(path, body, auth string) answer {
	a.t.Helper()
	out := answer{}
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		out, err = a.try("POST", path, body, "Authorization", auth, "Idempotency-Key", body[len(body)-20:])
		if err == nil && out.status == 200 {
			return out
		}
	}
	a.t.Fatalf("the refund has no end: %d %s", out.status, out.raw)
	return out
}

// killedWhile kills the tower n times four milliseconds after a refund was asked
// for, and gives back how to ask what became of it. One that was cut off between
// its row and the wallet stays open for minutes, unpaid.
func (a *api) killedWhile(n int, body string) (state func() answer) {
	a.t.Helper()
	id, bearer := a.session("200")
	try := func() answer {
		out, _ := a.try("POST", "/sessions/"+id+"/refund", body, "Authorization", bearer, "Idempotency-Key", "k")
		return out
	}
	done := make(chan struct{})
	go func() { defer close(done); try() }()
	time.Sleep(time.Duration(n*4) * time.Millisecond)
	a.tw.restart()
	<-done
	return try
}

// sentBy reads from its journal what the fake wallet paid: each amount in sats once.
func sentBy(t *testing.T, tw *tower) map[int64]bool {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(tw.data, "fake-wallet.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	sent := map[int64]bool{}
	for line := range strings.Lines(string(raw)) {
		var l struct {
			Op     string
			Amount int64
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Op != "send" {
			continue
		}
		if sent[l.Amount/1000] {
			t.Errorf("%d msat were paid twice", l.Amount)
		}
		sent[l.Amount/1000] = true
	}
	return sent
}

// tokenGoesBack pays a challenge, and has what the token holds sent on.
func (a *api) tokenGoesBack(target string) {
	a.t.Helper()
	challenge := a.call(402, "POST", "/ask", `{"request":"hi","amount_sats":300}`)
	a.tw.pay(challenge.obj("invoice").str("paymentRequest"))
	hash := challenge.obj("invoice").str("paymentHash")
	preimage := ""
	for end := time.Now().Add(20 * time.Second); preimage == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		preimage = a.preimage(hash)
	}
	auth := "L402 " + challenge.str("macaroon") + ":" + preimage
	back := a.refunded("/ask/refund", fmt.Sprintf(`{"destination":%q}`, target), auth)
	if back.str("state") != "paid" {
		a.t.Errorf("got %s", back.raw)
	}
	at := "/ask/refund/" + back.str("refundId")
	if again := a.call(200, "GET", at, "", "Authorization", auth); again.raw != back.raw {
		a.t.Errorf("read %s, was told %s", again.raw, back.raw)
	}
}

// preimage is what LUD-21 tells of a paid invoice; empty: not paid yet.
func (a *api) preimage(hash string) string {
	a.t.Helper()
	res, err := http.Get(a.tw.http() + "/lnurlp/verify/" + hash)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ Preimage string }
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		a.t.Fatal(err)
	}
	return v.Preimage
}
