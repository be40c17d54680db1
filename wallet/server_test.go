package wallet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/timmy-tower/timmy"
)

const testKey = "0123456789abcdef0123456789abcdef"

// server is an LNbits server with a real wallet inside, and faults that a test
// scripts.
type server struct {
	t      *testing.T
	fake   *Fake
	clock  *clock
	http   *httptest.Server
	legacy bool // replies as before version 1
	calls  atomic.Int64

	mu      sync.Mutex
	fault   http.HandlerFunc           // answers instead of everything
	broken  func(*http.Request) bool   // calls that are cut off
	tamper  func(reply map[string]any) // changes a created invoice
	details func(reply map[string]any) // changes a looked-up payment
	sockets map[*websocket.Conn]bool
}

func newServer(t *testing.T) *server {
	c := &clock{at: born}
	s := &server{t: t, clock: c, sockets: map[*websocket.Conn]bool{}}
	s.fake = openFake(t, filepath.Join(t.TempDir(), "lnbits.jsonl"), c)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/payments", s.create)
	mux.HandleFunc("GET /api/v1/payments/{hash}", s.lookup)
	mux.HandleFunc("GET /api/v1/payments", s.list)
	mux.HandleFunc("GET /api/v1/ws/{key}", s.socket)
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		s.mu.Lock()
		fault, broken := s.fault, s.broken
		s.mu.Unlock()
		if broken != nil && broken(r) {
			panic(http.ErrAbortHandler)
		}
		if fault != nil {
			fault(w, r)
			return
		}
		if r.Header.Get("X-Api-Key") != testKey && r.PathValue("key") == "" && r.URL.Path != "/api/v1/ws/"+testKey {
			reply(w, http.StatusNotFound, map[string]any{"detail": "Wallet not found."})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) wallet(t testing.TB) *LNbits {
	t.Helper()
	l, err := NewLNbits(LNbitsConfig{URL: s.http.URL + "/", Key: testKey, Network: Regtest, Now: s.clock.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *server) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Out      *bool             `json:"out"`
		Amount   int64             `json:"amount"`
		Unit     string            `json:"unit"`
		Memo     string            `json:"memo"`
		Expiry   int64             `json:"expiry"`
		Unhashed string            `json:"unhashed_description"`
		Extra    map[string]string `json:"extra"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || ask.Out == nil || *ask.Out || ask.Unit != "sat" {
		reply(w, http.StatusBadRequest, map[string]any{"detail": "this would be a payment"})
		return
	}
	top := timmy.TopUp{Amount: timmy.FromSats(ask.Amount), Memo: ask.Memo}
	if ask.Unhashed != "" {
		top.Description, _ = hex.DecodeString(ask.Unhashed)
		top.DescriptionHash = sha256.Sum256(top.Description)
	}
	inv, err := s.fake.Issue(r.Context(), ask.Extra["ref"], top, seconds2(ask.Expiry))
	if err != nil {
		reply(w, 520, map[string]any{"detail": err.Error(), "status": "failed"})
		return
	}
	out := map[string]any{"payment_hash": inv.Hash.String(), "checking_id": inv.Hash.String(), "payment_request": inv.Bolt11}
	if !s.legacy {
		out["bolt11"], out["amount"], out["status"] = inv.Bolt11, int64(inv.Amount), "pending"
	}
	s.mu.Lock()
	if s.tamper != nil {
		s.tamper(out)
	}
	s.mu.Unlock()
	reply(w, http.StatusCreated, out)
}

// payment is the server's view of a payment. As the real one, it shows the
// preimage of what nobody paid.
func (s *server) payment(p timmy.Payment) map[string]any {
	s.fake.mu.Lock()
	inv := s.fake.invoices[p.Hash]
	out := map[string]any{
		"payment_hash": p.Hash.String(), "amount": int64(inv.Amount), "fee": 0, "preimage": hex.EncodeToString(inv.preimage[:]),
		"bolt11": inv.Bolt11, "extra": map[string]any{"tag": "timmy", "ref": inv.ref},
	}
	s.fake.mu.Unlock()
	if p.Settled {
		out["amount"] = int64(p.Received)
	}
	if s.legacy {
		out["pending"], out["time"] = !p.Settled, born.Unix()
	} else {
		out["status"], out["time"], out["created_at"] = "pending", born.Format("2006-01-02T15:04:05+00:00"), born.Format("2006-01-02T15:04:05.000000")
		if p.Settled {
			out["status"] = "success"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.details != nil {
		s.details(out)
	}
	return out
}

func (s *server) lookup(w http.ResponseWriter, r *http.Request) {
	h, err := timmy.ParseHash(r.PathValue("hash"))
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"detail": "bad hash"})
		return
	}
	p, err := s.fake.Lookup(r.Context(), h)
	if err != nil {
		reply(w, http.StatusNotFound, map[string]any{"detail": "Payment does not exist."})
		return
	}
	reply(w, http.StatusOK, map[string]any{"paid": p.Settled, "preimage": "00", "details": s.payment(p)})
}

// list is newest first, pending ones too unless the status is asked for.
func (s *server) list(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	s.fake.mu.Lock()
	var all []timmy.Payment
	for _, inv := range s.fake.invoices {
		if inv.seq > 0 {
			all = append(all, inv.payment())
		} else if s.legacy {
			all = append(all, timmy.Payment{Hash: inv.Hash})
		}
	}
	s.fake.mu.Unlock()
	sortPayments(all)
	rows := []map[string]any{}
	for _, p := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		rows = append(rows, s.payment(p))
	}
	reply(w, http.StatusOK, rows)
}

func (s *server) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	s.set(func() { s.sockets[c] = true })
	_, _, _ = c.Read(r.Context())
	s.set(func() { delete(s.sockets, c) })
	c.CloseNow()
}

// listening waits until the wallet has its socket open.
func (s *server) listening() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.sockets)
		s.mu.Unlock()
		if n > 0 {
			return
		}
	}
	s.t.Error("nobody listens")
}

// push writes a frame to whoever listens.
func (s *server) push(frame string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sockets {
		_ = c.Write(s.t.Context(), websocket.MessageText, []byte(frame))
	}
}

func (s *server) pay(bolt11 string, received timmy.Msat) {
	p, err := s.fake.Pay(s.t.Context(), bolt11, received)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.push(fmt.Sprintf(`{"wallet_balance":1,"payment":{"payment_hash":%q,"status":"success"}}`, p.Hash))
}
