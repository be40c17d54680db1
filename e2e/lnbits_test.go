package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/wallet"
)

const lnbitsKey = "invoice-key-of-the-test"

// lnbits is a server that answers as LNbits does, with real invoices on regtest
// behind it.
type lnbits struct {
	*httptest.Server
	node *wallet.Fake
	away atomic.Bool
}

func startLNbits(t testing.TB) *lnbits {
	t.Helper()
	node, err := wallet.OpenFake(filepath.Join(t.TempDir(), "node.jsonl"), time.Now, rand.Reader, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := &lnbits{node: node}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/payments", l.create)
	mux.HandleFunc("GET /api/v1/payments/{hash}", l.look)
	mux.HandleFunc("GET /api/v1/payments", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`[]`)) })
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case l.away.Load():
			http.Error(w, `{"detail":"the database password is hunter2"}`, http.StatusInternalServerError)
		case r.Header.Get("X-Api-Key") != lnbitsKey && !strings.Contains(r.URL.Path, "/ws/"):
			http.Error(w, `{"detail":"No Api Key provided."}`, http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { l.Close(); node.Close() })
	return l
}

func (l *lnbits) create(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Out         bool
		Amount      int64
		Memo        string
		Expiry      int64
		Unhashed    string `json:"unhashed_description"`
		Description string `json:"description_hash"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || ask.Out {
		http.Error(w, `{"detail":"bad request"}`, http.StatusBadRequest)
		return
	}
	top := timmy.TopUp{Account: timmy.HouseRevenue, Purpose: timmy.ForPay, Amount: timmy.FromSats(ask.Amount), Memo: ask.Memo}
	if ask.Unhashed != "" {
		top.Description, _ = hex.DecodeString(ask.Unhashed)
	}
	hex.Decode(top.DescriptionHash[:], []byte(ask.Description))
	inv, err := l.node.Issue(r.Context(), newUUID(), top, time.Duration(ask.Expiry)*time.Second)
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"detail":%q}`, err), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(map[string]any{
		"payment_hash": inv.Hash.String(), "bolt11": inv.Bolt11, "checking_id": inv.Hash.String(),
		"amount": int64(inv.Amount), "status": "pending",
	})
}

func (l *lnbits) look(w http.ResponseWriter, r *http.Request) {
	h, err := timmy.ParseHash(r.PathValue("hash"))
	if err != nil {
		http.Error(w, `{"detail":"Payment does not exist."}`, http.StatusNotFound)
		return
	}
	p, err := l.node.Lookup(r.Context(), h)
	if err != nil {
		http.Error(w, `{"detail":"Payment does not exist."}`, http.StatusNotFound)
		return
	}
	status := "pending"
	if p.Settled {
		status = "success"
	}
	json.NewEncoder(w).Encode(map[string]any{
		"paid": p.Settled, "status": status, "preimage": strings.Repeat("0", 64),
		"details": map[string]any{"payment_hash": h.String(), "amount": int64(p.Received), "status": status},
	})
}

// TestLNbitsIsWatchedNotPolledByClients: a deposit that is paid at the wallet is
// credited by the tower's own watching, whoever looks; while the wallet is away
// callers are told so and when to come back, nothing hangs and nothing leaks.
func TestLNbitsIsWatchedNotPolledByClients(t *testing.T) {
	t.Parallel()
	ln := startLNbits(t)
	tw := startTower(t, "TIMMY_WALLET=lnbits", "TIMMY_LNBITS_URL="+ln.URL, "TIMMY_LNBITS_KEY="+lnbitsKey,
		"TIMMY_NETWORK=regtest", "TIMMY_BTC_USD=100000")
	a := newAPI(t, tw)
	created := a.call(201, "POST", "/sessions", `{"amount_sats":500}`)
	id, bolt11 := created.str("sessionId"), created.obj("invoice").str("paymentRequest")
	if _, err := ln.node.Pay(context.Background(), bolt11, 0); err != nil {
		t.Fatal(err)
	}
	if a.active(id).num("balanceSats") != 500 {
		t.Fatal("a paid deposit is credited")
	}
	if _, err := tw.timmy("pay", bolt11); err == nil {
		t.Fatal("a real wallet's invoice cannot be paid by the tower itself")
	}

	ln.away.Store(true)
	start := time.Now()
	refused := a.call(503, "POST", "/sessions", `{"amount_sats":500}`)
	if refused.header.Get("Retry-After") == "" || strings.Contains(refused.raw, "hunter2") || time.Since(start) > 15*time.Second {
		t.Fatalf("wallet away: %v %s", refused.header, refused.raw)
	}
	a.call(200, "GET", "/sessions/"+id, "") // reading never depends on the wallet
	asker := newAsker(t, tw, tw.pubkey())
	asker.ask("What is 2*3?", "")
	waitFor(t, "a polite answer", func() bool {
		said, err := asker.messages()
		for question := range asker.asks {
			for _, text := range said[question] {
				return err == nil && strings.Contains(text, "not charged") && !strings.Contains(text, "hunter2")
			}
		}
		return false
	})
	ln.away.Store(false)
	tw.verifyBooks()
}
