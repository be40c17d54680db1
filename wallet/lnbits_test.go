package wallet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

func seconds2(n int64) time.Duration { return time.Duration(n) * time.Second }

func sortPayments(p []timmy.Payment) {
	slices.SortFunc(p, func(a, b timmy.Payment) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
}

// TestLNbitsRefusesBadInvoices is bad-inputs 211 and 212, beside what no wallet may answer
// ([TestTamperedInvoicesAreRefused]): no hash, one that was given before, and a zap's
// invoice that does not commit to the zap.
func TestLNbitsRefusesBadInvoices(t *testing.T) {
	s := newServer(t)
	l := s.wallet(t)
	inv, err := l.Issue(t.Context(), "r", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("h"))
	plain := func(m map[string]any) {
		m["payment_hash"] = timmy.Hash(hash).String()
		m["bolt11"] = craft(t, &chaincfg.RegressionNetParams, hash, zpay32.Amount(10_000), zpay32.Description("m"), zpay32.PaymentAddr([32]byte{1}))
	}
	zap := timmy.TopUp{Amount: 10_000, Description: []byte("zap"), DescriptionHash: sha256.Sum256([]byte("zap"))}
	for name, c := range map[string]struct {
		top    timmy.TopUp
		tamper func(map[string]any)
	}{
		"no hash":           {timmy.TopUp{Amount: 10_000, Memo: "m"}, func(m map[string]any) { delete(m, "payment_hash") }},
		"same hash as last": {timmy.TopUp{Amount: 10_000, Memo: "m"}, func(m map[string]any) { m["bolt11"], m["payment_hash"] = inv.Bolt11, inv.Hash.String() }},
		"not the zap's":     {zap, plain},
	} {
		s.set(func() { s.tamper = c.tamper })
		if _, err := l.Issue(t.Context(), "r", c.top, 0); timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(timmy.MessageOf(err), "hash") {
			t.Errorf("%s: Issue = %v", name, err)
		}
	}
}

// TestLNbitsRefusesPartsOfASat excludes an invoice over another amount than the
// one asked for: LNbits counts in sats.
func TestLNbitsRefusesPartsOfASat(t *testing.T) {
	s := newServer(t)
	_, err := s.wallet(t).Issue(t.Context(), "r", timmy.TopUp{Amount: 10_001, Memo: "m"}, 0)
	if timmy.CodeOf(err) != timmy.Invalid || !strings.Contains(timmy.MessageOf(err), "whole sats") || s.calls.Load() != 0 {
		t.Fatalf("Issue = %v", err)
	}
}

// TestLNbitsBelievesOnlyTheStatus is bad-inputs 213 and 214: neither a preimage
// nor a "paid" alone moves money, and an amount that cannot be is 0, which the
// ledger quarantines.
func TestLNbitsBelievesOnlyTheStatus(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(map[string]any)
		settled  bool
		received timmy.Msat
	}{
		"as it is":         {func(map[string]any) {}, true, 10_000},
		"pending":          {func(m map[string]any) { m["status"] = "pending" }, false, 0},
		"failed":           {func(m map[string]any) { m["status"] = "failed" }, false, 0},
		"capital SUCCESS":  {func(m map[string]any) { m["status"] = "SUCCESS" }, false, 0},
		"status true":      {func(m map[string]any) { m["status"] = true }, false, 0},
		"no status":        {func(m map[string]any) { delete(m, "status") }, false, 0},
		"pending as text":  {func(m map[string]any) { delete(m, "status"); m["pending"] = "false" }, false, 0},
		"no preimage":      {func(m map[string]any) { m["preimage"] = nil }, true, 10_000},
		"wrong preimage":   {func(m map[string]any) { m["preimage"] = strings.Repeat("0", 64) }, true, 10_000},
		"received 0":       {func(m map[string]any) { m["amount"] = 0 }, true, 0},
		"received -1":      {func(m map[string]any) { m["amount"] = -1 }, true, 0},
		"received less":    {func(m map[string]any) { m["amount"] = 5000 }, true, 5000},
		"received twice":   {func(m map[string]any) { m["amount"] = 20_000 }, true, 20_000},
		"received 10x":     {func(m map[string]any) { m["amount"] = 100_000 }, true, 100_000},
		"received too big": {func(m map[string]any) { m["amount"] = int64(timmy.MaxMsat) + 1 }, true, 0},
		"received 1e400":   {func(m map[string]any) { m["amount"] = rawJSON("1e400") }, true, 0},
		"a float":          {func(m map[string]any) { m["amount"] = 10_000.5 }, true, 0},
		"a string":         {func(m map[string]any) { m["amount"] = "10000" }, true, 0},
		"null":             {func(m map[string]any) { m["amount"] = nil }, true, 0},
		"missing":          {func(m map[string]any) { delete(m, "amount") }, true, 0},
		"extra is a list":  {func(m map[string]any) { m["extra"] = []int{1} }, true, 10_000},
		"dated 1970":       {func(m map[string]any) { m["time"] = 1; m["created_at"] = 1 }, true, 10_000},
		"dated 2106":       {func(m map[string]any) { m["time"] = int64(1) << 32; m["created_at"] = "2106-01-01" }, true, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			l := s.wallet(t)
			inv, err := l.Issue(t.Context(), "ref", timmy.TopUp{Amount: 10_000, Memo: "m"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.pay(inv.Bolt11, 0)
			s.clock.add(time.Minute)
			s.set(func() { s.details = c.change })
			p, err := l.Lookup(t.Context(), inv.Hash)
			if err != nil || p.Settled != c.settled || p.Received != c.received {
				t.Fatalf("Lookup = %+v, %v", p, err)
			}
			if p.Preimage != [32]byte{} && sha256.Sum256(p.Preimage[:]) != inv.Hash {
				t.Error("a preimage that does not fit was passed on")
			}
			if p.Settled && (p.At.Before(born) || p.At.After(s.clock.now())) {
				t.Errorf("settled at %v", p.At)
			}
		})
	}
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(`1` + strings.Repeat("0", 400)), nil }

// TestLNbitsNeverTakesAnUnprovenPaid excludes believing the public answer, the
// answer about another payment, and a "paid" that is not true.
func TestLNbitsNeverTakesAnUnprovenPaid(t *testing.T) {
	h := timmy.Hash(sha256.Sum256([]byte("h")))
	for body, fails := range map[string]bool{
		`{"paid":true,"preimage":"00"}`:                                                                              true,
		`{"paid":true,"details":null}`:                                                                               true,
		`{"paid":"true","details":{"status":"success","amount":1000}}`:                                               false,
		`{"paid":1,"details":{"status":"success","amount":1000}}`:                                                    false,
		`{"details":{"status":"success","amount":1000}}`:                                                             false,
		`{"paid":true,"details":{"payment_hash":"` + timmy.Hash{1}.String() + `","status":"success","amount":1000}}`: true,
		`[]`:     true,
		`{`:      true,
		``:       true,
		`null`:   false,
		`<html>`: true,
	} {
		s := newServer(t)
		s.fault = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		p, err := s.wallet(t).Lookup(ctx, h)
		cancel()
		if p.Settled || fails != (err != nil) || err != nil && timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("%s: %+v, %v", body, p, err)
		}
	}
}

// TestLNbitsFaultsAreBounded is threats B6: every way in which a backend is away
// ends as Unavailable, reads are tried three times, an invoice is asked for
// once, and the breaker opens after five failures.
func TestLNbitsFaultsAreBounded(t *testing.T) {
	huge := strings.Repeat(" ", maxReply+1)
	for name, fault := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 500, map[string]string{"detail": "Unexpected error!"})
		},
		"429": func(w http.ResponseWriter, _ *http.Request) { reply(w, 429, nil) },
		"520": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 520, map[string]string{"detail": "x", "status": "pending"})
		},
		"401": func(w http.ResponseWriter, r *http.Request) { reply(w, 401, r.Header.Get("X-Api-Key")) },
		"404 key": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 404, map[string]string{"detail": "Wallet not found."})
		},
		"html": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, "{")
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, huge) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+testKey, http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.fault = fault
			var log bytes.Buffer
			l := s.wallet(t)
			l.log = slog.New(slog.NewTextHandler(&log, nil))
			_, err := l.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(err.Error(), testKey) {
				t.Fatalf("Issue = %v", err)
			}
			if n := s.calls.Load(); n != 1 {
				t.Fatalf("an invoice was asked for %d times", n)
			}
			for range 3 {
				if _, err = l.Lookup(t.Context(), timmy.Hash{1}); timmy.CodeOf(err) != timmy.Unavailable || strings.Contains(err.Error(), testKey) {
					t.Fatalf("Lookup = %v", err)
				}
			}
			if l.Stats().Breaker != "open" && name != "404 key" || s.calls.Load() > breakerFailures && name != "404 key" {
				t.Errorf("breaker %s after %d calls", l.Stats().Breaker, s.calls.Load())
			}
			if strings.Contains(log.String(), testKey) {
				t.Error("the key is in the log")
			}
		})
	}
}

// TestLNbitsHangEndsInTime excludes an asker who waits for a dead backend for
// ever.
func TestLNbitsHangEndsInTime(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer hang.Close()
	defer close(gone)
	l, err := NewLNbits(LNbitsConfig{URL: hang.URL, Key: testKey, Network: Regtest, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = l.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
	if timmy.CodeOf(err) != timmy.Unavailable || time.Since(start) > 2*callTimeout {
		t.Errorf("Issue = %v after %v", err, time.Since(start))
	}
}

// TestHintsAreOnlyHints excludes crediting what a stranger wrote into the
// socket, and calls without end because of it.
func TestHintsAreOnlyHints(t *testing.T) {
	s := newServer(t)
	l := s.wallet(t)
	inv, err := l.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(chan timmy.Payment, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Watch(ctx, "", func(p timmy.Payment, _ timmy.Cursor) error { got <- p; return nil })
	}()
	s.listening()
	before := s.calls.Load()
	for i := range 200 {
		s.push(`{"payment":{"payment_hash":"` + timmy.Hash{byte(i), 9}.String() + `","status":"success"}}`)
	}
	for _, frame := range []string{``, `null`, `[]`, `{"payment":7}`, `{"payment":{"payment_hash":7}}`, "\x00"} {
		s.push(frame)
	}
	s.push(`{"payment":{"payment_hash":"` + inv.Hash.String() + `","status":"success","amount":-21000}}`)
	s.push(`{"payment":{"payment_hash":"` + inv.Hash.String() + `","status":"success","amount":99999999}}`)
	s.pay(inv.Bolt11, 0)
	if p := <-got; p.Hash != inv.Hash || p.Received != 1000 {
		t.Errorf("reported %+v", p)
	}
	if n := s.calls.Load() - before; n > hintBurst+3 {
		t.Errorf("strangers' frames caused %d calls", n)
	}
	s.mu.Lock()
	for c := range s.sockets {
		c.CloseNow()
	}
	s.mu.Unlock()
	if err := <-ended; err == nil || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), testKey) {
		t.Errorf("Watch = %v", err)
	}
}

// TestNewLNbitsRefusesBadSettings excludes a tower that starts and cannot be
// paid, and a key that would be spread through paths and headers.
func TestNewLNbitsRefusesBadSettings(t *testing.T) {
	for _, cfg := range []LNbitsConfig{
		{URL: "", Key: testKey, Network: Regtest},
		{URL: "ftp://x", Key: testKey, Network: Regtest},
		{URL: "https://user:pass@x", Key: testKey, Network: Regtest},
		{URL: "https://x", Key: "", Network: Regtest},
		{URL: "https://x", Key: "a b\r\n", Network: Regtest},
		{URL: "https://x", Key: testKey, Network: "moon"},
	} {
		if _, err := NewLNbits(cfg); timmy.CodeOf(err) != timmy.Invalid || strings.Contains(err.Error(), testKey) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
