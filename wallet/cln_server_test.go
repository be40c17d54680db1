package wallet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

const testRune = "Zm9vYmFyLXJ1bmUtZm9yLXRlc3Rz-methods=invoice_0123456789"

// clnNode is Core Lightning's clnrest: every call is a POST, success is 201,
// labels are unique, and errors carry the RPC's code.
type clnNode struct {
	*node
	labels  map[string]timmy.Hash // under mu
	swallow *bool                 // makes an invoice and never says so; under mu
}

func newCLNNode(t testing.TB) clnNode {
	n := clnNode{labels: map[string]timmy.Hash{}, swallow: new(bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/invoice", func(w http.ResponseWriter, r *http.Request) { n.create(w, r) })
	mux.HandleFunc("POST /v1/listinvoices", func(w http.ResponseWriter, r *http.Request) { n.list(w, r) })
	mux.HandleFunc("POST /v1/waitanyinvoice", func(w http.ResponseWriter, r *http.Request) { n.wait(w, r) })
	mux.HandleFunc("POST /v1/getinfo", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusCreated, map[string]any{"alias": "clnode", "network": "regtest", "id": "02aa", "version": "v25.05"})
	})
	guard := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Rune") != testRune {
			reply(w, http.StatusForbidden, map[string]any{"code": 1501, "message": "Not authorized: Missing rune"})
			return
		}
		mux.ServeHTTP(w, r)
	})
	n.node = newNode(t, guard, httptest.NewTLSServer)
	return n
}

func (n clnNode) wallet(t testing.TB) *CLN {
	t.Helper()
	c, err := NewCLN(CLNConfig{URL: n.http.URL, Rune: testRune, Cert: n.pem(), Network: Regtest, Now: n.clock.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rpcFault(w http.ResponseWriter, code int, message string) {
	reply(w, http.StatusInternalServerError, map[string]any{"code": code, "message": message, "data": nil})
}

func (n clnNode) create(w http.ResponseWriter, r *http.Request) {
	var want struct {
		AmountMsat   int64  `json:"amount_msat"`
		Label        string `json:"label"`
		Description  string `json:"description"`
		Expiry       int64  `json:"expiry"`
		DescHashOnly bool   `json:"deschashonly"`
	}
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil || want.Label == "" {
		rpcFault(w, -32602, "bad parameters")
		return
	}
	n.mu.Lock()
	_, taken := n.labels[want.Label]
	n.mu.Unlock()
	if taken {
		rpcFault(w, 900, "Duplicate label '"+want.Label+"'")
		return
	}
	top := timmy.TopUp{Amount: timmy.Msat(want.AmountMsat), Memo: want.Description}
	if want.DescHashOnly {
		top.DescriptionHash = sha256.Sum256([]byte(want.Description))
	}
	inv, err := n.issue(top, want.Label, time.Duration(want.Expiry)*time.Second)
	if err != nil {
		rpcFault(w, -1, err.Error())
		return
	}
	out := map[string]any{"payment_hash": inv.Hash.String(), "bolt11": inv.Bolt11, "expires_at": inv.Expires.Unix(), "created_index": 1}
	var lost bool
	n.set(func() {
		n.labels[want.Label] = inv.Hash
		lost = *n.swallow
		if n.tamper != nil {
			n.tamper(out)
		}
	})
	if lost {
		<-r.Context().Done()
		return
	}
	reply(w, http.StatusCreated, out)
}

func (n clnNode) view(h timmy.Hash) map[string]any {
	inv, label, _ := n.invoice(h)
	n.mu.Lock()
	created := slices.Index(n.made, h) + 1
	n.mu.Unlock()
	out := map[string]any{
		"label": label, "payment_hash": h.String(), "status": "unpaid", "expires_at": inv.Expires.Unix(), "amount_msat": int64(inv.Amount),
		"bolt11": inv.Bolt11, "created_index": created,
	}
	if inv.seq > 0 {
		out["status"], out["pay_index"], out["amount_received_msat"] = "paid", inv.seq, int64(inv.received)
		out["paid_at"], out["payment_preimage"] = inv.at.Unix(), hex.EncodeToString(inv.preimage[:])
	} else if !n.clock.now().Before(inv.Expires) {
		out["status"] = "expired"
	}
	return n.changed(out)
}

func (n clnNode) list(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Label string `json:"label"`
		Hash  string `json:"payment_hash"`
		Index string `json:"index"`
		Start int    `json:"start"`
		Limit int    `json:"limit"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	n.mu.Lock()
	made := slices.Clone(n.made)
	byLabel, known := n.labels[q.Label]
	n.mu.Unlock()
	rows := []any{}
	switch {
	case q.Label != "" && known:
		rows = append(rows, n.view(byLabel))
	case q.Hash != "":
		if h, err := timmy.ParseHash(q.Hash); err == nil && slices.Contains(made, h) {
			rows = append(rows, n.view(h))
		}
	case q.Index == "created" && q.Limit > 0:
		first := min(len(made), max(0, q.Start-1))
		for _, h := range made[first:min(len(made), first+q.Limit)] {
			rows = append(rows, n.view(h))
		}
	}
	reply(w, http.StatusCreated, map[string]any{"invoices": rows})
}

func (n clnNode) wait(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Last    int64 `json:"lastpay_index"`
		Timeout int64 `json:"timeout"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	late := time.After(time.Duration(q.Timeout) * time.Second)
	for {
		n.mu.Lock()
		wake := n.wake
		n.mu.Unlock()
		if list := n.fake.after(q.Last); len(list) > 0 {
			reply(w, http.StatusCreated, n.view(list[0].Hash))
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-n.quit:
			return
		case <-late:
			rpcFault(w, clnTimedOut, "Timed out while waiting for invoice to be paid")
			return
		case <-wake:
		}
	}
}
