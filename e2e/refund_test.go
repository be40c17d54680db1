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

	first := a.call(200, "POST", path, order(200), "Authorization", bearer)
	if first.str("state") != "paid" || first.num("amountSats") != 200 || first.num("feeMsat") != 1000 {
		t.Errorf("got %s", first.raw)
	}
	own := a.call(201, "POST", "/sessions", `{"amount_sats":100}`).obj("invoice").str("paymentRequest")
	a.call(400, "POST", path, fmt.Sprintf(`{"destination":%q}`, own), "Authorization", bearer)
	a.call(402, "POST", path, order(1795), "Authorization", bearer)
	a.call(429, "POST", path, order(1500), "Authorization", bearer)

	told := map[int64]bool{200: true}
	for n := range 6 {
		told[int64(100+n)] = a.killedWhile(n, order(100+n))
	}
	left := a.call(200, "GET", "/sessions/"+id, "")
	if left.num("balanceSats") != 1799 {
		t.Errorf("%d sats left", left.num("balanceSats"))
	}
	sent := sentBy(t, tw)
	for sats, paid := range told {
		if sent[sats] != paid {
			t.Errorf("%d sats: the wallet paid %v, the caller was told %v", sats, sent[sats], paid)
		}
	}
	tw.verifyBooks()
	list, err := tw.timmy("ledger", "refunds", "--all", "--json")
	if err != nil || strings.Count(list, `"state": "paid"`) != len(sent) {
		t.Errorf("the books list: %v\n%s", err, list)
	}

	a.tokenGoesBack(target(150))
	tw.verifyBooks()
}

// killedWhile kills the tower n times four milliseconds after a refund was asked
// for, and says whether it was paid. One that was cut off between its row and the
// wallet stays open for minutes, unpaid.
func (a *api) killedWhile(n int, body string) bool {
	a.t.Helper()
	id, bearer := a.session("200")
	try := func() (answer, error) {
		return a.try("POST", "/sessions/"+id+"/refund", body, "Authorization", bearer, "Idempotency-Key", "k")
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = try() }()
	time.Sleep(time.Duration(n*4) * time.Millisecond)
	a.tw.restart()
	<-done
	state := ""
	for end := time.Now().Add(15 * time.Second); state != "paid" && state != "failed" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, err := try(); err == nil {
			state = out.str("state")
		}
	}
	view := a.call(200, "GET", "/sessions/"+id, "")
	if state == "paid" && view.num("balanceSats") > 200-100-int64(n) {
		a.t.Errorf("paid, and %d sats left", view.num("balanceSats"))
	}
	return state == "paid"
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
	back := a.call(200, "POST", "/ask/refund", fmt.Sprintf(`{"destination":%q}`, target), "Authorization", auth)
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
