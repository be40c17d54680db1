package wallet

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// TestCLNPaysOnce excludes A4 at Core Lightning, whose error may come while a part of a
// payment is under way.
func TestCLNPaysOnce(t *testing.T) {
	h, proof := outgoing(t).Hash.String(), hex.EncodeToString(paidPreimage[:])
	paid := func(preimage string, sent int) string {
		return fmt.Sprintf(`201 {"payment_preimage":%q,"amount_msat":21000,"amount_sent_msat":%d,"failed_parts":0,"successful_parts":1}`, preimage, sent)
	}
	row := func(status, preimage string) string {
		return fmt.Sprintf(`{"payment_hash":%q,"status":%q,"preimage":%q,"amount_msat":21000,"amount_sent_msat":21009}`, h, status, preimage)
	}
	pays := func(rows ...string) string { return `201 {"pays":[` + strings.Join(rows, ",") + `]}` }
	no := func(code int) string { return fmt.Sprintf(`500 {"code":%d,"message":"x","data":null}`, code) }
	open := func(t *testing.T, s *script) paying {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		c, err := NewCLN(CLNConfig{URL: srv.URL, Rune: testRune, Network: Regtest, HTTP: srv.Client(), Now: (&clock{at: born}).now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	judge(t, open, fates{
		"paid":                       {[]string{paid(proof, 21_009)}, timmy.SentPaid, 9},
		"paid without proof":         {[]string{paid(strings.Repeat("00", 32), 21_009)}, timmy.SentPending, 0},
		"fee below nothing":          {[]string{paid(proof, 20_000)}, timmy.SentPaid, -1},
		"no route":                   {[]string{no(205), pays()}, timmy.SentFailed, 0},
		"no route, and known":        {[]string{no(205), pays(row("failed", ""))}, timmy.SentFailed, 0},
		"no route, a part is away":   {[]string{no(205), pays(row("failed", ""), row("pending", ""))}, timmy.SentPending, 0},
		"refused, and paid before":   {[]string{no(203), pays(row("failed", ""), row("complete", proof), row("pending", ""))}, timmy.SentPaid, 9},
		"already paid":               {[]string{no(219), pays(row("complete", proof))}, timmy.SentPaid, 9},
		"some error, unheard of":     {[]string{no(209), pays()}, timmy.SentPending, 0},
		"some error, failed":         {[]string{no(209), pays(row("failed", ""))}, timmy.SentFailed, 0},
		"the rune may not":           {[]string{`403 {"code":1502,"message":"Not permitted"}`, pays()}, timmy.SentFailed, 0},
		"the rune may not look":      {[]string{no(205), `403 {"code":1502,"message":"Not permitted"}`}, "", 0},
		"complete without its proof": {[]string{no(209), pays(row("complete", strings.Repeat("00", 32)))}, timmy.SentPending, 0},
		"another's payment":          {[]string{no(209), pays(strings.ReplaceAll(row("complete", proof), h, timmy.Hash{1}.String()))}, timmy.SentPending, 0},
		"no list":                    {[]string{no(209), `201 {}`}, "", 0},
		"cut off":                    {[]string{"0"}, "", 0},
		"garbage":                    {[]string{"201 []"}, "", 0},
	})
	s := &script{t: t, lines: []string{paid(proof, 21_000)}}
	if _, err := open(t, s).Send(t.Context(), outgoing(t)); err != nil || !strings.Contains(s.heard()[0], `"maxfee":10000`) || strings.Contains(s.heard()[0], "amount_msat") {
		t.Errorf("asked %q, %v", s.heard(), err)
	}
	if _, err := open(t, s).Send(t.Context(), unnamedTo(t)); err != nil || !strings.Contains(s.heard()[1], `"amount_msat":"21000"`) {
		t.Errorf("without an amount asked %q, %v", s.heard(), err)
	}
}

// TestPhoenixdPaysOnce is the same for phoenixd, which answers a failure with 200.
func TestPhoenixdPaysOnce(t *testing.T) {
	h, proof := outgoing(t).Hash.String(), hex.EncodeToString(paidPreimage[:])
	sent := func(preimage string) string {
		return fmt.Sprintf(`200 {"type":"payment_sent","recipientAmountSat":21,"routingFeeSat":4,"paymentId":"u","paymentHash":%q,"paymentPreimage":%q}`, h, preimage)
	}
	failed := fmt.Sprintf(`200 {"type":"payment_failed","paymentHash":%q,"reason":"no route"}`, h)
	row := func(paid bool, preimage string, completed int64) string {
		return fmt.Sprintf(`200 {"type":"outgoing_payment","paymentHash":%q,"preimage":%q,"isPaid":%v,"sent":25,"fees":4084,"completedAt":%d}`, h, preimage, paid, completed)
	}
	const gone, denied = "404 Not found", "401 Invalid authentication"
	open := func(t *testing.T, s *script) paying {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		p, err := NewPhoenixd(PhoenixdConfig{URL: srv.URL, Password: testPassword, Network: Regtest, Now: (&clock{at: born}).now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	judge(t, open, fates{
		"paid":                  {[]string{sent(proof)}, timmy.SentPaid, 4000},
		"paid without proof":    {[]string{sent(strings.Repeat("00", 32))}, timmy.SentPending, 0},
		"failed":                {[]string{failed, row(false, "", 1_700_000_000_000)}, timmy.SentFailed, 0},
		"failed, unheard of":    {[]string{failed, gone}, timmy.SentFailed, 0},
		"failed, under way":     {[]string{failed, row(false, "", 0)}, timmy.SentPending, 0},
		"failed, paid before":   {[]string{failed, row(true, proof, 1_700_000_000_000)}, timmy.SentPaid, 4084},
		"failed, not told":      {[]string{failed, denied}, "", 0},
		"another's":             {[]string{strings.ReplaceAll(sent(proof), h, timmy.Hash{1}.String())}, timmy.SentPending, 0},
		"refused, not by JSON":  {[]string{"400 Invalid invoice", gone}, timmy.SentPending, 0},
		"its own trouble, paid": {[]string{"500 x", row(true, proof, 1)}, timmy.SentPaid, 4084},
		"cut off":               {[]string{"0"}, "", 0},
		"garbage":               {[]string{"200 []"}, "", 0},
	})
	s := &script{t: t, lines: []string{sent(proof)}}
	if _, err := open(t, s).Send(t.Context(), outgoing(t)); err != nil || !strings.Contains(s.heard()[0], "invoice="+url.QueryEscape(outgoing(t).Bolt11)) {
		t.Errorf("asked %q, %v", s.heard(), err)
	}
	if _, err := open(t, s).Send(t.Context(), unnamedTo(t)); err != nil || !strings.Contains(s.heard()[1], "amountSat=21&") {
		t.Errorf("without an amount asked %q, %v", s.heard(), err)
	}
	o := outgoing(t)
	o.FeeMax = 4_083
	dear := &script{t: t, lines: []string{sent(proof)}}
	if got, err := open(t, dear).Send(t.Context(), o); err != nil || got.State != timmy.SentFailed || got.Reason == "" || len(dear.heard()) > 0 {
		t.Errorf("a fee above its limit: %+v, %v, asked %q", got, err, dear.heard())
	}
}

// TestNWCPaysOnce is the same over Nostr, where no answer may be a lost answer.
func TestNWCPaysOnce(t *testing.T) {
	h, proof := outgoing(t).Hash.String(), hex.EncodeToString(paidPreimage[:])
	row := func(kind, state, preimage string) string {
		return fmt.Sprintf(`{"type":%q,"state":%q,"payment_hash":%q,"preimage":%q,"amount":21000,"fees_paid":7}`, kind, state, h, preimage)
	}
	list := func(rows ...string) string { return `{"transactions":[` + strings.Join(rows, ",") + `]}` }
	const never, gone = `{"transactions":[]}`, "!NOT_FOUND"
	for name, c := range map[string]struct {
		pay, look, list string
		state           timmy.SentState
		fee             timmy.Msat
	}{
		"paid":                         {`{"preimage":"` + proof + `","fees_paid":7}`, gone, never, timmy.SentPaid, 7},
		"paid, fee not said":           {`{"preimage":"` + proof + `"}`, gone, never, timmy.SentPaid, -1},
		"paid without proof":           {`{"preimage":"` + strings.Repeat("00", 32) + `"}`, gone, never, timmy.SentPending, 0},
		"failed":                       {"!PAYMENT_FAILED", row("outgoing", "failed", ""), never, timmy.SentFailed, 0},
		"failed, under way":            {"!PAYMENT_FAILED", row("outgoing", "pending", ""), never, timmy.SentPending, 0},
		"failed, and paid":             {"!PAYMENT_FAILED", row("outgoing", "settled", proof), never, timmy.SentPaid, 7},
		"paid, without the proof":      {"!INTERNAL", row("outgoing", "settled", ""), never, timmy.SentPending, 0},
		"no money, never begun":        {"!INSUFFICIENT_BALANCE", gone, never, timmy.SentFailed, 0},
		"not allowed":                  {"!RESTRICTED", gone, never, timmy.SentFailed, 0},
		"looked up among the received": {"!PAYMENT_FAILED", gone, list(row("outgoing", "pending", "")), timmy.SentPending, 0},
		"the same, paid":               {"!PAYMENT_FAILED", gone, list(row("outgoing", "settled", proof)), timmy.SentPaid, 7},
		"it does not list":             {"!PAYMENT_FAILED", gone, "!RESTRICTED", "", 0},
		"it does not look":             {"!PAYMENT_FAILED", "!INTERNAL", never, "", 0},
		"paid to us, of that hash":     {"!PAYMENT_FAILED", row("incoming", "settled", proof), never, timmy.SentPending, 0},
		"garbage":                      {`[]`, gone, never, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNWCNode(t, nip.NIP44)
			n.uri.Relays = n.uri.Relays[:1] // by another comes the same event
			w := n.wallet(t)
			n.set(func() {
				n.scripts = map[string]string{"pay_invoice": c.pay, "lookup_invoice": c.look, "list_transactions": c.list}
			})
			sent, err := w.Send(t.Context(), outgoing(t))
			if (err != nil) != (c.state == "") || sent.State != c.state || sent.Fee != c.fee || sent.State == timmy.SentFailed && sent.Reason == "" {
				t.Errorf("got %+v, %v", sent, err)
			}
			n.set(func() {
				if asked := n.asked["pay_invoice"]; asked != 1 {
					t.Errorf("asked to pay %d times", asked)
				}
			})
		})
	}
	n := newNWCNode(t, nip.NIP44)
	n.uri.Relays = n.uri.Relays[:1]
	w := n.wallet(t)
	for _, o := range []timmy.Outgoing{outgoing(t), unnamedTo(t)} {
		p, _ := json.Marshal(map[string]any{"preimage": proof})
		n.set(func() {
			n.scripts = map[string]string{"pay_invoice": string(p), "lookup_invoice": gone, "list_transactions": never}
		})
		if _, err := w.Send(t.Context(), o); err != nil {
			t.Error(err)
		}
		n.set(func() {
			if strings.Contains(n.last, "21000") != (o.Hash != outgoing(t).Hash) {
				t.Errorf("asked %s", n.last)
			}
		})
	}
}
