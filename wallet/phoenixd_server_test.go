package wallet

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/timmy-tower/timmy"
)

const testPassword = "limited0123456789abcdef"

// phoenixNode is phoenixd: forms in, JSON out, errors as plain text, preimages
// shown before anybody paid.
type phoenixNode struct{ *node }

func newPhoenixNode(t testing.TB) phoenixNode {
	n := phoenixNode{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /createinvoice", func(w http.ResponseWriter, r *http.Request) { n.create(w, r) })
	mux.HandleFunc("GET /payments/incoming/{hash}", func(w http.ResponseWriter, r *http.Request) { n.lookup(w, r) })
	mux.HandleFunc("GET /payments/incoming", func(w http.ResponseWriter, r *http.Request) { n.list(w, r) })
	mux.HandleFunc("GET /websocket", func(w http.ResponseWriter, r *http.Request) { n.socket(w, r) })
	mux.HandleFunc("GET /getinfo", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"nodeId": "02aa", "chain": "regtest", "version": "0.8.0", "channels": []any{}})
	})
	mux.HandleFunc("GET /getbalance", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"balanceSat": 5, "feeCreditSat": 100})
	})
	guard := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "" || password != testPassword {
			http.Error(w, "Invalid authentication (use basic auth with the http password set in phoenix.conf)", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
	n.node = newNode(t, guard, httptest.NewServer)
	return n
}

func (n phoenixNode) wallet(t testing.TB) *Phoenixd {
	t.Helper()
	p, err := NewPhoenixd(PhoenixdConfig{URL: n.http.URL, Password: testPassword, Network: Regtest, Now: n.clock.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plain(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}

func (n phoenixNode) create(w http.ResponseWriter, r *http.Request) {
	sats, err := strconv.ParseInt(r.PostFormValue("amountSat"), 10, 64)
	life, _ := strconv.ParseInt(r.PostFormValue("expirySeconds"), 10, 64)
	memo, hash := r.PostFormValue("description"), r.PostFormValue("descriptionHash")
	if err != nil || (memo == "") == (hash == "") || len([]rune(memo)) > 128 {
		plain(w, http.StatusBadRequest, "Request parameter description (or descriptionHash) is invalid")
		return
	}
	top := timmy.TopUp{Amount: timmy.FromSats(sats), Memo: memo}
	_, _ = hex.Decode(top.DescriptionHash[:], []byte(hash))
	inv, err := n.issue(top, r.PostFormValue("externalId"), time.Duration(life)*time.Second)
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	out := map[string]any{"amountSat": sats, "paymentHash": inv.Hash.String(), "serialized": inv.Bolt11}
	n.set(func() {
		if n.tamper != nil {
			n.tamper(out)
		}
	})
	reply(w, http.StatusOK, out)
}

func (n phoenixNode) view(h timmy.Hash) (map[string]any, bool) {
	inv, label, ok := n.invoice(h)
	if !ok {
		return nil, false
	}
	out := map[string]any{
		"type": "incoming_payment", "subType": "lightning", "paymentHash": h.String(), "preimage": hex.EncodeToString(inv.preimage[:]),
		"externalId": label, "invoice": inv.Bolt11, "isPaid": inv.seq > 0, "isExpired": false, "requestedSat": inv.Amount.Sats(),
		"receivedSat": inv.received.Sats(), "fees": 0, "createdAt": born.UnixMilli(),
	}
	if inv.seq > 0 {
		out["completedAt"] = inv.at.UnixMilli()
	}
	return n.changed(out), true
}

func (n phoenixNode) lookup(w http.ResponseWriter, r *http.Request) {
	h, _ := timmy.ParseHash(r.PathValue("hash"))
	v, ok := n.view(h)
	if !ok {
		plain(w, http.StatusNotFound, "Not found")
		return
	}
	reply(w, http.StatusOK, v)
}

func (n phoenixNode) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := strconv.ParseInt(q.Get("from"), 10, 64)
	limit, _ := strconv.Atoi(q.Get("limit"))
	offset, _ := strconv.Atoi(q.Get("offset"))
	all, _ := n.fake.List(r.Context(), time.UnixMilli(from))
	rows := []any{}
	for _, p := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		v, _ := n.view(p.Hash)
		rows = append(rows, v)
	}
	reply(w, http.StatusOK, rows)
}

func (n phoenixNode) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx := c.CloseRead(context.WithoutCancel(r.Context()))
	n.follow(ctx, int64(len(n.fake.after(0))), func(p timmy.Payment, _ int64) bool {
		frame := fmt.Sprintf(`{"type":"payment_received","timestamp":1,"amountSat":%d,"paymentHash":%q}`, p.Received.Sats(), p.Hash)
		return c.Write(ctx, websocket.MessageText, []byte(frame)) == nil
	})
}
