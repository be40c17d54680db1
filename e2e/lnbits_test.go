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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

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

	tamper atomic.Pointer[func(map[string]any)] // changes what is said of a new invoice

	mu      sync.Mutex
	sockets map[*websocket.Conn]bool
}

func startLNbits(t testing.TB) *lnbits {
	t.Helper()
	node, err := wallet.OpenFake(filepath.Join(t.TempDir(), "node.jsonl"), time.Now, rand.Reader, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := &lnbits{node: node, sockets: map[*websocket.Conn]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/payments", l.create)
	mux.HandleFunc("GET /api/v1/payments/{hash}", l.look)
	mux.HandleFunc("GET /api/v1/payments", l.list)
	mux.HandleFunc("GET /api/v1/ws/{key}", l.listen)
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

// env makes it the wallet of a tower.
func (l *lnbits) env() []string {
	return []string{
		"TIMMY_WALLET=lnbits", "TIMMY_LNBITS_URL=" + l.URL, "TIMMY_LNBITS_KEY=" + lnbitsKey, "TIMMY_NETWORK=regtest",
		"TIMMY_BTC_USD=100000",
	}
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
	made := map[string]any{
		"payment_hash": inv.Hash.String(), "bolt11": inv.Bolt11, "checking_id": inv.Hash.String(),
		"amount": int64(inv.Amount), "status": "pending",
	}
	if tamper := l.tamper.Load(); tamper != nil {
		(*tamper)(made)
	}
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(made)
}

// list has what was settled, newest first.
func (l *lnbits) list(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	offset, _ := strconv.Atoi(r.FormValue("offset"))
	all, err := l.node.List(r.Context(), time.Time{})
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"detail":%q}`, err), http.StatusInternalServerError)
		return
	}
	slices.Reverse(all)
	rows := []map[string]any{}
	for _, p := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		rows = append(rows, map[string]any{"payment_hash": p.Hash.String(), "amount": int64(p.Received), "status": "success"})
	}
	json.NewEncoder(w).Encode(rows)
}

// listen keeps a socket that is told of payments.
func (l *lnbits) listen(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	l.mu.Lock()
	l.sockets[c] = true
	l.mu.Unlock()
	c.Read(r.Context())
	l.mu.Lock()
	delete(l.sockets, c)
	l.mu.Unlock()
}

func (l *lnbits) push(h timmy.Hash) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.sockets {
		c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"wallet_balance":1,"payment":{"payment_hash":%q,"status":"success"}}`, h))
	}
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
	tw := startTower(t, ln.env()...)
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
