package wallet

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// testMacaroon stands for invoice.macaroon.
var testMacaroon = []byte("\x02\x01\x03lnd-invoices-read-write-0123456789-0123456789-0123456789")

// lndNode is lnd's REST gateway: base64 bytes, 64 bits as text, one JSON object a
// line in its stream.
type lndNode struct {
	*node
	unlisted *atomic.Bool // it lists nothing: it has too much to
}

func newLNDNode(t testing.TB) lndNode {
	n := lndNode{unlisted: &atomic.Bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/invoices", func(w http.ResponseWriter, r *http.Request) { n.create(w, r) })
	mux.HandleFunc("GET /v1/invoices", func(w http.ResponseWriter, r *http.Request) {
		if n.unlisted.Load() {
			reply(w, http.StatusInternalServerError, map[string]any{"code": 4, "message": "context deadline exceeded", "details": []any{}})
			return
		}
		n.list(w, r)
	})
	mux.HandleFunc("GET /v1/invoice/{hash}", func(w http.ResponseWriter, r *http.Request) { n.lookup(w, r) })
	mux.HandleFunc("GET /v1/invoices/subscribe", func(w http.ResponseWriter, r *http.Request) { n.subscribe(w, r) })
	mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"state": "SERVER_ACTIVE"})
	})
	guard := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Grpc-Metadata-Macaroon") != hex.EncodeToString(testMacaroon) && r.URL.Path != "/v1/state" {
			reply(w, http.StatusInternalServerError, map[string]any{"code": 2, "message": "verification failed: signature mismatch after caveat verification", "details": []any{}})
			return
		}
		mux.ServeHTTP(w, r)
	})
	n.node = newNode(t, guard, httptest.NewTLSServer)
	return n
}

func (n lndNode) wallet(t testing.TB) *LND {
	t.Helper()
	l, err := NewLND(LNDConfig{
		URL: n.http.URL, Macaroon: testMacaroon, Cert: n.pem(), Network: Regtest, Now: n.clock.now, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (n lndNode) create(w http.ResponseWriter, r *http.Request) {
	var want struct {
		ValueMsat       string `json:"value_msat"`
		Memo            string `json:"memo"`
		Expiry          string `json:"expiry"`
		Private         bool   `json:"private"`
		DescriptionHash []byte `json:"description_hash"`
	}
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil || !want.Private || len(want.Memo) > maxMemo {
		reply(w, http.StatusBadRequest, map[string]any{"code": 3, "message": fmt.Sprint("bad invoice ", err)})
		return
	}
	msat, _ := strconv.ParseInt(want.ValueMsat, 10, 64)
	life, _ := strconv.ParseInt(want.Expiry, 10, 64)
	top := timmy.TopUp{Amount: timmy.Msat(msat), Memo: want.Memo}
	copy(top.DescriptionHash[:], want.DescriptionHash)
	inv, err := n.issue(top, want.Memo, time.Duration(life)*time.Second)
	if err != nil {
		reply(w, http.StatusInternalServerError, map[string]any{"code": 2, "message": err.Error()})
		return
	}
	out := map[string]any{"r_hash": b64(inv.Hash[:]), "payment_request": inv.Bolt11, "add_index": "1", "payment_addr": "AA=="}
	n.set(func() {
		if n.tamper != nil {
			n.tamper(out)
		}
	})
	reply(w, http.StatusOK, out)
}

func (n lndNode) view(h timmy.Hash) (map[string]any, bool) {
	inv, memo, ok := n.invoice(h)
	if !ok {
		return nil, false
	}
	out := map[string]any{
		"memo": memo, "r_hash": b64(h[:]), "r_preimage": b64(inv.preimage[:]), "value_msat": fmt.Sprint(int64(inv.Amount)),
		"payment_request": inv.Bolt11, "creation_date": fmt.Sprint(born.Unix()), "state": "OPEN", "settled": false,
		"amt_paid_msat": "0", "settle_index": "0", "settle_date": "0", "htlcs": []any{},
	}
	if inv.seq > 0 {
		out["state"], out["settled"], out["amt_paid_msat"] = "SETTLED", true, fmt.Sprint(int64(inv.received))
		out["settle_index"], out["settle_date"] = fmt.Sprint(inv.seq), fmt.Sprint(inv.at.Unix())
	}
	return n.changed(out), true
}

func (n lndNode) lookup(w http.ResponseWriter, r *http.Request) {
	h, _ := timmy.ParseHash(r.PathValue("hash"))
	v, ok := n.view(h)
	if !ok {
		reply(w, http.StatusNotFound, map[string]any{"code": 5, "message": "unable to locate invoice", "details": []any{}})
		return
	}
	reply(w, http.StatusOK, v)
}

func (n lndNode) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	offset, _ := strconv.Atoi(q.Get("index_offset"))
	most, _ := strconv.Atoi(q.Get("num_max_invoices"))
	n.mu.Lock()
	made := slices.Clone(n.made)
	n.mu.Unlock()
	end := len(made)
	if offset > 0 {
		end = min(end, offset-1)
	}
	first := max(0, end-most)
	rows := []any{}
	for _, h := range made[first:end] {
		v, _ := n.view(h)
		rows = append(rows, v)
	}
	if q.Get("reversed") != "true" || most == 0 {
		reply(w, http.StatusBadRequest, map[string]any{"code": 3, "message": "this would be every invoice"})
		return
	}
	out := map[string]any{"invoices": rows, "first_index_offset": "0", "last_index_offset": "0"}
	if len(rows) > 0 {
		out["first_index_offset"], out["last_index_offset"] = fmt.Sprint(first+1), fmt.Sprint(end)
	}
	reply(w, http.StatusOK, out)
}

// subscribe replays after a settle_index, unless it is 0; as the real one, it
// does not even send a head before the first event, and shows a client nothing
// up to the index it named.
func (n lndNode) subscribe(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("settle_index"), 10, 64)
	from := after
	if after == 0 {
		from = int64(len(n.fake.after(0)))
	}
	n.follow(r.Context(), from, func(p timmy.Payment, seq int64) bool {
		v, _ := n.view(p.Hash)
		err := json.NewEncoder(w).Encode(map[string]any{"result": v})
		w.(http.Flusher).Flush()
		return err == nil
	})
}
