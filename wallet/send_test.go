package wallet

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

// paying is what the backends that pay have in common.
type paying interface {
	Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error)
	Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error)
}

var paidPreimage = [32]byte{7}

// outgoing is a payment of 21 sats to somebody.
func outgoing(t testing.TB) timmy.Outgoing {
	h := timmy.Hash(sha256.Sum256(paidPreimage[:]))
	return timmy.Outgoing{Bolt11: theirs(t, h, 21_000), Hash: h, Amount: 21_000, FeeMax: 10_000}
}

// unnamedTo is a payment of 21 sats to an invoice that names no amount.
func unnamedTo(t testing.TB) timmy.Outgoing {
	o := outgoing(t)
	o.Hash = timmy.Hash{8}
	o.Bolt11 = theirs(t, o.Hash, 0)
	return o
}

func theirs(t testing.TB, h timmy.Hash, msat uint64, more ...func(*zpay32.Invoice)) string {
	options := []func(*zpay32.Invoice){
		zpay32.PaymentAddr([32]byte{1}), zpay32.Description("mine"), zpay32.Expiry(time.Hour),
	}
	if msat > 0 {
		options = append(options, zpay32.Amount(lnwire.MilliSatoshi(msat)))
	}
	return craft(t, &chaincfg.RegressionNetParams, h, append(options, more...)...)
}

// script answers calls in their order, the last one for good: "status body".
type script struct {
	t     *testing.T
	lines []string

	mu    sync.Mutex
	asked []string
}

// heard is what was asked so far.
func (s *script) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+string(b))
	line := s.lines[min(len(s.asked), len(s.lines))-1]
	status, body, _ := strings.Cut(line, " ")
	code := 0
	if _, err := fmt.Sscan(status, &code); err != nil || code == 0 { // the connection breaks
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(code)
	io.WriteString(w, body)
}

// judge plays scripts and compares what is made of them.
func judge(t *testing.T, open func(t *testing.T, s *script) paying, cases map[string]struct {
	lines []string
	state timmy.SentState // "": an error, which leaves it open
	fee   timmy.Msat
},
) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, lines: c.lines}
			sent, err := open(t, s).Send(t.Context(), outgoing(t))
			if (err != nil) != (c.state == "") || sent.State != c.state || sent.Fee != c.fee {
				t.Errorf("got %+v, %v; asked %q", sent, err, s.heard())
			}
			first, pays := "", 0
			for _, a := range s.heard() {
				verb, rest, _ := strings.Cut(a, " ")
				path, _, _ := strings.Cut(rest, " ")
				if first == "" {
					first = verb + path
				}
				if verb+path == first {
					pays++
				}
			}
			if pays != 1 {
				t.Errorf("asked to pay %d times: %q", pays, s.heard())
			}
			if sent.State == timmy.SentFailed && sent.Reason == "" {
				t.Error("failed without a reason")
			}
		})
	}
}

type fates = map[string]struct {
	lines []string
	state timmy.SentState
	fee   timmy.Msat
}

// TestLNbitsPaysOnce excludes A4 and lnbits' "pending", which is not "failed": what
// is not plainly said is left open, and nothing is sent twice.
func TestLNbitsPaysOnce(t *testing.T) {
	h := outgoing(t).Hash.String()
	row := func(status string, amount, fee int) string {
		return fmt.Sprintf(`{"payment_hash":%q,"amount":%d,"fee":%d,"status":%q}`, h, amount, fee, status)
	}
	found := func(row string) string { return `200 {"paid":true,"details":` + row + `}` }
	const gone, denied = `404 {"detail":"Payment does not exist."}`, `403 {"detail":"Invalid adminkey."}`
	judge(t, func(t *testing.T, s *script) paying {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		l, err := NewLNbits(LNbitsConfig{URL: srv.URL, Key: testKey, Network: Regtest, Now: (&clock{at: born}).now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}, fates{
		"paid":                     {[]string{"201 " + row("success", -21000, -1500)}, timmy.SentPaid, 1500},
		"paid, other sign":         {[]string{"201 " + row("success", -21000, 1500)}, timmy.SentPaid, 1500},
		"failed":                   {[]string{"201 " + row("failed", -21000, 0)}, timmy.SentFailed, 0},
		"pending":                  {[]string{"201 " + row("pending", -21000, 0)}, timmy.SentPending, 0},
		"another payment":          {[]string{`201 {"payment_hash":"00","amount":-1,"status":"success"}`}, timmy.SentPending, 0},
		"an incoming one":          {[]string{"201 " + row("success", 21000, 0)}, timmy.SentPending, 0},
		"520 and failed":           {[]string{`520 {"detail":"no route","status":"failed"}`, found(row("failed", -21000, 0))}, timmy.SentFailed, 0},
		"520 and pending":          {[]string{`520 {"detail":"x","status":"pending"}`, found(row("pending", -21000, 0))}, timmy.SentPending, 0},
		"520 and paid":             {[]string{`520 {"detail":"x","status":"pending"}`, found(row("success", -21000, -3))}, timmy.SentPaid, 3},
		"520 and unheard of":       {[]string{`520 {"detail":"x","status":"pending"}`, gone}, timmy.SentPending, 0},
		"refused":                  {[]string{denied, gone}, timmy.SentFailed, 0},
		"refused by a gateway":     {[]string{"403 <html>", gone}, timmy.SentPending, 0},
		"refused and paid":         {[]string{`400 {"detail":"Internal invoice already paid."}`, found(row("success", -21000, 0))}, timmy.SentPaid, 0},
		"refused and not told":     {[]string{denied, denied}, "", 0},
		"cut off":                  {[]string{"0"}, "", 0},
		"garbage":                  {[]string{"201 []"}, "", 0},
		"not paid, says details":   {[]string{"520 {}", `200 {"paid":false,"details":` + row("success", -21000, 0) + `}`}, timmy.SentPending, 0},
		"without details":          {[]string{"520 {}", `200 {"paid":true}`}, timmy.SentPending, 0},
		"paid to us, of that hash": {[]string{"520 {}", found(row("success", 21000, 0))}, timmy.SentPending, 0},
	})
}

// TestLNDPaysOnce is the same for the router's streams.
func TestLNDPaysOnce(t *testing.T) {
	h := outgoing(t).Hash
	line := func(status, why string, fee int) string {
		return fmt.Sprintf(`{"result":{"payment_hash":%q,"payment_preimage":%q,"status":%q,"failure_reason":%q,"fee_msat":"%d"}}`+"\n",
			h, hex.EncodeToString(paidPreimage[:]), status, why, fee)
	}
	const gone, exists = `404 {"error":{"code":5,"message":"payment isn't initiated"}}`, `409 {"code":6,"message":"invoice is already paid"}`
	judge(t, func(t *testing.T, s *script) paying {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		l, err := NewLND(LNDConfig{URL: srv.URL, Macaroon: testMacaroon, Network: Regtest, HTTP: srv.Client(), Now: (&clock{at: born}).now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}, fates{
		"paid":              {[]string{"200 " + line("SUCCEEDED", "FAILURE_REASON_NONE", 1234)}, timmy.SentPaid, 1234},
		"failed":            {[]string{"200 " + line("FAILED", "FAILURE_REASON_NO_ROUTE", 0)}, timmy.SentFailed, 0},
		"in flight":         {[]string{"200 " + line("IN_FLIGHT", "", 0) + line("SUCCEEDED", "", 1)}, timmy.SentPending, 0},
		"another payment":   {[]string{`200 {"result":{"payment_hash":"00","status":"SUCCEEDED"}}`}, timmy.SentPending, 0},
		"fee unreadable":    {[]string{`200 {"result":{"payment_hash":"` + h.String() + `","status":"SUCCEEDED","fee_msat":"many"}}`}, timmy.SentPaid, -1},
		"already paid":      {[]string{exists, "200 " + line("SUCCEEDED", "", 9)}, timmy.SentPaid, 9},
		"already failed":    {[]string{exists, "200 " + line("FAILED", "FAILURE_REASON_TIMEOUT", 0)}, timmy.SentFailed, 0},
		"refused":           {[]string{`400 {"code":3,"message":"invalid bech32 string"}`, gone}, timmy.SentFailed, 0},
		"not allowed":       {[]string{`403 {"code":7,"message":"permission denied"}`, `403 {"code":7,"message":"permission denied"}`}, "", 0},
		"its own trouble":   {[]string{`500 {"code":2,"message":"server is still starting"}`, gone}, timmy.SentPending, 0},
		"an error streamed": {[]string{`200 {"error":{"code":3,"message":"self-payments not allowed"}}`, gone}, timmy.SentFailed, 0},
		"cut off":           {[]string{"0"}, "", 0},
		"garbage":           {[]string{"200 <html>"}, "", 0},
		"nothing":           {[]string{"200 "}, "", 0},
	})
	s := &script{t: t, lines: []string{"200 " + line("SUCCEEDED", "", 1)}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	l, err := NewLND(LNDConfig{URL: srv.URL, Macaroon: testMacaroon, Network: Regtest, HTTP: srv.Client(), Now: (&clock{at: born}).now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Sent(t.Context(), h); err != nil || got.Preimage != paidPreimage {
		t.Errorf("looked up %+v, %v", got, err)
	}
	if want := "GET /v2/router/track/" + base64.URLEncoding.EncodeToString(h[:]) + " "; s.heard()[0] != want {
		t.Errorf("asked %q, want %q", s.heard()[0], want)
	}
	if _, err := l.Send(t.Context(), outgoing(t)); err != nil || !strings.Contains(s.heard()[1], `"fee_limit_msat":"10000"`) || strings.Contains(s.heard()[1], "amt_msat") {
		t.Errorf("asked %q, %v", s.heard()[1], err)
	}
	if _, err := l.Send(t.Context(), unnamedTo(t)); err != nil || !strings.Contains(s.heard()[2], `"amt_msat":"21000"`) {
		t.Errorf("without an amount asked %q, %v", s.heard()[2], err)
	}
}

// TestTheFakeWalletPaysOnce also after a restart, and never itself.
func TestTheFakeWalletPaysOnce(t *testing.T) {
	path, c := filepath.Join(t.TempDir(), "fake.jsonl"), &clock{at: born}
	f := openFake(t, path, c)
	o := outgoing(t)
	for range 2 {
		if s, err := f.Sent(t.Context(), o.Hash); err != nil || s.State != timmy.SentNever {
			t.Fatalf("before: %+v, %v", s, err)
		}
	}
	first, err := f.Send(t.Context(), o)
	if err != nil || first.State != timmy.SentPaid || first.Fee != fakeFee {
		t.Fatalf("sent %+v, %v", first, err)
	}
	f.Close()
	f = openFake(t, path, c)
	if s, err := f.Send(t.Context(), o); err != nil || s != first {
		t.Errorf("sent again %+v, %v", s, err)
	}
	if s, err := f.Sent(t.Context(), o.Hash); err != nil || s != first {
		t.Errorf("looked up %+v, %v", s, err)
	}
	own, err := f.Issue(t.Context(), "r", timmy.TopUp{Amount: 21_000, Memo: "m"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	open := unnamedTo(t)
	if s, err := f.Send(t.Context(), open); err != nil || s.State != timmy.SentPaid {
		t.Errorf("an amount of ours: %+v, %v", s, err)
	}
	wrong := o
	wrong.Amount = 22_000
	other := timmy.Outgoing{Bolt11: theirs(t, timmy.Hash{9}, 21_000), Hash: timmy.Hash{9}, Amount: 21_000}
	for name, o := range map[string]timmy.Outgoing{
		"itself": {Bolt11: own.Bolt11, Hash: own.Hash, Amount: own.Amount}, "another amount": wrong, "no invoice": {Bolt11: "x"},
	} {
		if s, err := f.Send(t.Context(), o); err != nil || s.State != timmy.SentFailed || s.Reason == "" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	c.add(2 * time.Hour)
	if s, err := f.Send(t.Context(), other); err != nil || s.State != timmy.SentFailed {
		t.Errorf("expired: %+v, %v", s, err)
	}
}

// TestTargetsAreChecked excludes a payment to an invoice that says something else
// than was asked for.
func TestTargetsAreChecked(t *testing.T) {
	c := &clock{at: born}
	n := newProvider(t)
	targets, err := NewTargets(TargetsConfig{Network: Regtest, HTTP: n.http.Client(), Now: c.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	good := theirs(t, timmy.Hash{1}, 21_000)
	if inv, err := targets.Read(good); err != nil || inv.Amount != 21_000 || inv.Hash != (timmy.Hash{1}) || inv.Bolt11 != good {
		t.Errorf("read %+v, %v", inv, err)
	}
	if inv, err := targets.Read(theirs(t, timmy.Hash{1}, 0)); err != nil || inv.Amount != 0 {
		t.Errorf("without an amount: %+v, %v", inv, err)
	}
	for name, bolt11 := range map[string]string{
		"nothing": "", "words": "my wallet", "mainnet": craft(t, &chaincfg.MainNetParams, [32]byte{1}, zpay32.Amount(21_000), zpay32.PaymentAddr([32]byte{1}), zpay32.Description("x")),
		"a part of a sat": theirs(t, timmy.Hash{1}, 21_001),
		"no secret":       craft(t, &chaincfg.RegressionNetParams, [32]byte{1}, zpay32.Amount(21_000), zpay32.Description("x")),
		"expired":         theirs(t, timmy.Hash{1}, 21_000, zpay32.Expiry(0)),
	} {
		if _, err := targets.Read(bolt11); timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	address := "timmy@" + strings.TrimPrefix(n.http.URL, "https://")
	if inv, err := targets.Ask(t.Context(), address, 10_000); err != nil || inv.Amount != 10_000 {
		t.Errorf("asked %+v, %v", inv, err)
	}
	n.set(func() { n.tamper = func(m map[string]any) { delete(m, "verify") } }) // nobody needs it to pay
	if _, err := targets.Ask(t.Context(), address, 10_000); err != nil {
		t.Error(err)
	}
	n.set(func() { n.tamper = func(m map[string]any) { m["pr"] = good } })
	if _, err := targets.Ask(t.Context(), address, 10_000); timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(timmy.MessageOf(err), "127.0.0.1:") && !strings.Contains(timmy.MessageOf(err), address) {
		t.Errorf("another amount: %v", err)
	}
	if _, err := targets.Ask(t.Context(), address, 500); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("below the least: %v", err)
	}
	if _, err := targets.Ask(t.Context(), "timmy@127.0.0.1:1", 10_000); timmy.CodeOf(err) != timmy.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}
