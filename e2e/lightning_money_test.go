package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/wallet"
)

// lightningLNURL pays the invoice of the tower's lightning address, and reads the proof
// at LUD-21.
func lightningLNURL(t *testing.T, l *lightning) {
	tw := l.tower(t)
	var address struct {
		Callback string
		Min      int64 `json:"minSendable"`
		Tag      string
	}
	if err := getJSON(tw.http()+"/.well-known/lnurlp/timmy", &address); err != nil || address.Tag != "payRequest" || address.Min <= 0 {
		t.Fatalf("the address answers %+v (%v)", address, err)
	}
	var reply struct{ PR, Verify, Reason string }
	q := url.Values{"amount": {"210000"}, "comment": {"for the lightning"}}
	if err := getJSON(address.Callback+"?"+q.Encode(), &reply); err != nil || reply.PR == "" {
		t.Fatalf("the callback answers %+v (%v)", reply, err)
	}
	l.pay(t, reply.PR)
	d, err := wallet.Decode(reply.PR)
	if err != nil {
		t.Fatal(err)
	}
	var paid struct {
		Settled  bool
		Preimage string
	}
	waitFor(t, "the proof of a payment", func() bool { return getJSON(reply.Verify, &paid) == nil && paid.Settled })
	preimage, err := hex.DecodeString(paid.Preimage)
	if err != nil || sha256.Sum256(preimage) != d.Hash {
		t.Errorf("%q proves no payment of %s (%v)", paid.Preimage, d.Hash, err)
	}
	tw.verifyBooks()
}

// lightningOverpay pays more than invoices ask for: up to twice is credited as it came,
// more is kept apart for the operator.
func lightningOverpay(t *testing.T, l *lightning) {
	tw := l.tower(t)
	a := newAPI(t, tw)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	id, bolt11 := deposit(a, 500)
	if err := l.Payer.Overpay(ctx, bolt11, 700); err != nil {
		t.Fatal(err)
	}
	credited(a, id, 700)
	id, bolt11 = deposit(a, 100)
	if err := l.Payer.Overpay(ctx, bolt11, 300); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "300 sats in suspense", func() bool {
		list, err := tw.timmy("ledger", "suspense", "--json")
		return err == nil && strings.Contains(list, "300000")
	})
	if view := a.call(200, "GET", "/sessions/"+id, ""); view.str("state") != "awaiting_payment" {
		t.Errorf("a session of 100 sats is %s after 300 were paid", view.str("state"))
	}
	tw.verifyBooks()
}

// lightningRefund sends what is unspent out of the tower's node to the payer's, also when
// the tower is killed in between: the payer's node says what came, and the books what
// left.
func lightningRefund(t *testing.T, l *lightning) {
	tw := l.tower(t, "TIMMY_REFUNDS_SATS_PER_DAY=5000", "TIMMY_LND_MACAROON_FILE="+l.Shop.AdminMacaroonFile())
	a := newAPI(t, tw)
	id, bolt11 := deposit(a, 2000)
	l.pay(t, bolt11)
	bearer := "Bearer " + a.active(id).str("macaroon")
	path := "/sessions/" + id + "/refund"
	out := l.invoice(t, 300)
	first := a.refunded(path, fmt.Sprintf(`{"destination":%q}`, out), bearer)
	if first.str("state") != "paid" || first.num("amountSats") != 300 || first.num("feeMsat") != 0 {
		t.Errorf("got %s", first.raw)
	}
	if sats := l.received(t, out); sats != 300 {
		t.Errorf("300 sats were sent back and %d came", sats)
	}
	credited(a, id, 1700)

	a.call(402, "POST", path, fmt.Sprintf(`{"destination":%q}`, l.invoice(t, 1800)), "Authorization", bearer)
	credited(a, id, 1700)

	// Killed while it is under way, at other moments each time.
	left := int64(1700)
	for n := range 6 {
		sats := int64(100 + n)
		out := l.invoice(t, sats)
		body := fmt.Sprintf(`{"destination":%q}`, out)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = a.try("POST", path, body, "Authorization", bearer, "Idempotency-Key", out[len(out)-20:])
		}()
		time.Sleep(time.Duration(n*15) * time.Millisecond)
		tw.restart()
		<-done
		var last answer
		waitFor(t, "the end of a refund", func() bool {
			var err error
			last, err = a.try("POST", path, body, "Authorization", bearer, "Idempotency-Key", out[len(out)-20:])
			return err == nil && last.status == 200 && (last.str("state") == "paid" || last.str("state") == "failed")
		})
		came := l.received(t, out)
		switch state := last.str("state"); {
		case state == "paid" && came == sats:
			left -= sats
		case state == "failed" && came == 0:
		default:
			t.Errorf("a refund of %d sats is %s, and %d came", sats, state, came)
		}
	}
	credited(a, id, left)
	tw.verifyBooks()
}

// invoice is one of the payer's node.
func (l *lightning) invoice(t *testing.T, sats int64) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bolt11, err := l.Payer.Invoice(ctx, sats, "back to me")
	if err != nil {
		t.Fatal(err)
	}
	return bolt11
}

// received is how many sats came for an invoice of the payer's node.
func (l *lightning) received(t *testing.T, bolt11 string) int64 {
	t.Helper()
	d, err := wallet.Decode(bolt11)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, msat, err := l.Payer.Settled(ctx, d.Hash.String())
	if err != nil {
		t.Fatal(err)
	}
	return msat / 1000
}
