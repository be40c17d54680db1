package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy/e2e/simnet"
)

// TestLightning is everything that is paid, on a network of real nodes: what no
// test wallet shows is what a node really says, and when.
func TestLightning(t *testing.T) {
	l := startLightning(t, simnet.Simnet)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *lightning)
	}{
		{"deposit and top-up", lightningDeposit},
		{"a bill by direct message", lightningScript("nip17.mjs")},
		{"a zap and its receipt", lightningScript("zap.mjs")},
		{"an L402 token", lightningScript("l402.mjs")},
		{"a charge and a session by MPP", lightningMPP},
		{"a lightning address", lightningLNURL},
		{"more than asked for", lightningOverpay},
		{"refunds", lightningRefund},
		{"each detector alone", lightningDetectors},
		{"payments between restarts", lightningAnyTime},
		{"restarts of either side", lightningRestarts},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, l) }) {
			return // the network may be in any state
		}
	}
}

// lightningScript runs a scenario of other people's clients, paid by the other
// node.
func lightningScript(script string) func(*testing.T, *lightning) {
	return func(t *testing.T, l *lightning) {
		tw := l.tower(t)
		tw.node(script, "PAYER="+l.payer.URL)
		tw.verifyBooks()
	}
}

// deposit opens a session that waits for sats, and returns its id and its invoice.
// It insists: after a cut the tower leaves its wallet alone for some seconds.
func deposit(a *api, sats int64) (id, bolt11 string) {
	a.t.Helper()
	created, ok := until200(a, "POST", "/sessions", fmt.Sprintf(`{"amount_sats":%d}`, sats), "Idempotency-Key", newUUID())
	if !ok {
		a.t.FailNow()
	}
	return created.str("sessionId"), created.obj("invoice").str("paymentRequest")
}

// credited waits until a session holds exactly this.
func credited(a *api, id string, sats int64) {
	a.t.Helper()
	waitFor(a.t, fmt.Sprintf("a balance of %d sats", sats), func() bool {
		view, err := a.try("GET", "/sessions/"+id, "")
		return err == nil && view.status == 200 && view.num("balanceSats") == sats
	})
}

func lightningDeposit(t *testing.T, l *lightning) {
	tw := l.tower(t)
	a := newAPI(t, tw)
	id, bolt11 := deposit(a, 500)
	if !strings.HasPrefix(bolt11, "lnsb") {
		t.Fatalf("not an invoice of this network: %s", bolt11)
	}
	if a.call(200, "GET", "/sessions/"+id, "").str("state") != "awaiting_payment" {
		t.Fatal("nobody has paid yet")
	}
	l.pay(t, bolt11)
	bearer := "Bearer " + a.active(id).str("macaroon")
	done := a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 6*7?"}`, "Authorization", bearer)
	left := 500 - done.num("debitedSats")
	credited(a, id, left)

	topup := a.call(200, "POST", "/sessions/"+id+"/topup", `{"amount_sats":300}`, "Authorization", bearer)
	l.pay(t, topup.obj("topup").str("paymentRequest"))
	credited(a, id, left+300)
	tw.verifyBooks()
}
