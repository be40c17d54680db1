package e2e

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/wallet"
)

// payable makes an invoice of a wallet that is nobody's here.
func payable(t *testing.T, amount timmy.Msat) string {
	t.Helper()
	f, err := wallet.OpenFake(filepath.Join(t.TempDir(), "theirs.jsonl"), time.Now, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inv, err := f.Issue(t.Context(), "theirs", timmy.TopUp{Amount: amount, Memo: "theirs"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return inv.Bolt11
}

// A refund is cut off. Asked for again it is paid once, unless it was cut off
// between its row and the wallet: nobody can know that then, and it waits for the
// wallet's word, or the operator's.
func dieAtRefund(t *testing.T, tw *tower, moment string) {
	tw.env = append(tw.env, "TIMMY_REFUNDS_SATS_PER_DAY=1000")
	tw.start()
	a := newAPI(t, tw)
	id, bearer := a.session("300")
	body := fmt.Sprintf(`{"destination":%q}`, payable(t, 150*timmy.Sat))
	ask := func() answer {
		out, _ := a.try("POST", "/sessions/"+id+"/refund", body, "Authorization", bearer, "Idempotency-Key", "k")
		return out
	}
	tw.dieAt(moment, "", func() { ask() })
	tw.start()
	tw.verifyBooks()
	left := int64(149)
	if moment == "after ledger launch" || moment == "before wallet send" {
		refund := ""
		waitFor(t, "the refund to be seen", func() bool { refund = ask().str("refundId"); return refund != "" })
		if _, err := tw.timmy("ledger", "refunds", "resolve", refund, "--failed", "--reason", "not in the wallet's list"); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the operator's word", func() bool { return ask().str("state") == "failed" })
		left = 300
	} else {
		waitFor(t, "the refund", func() bool { return ask().str("state") == "paid" })
	}
	if sent := sentBy(t, tw); sent[150] != (left == 149) || len(sent) > 1 {
		t.Errorf("the wallet sent %v", sent)
	}
	if has := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); has != left {
		t.Errorf("%d sats left, want %d", has, left)
	}
	tw.verifyBooks()
}

// A session ends whose remainder should go to an address that is not there.
func dieAtRemainder(t *testing.T, tw *tower, moment string) {
	tw.env = append(tw.env, "TIMMY_REFUNDS_SATS_PER_DAY=1000")
	tw.start()
	a := newAPI(t, tw)
	created := a.call(201, "POST", "/sessions", `{"amount_sats":300,"refund_address":"me@wallet.invalid"}`)
	tw.pay(created.obj("invoice").str("paymentRequest"))
	a.active(created.str("sessionId"))
	changeBooks(t, tw, `UPDATE sessions SET state = 'expired', expires = 1`)
	tw.dieAt(moment, "", nothing)
	tw.start()
	waitFor(t, "the refund to be given up", func() bool {
		out, err := tw.timmy("ledger", "refunds")
		return err == nil && strings.Contains(out, "no refunds")
	})
	tw.verifyBooks()
	want(t, tw, 300_000, `SELECT posted - held FROM accounts WHERE name LIKE 'session:%'`)
}
