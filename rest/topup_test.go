package rest

import (
	"maps"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// TestTopUpChecksInTheDocumentedOrder: amount, session, bearer, state, pending.
func TestTopUpChecksInTheDocumentedOrder(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	p := "/sessions/" + id + "/topup"
	const body = `{"amount_sats":200}`
	for _, bad := range []string{"", "{}", "[]", `{"amount_sats":"500abc"}`, `{"amount_sats":99}`, `{"amount_sats":10001}`, `{"amount_sats":500.9}`} {
		d.want(d.call("POST", "/sessions/unknown/topup", bad), 400, amountText)
	}
	d.want(d.call("POST", "/sessions/unknown/topup", body), 404, msgNoSession)
	d.want(d.call("POST", p, body), 401, "Invalid or missing macaroon")
	waiting := d.call("POST", "/sessions", body).str("sessionId")
	d.want(d.call("POST", "/sessions/"+waiting+"/topup", body, auth), 401, "Invalid or missing macaroon")

	g := d.want(d.call("POST", p, body, auth), 200, "")
	if f := fields(g.json); !maps.Equal(f, set("sessionId", "topup")) || g.str("sessionId") != id || g.num("topup", "amountSats") != 200 {
		t.Errorf("got %s", g.body)
	}
	if m := d.memos[len(d.memos)-1]; !regexp.MustCompile(`^Session topup [0-9a-f]{8}$`).MatchString(m) {
		t.Errorf("memo %q", m)
	}
	again := d.want(d.call("POST", p, `{"amount_sats":300}`, auth), 409, msgPending)
	if f := fields(again.json); !maps.Equal(f, set("error", "pendingTopup")) || again.str("pendingTopup", "paymentHash") != g.str("topup", "paymentHash") {
		t.Errorf("got %s", again.body)
	}
	d.pay(t, g.str("topup", "paymentHash"))
	if v := d.call("GET", "/sessions/"+id, ""); v.num("balanceSats") != 700 {
		t.Errorf("got %s", v.body)
	}
	d.want(d.call("POST", p, body, auth), 200, "")
	d.pass(2 * time.Hour) // D8: an abandoned invoice blocked top-ups for good
	d.want(d.call("POST", p, body, auth), 200, "")
	d.sessions[id].State = timmy.SessionPaused
	d.pass(2 * time.Hour)
	d.want(d.call("POST", p, body, auth), 200, "")
	d.pass(life) // D10: the seed did not look at the clock
	d.want(d.call("POST", p, body, auth), 409, "Cannot top up a session in state 'expired'")
}

// TestOneOfManyTopUpsWins: D9, two invoices were made and the payer of the first
// lost the money. All losers are shown the winner's invoice.
func TestOneOfManyTopUpsWins(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	d.wallet = func(timmy.TopUp) error { time.Sleep(120 * time.Millisecond); return nil }
	var won atomic.Int32
	var hashes sync.Map
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			switch g := d.call("POST", "/sessions/"+id+"/topup", `{"amount_sats":200}`, auth); g.status {
			case 200:
				won.Add(1)
				hashes.Store(g.str("topup", "paymentHash"), true)
			case 409:
				hashes.Store(g.str("pendingTopup", "paymentHash"), true)
			default:
				t.Errorf("got %d %s", g.status, g.body)
			}
		})
	}
	wg.Wait()
	n := 0
	hashes.Range(func(any, any) bool { n++; return true })
	if won.Load() != 1 || n != 1 {
		t.Errorf("%d won, %d invoices", won.Load(), n)
	}
}

// TestTopUpHidesCauses: D27, and 503 while the wallet is away.
func TestTopUpHidesCauses(t *testing.T) {
	d := open(t, nil)
	id, auth := d.funded("500")
	p := "/sessions/" + id + "/topup"
	d.wallet = func(timmy.TopUp) error { return timmy.Errorf(timmy.Internal, "macaroon expired at https://lnd.lan") }
	d.want(d.call("POST", p, `{"amount_sats":200}`, auth), 500, "Topup failed")
	d.wallet = func(timmy.TopUp) error { return timmy.Errorf(timmy.Unavailable, "The wallet is away") }
	if g := d.want(d.call("POST", p, `{"amount_sats":200}`, auth), 503, ""); g.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.wallet = nil
	d.want(d.call("POST", p, `{"amount_sats":200}`, auth), 200, "")
}
