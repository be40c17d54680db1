package wallet

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// get says whether a request reads exactly this path.
func get(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == path }
}

// Excludes: a wallet that makes and finds invoices and is left alone all the same, for
// its list, which may be too long for it, fails: no customer gets an invoice then, and
// polling stops.
func TestAListThatFailsStopsNothingElse(t *testing.T) {
	for name, open := range map[string]func(*testing.T) issuer{
		"lnbits": func(t *testing.T) issuer {
			s := newServer(t)
			s.broken = get("/api/v1/payments")
			return s.wallet(t)
		},
		"lnd": func(t *testing.T) issuer {
			n := newLNDNode(t)
			n.broken = get("/v1/invoices")
			return n.wallet(t)
		},
		"cln": func(t *testing.T) issuer {
			n := newCLNNode(t)
			n.broken = func(r *http.Request) bool {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				return r.URL.Path == "/v1/listinvoices" && bytes.Contains(body, []byte(`"start"`))
			}
			return n.wallet(t)
		},
		"phoenixd": func(t *testing.T) issuer {
			n := newPhoenixNode(t)
			n.broken = get("/payments/incoming")
			return n.wallet(t)
		},
		"nwc": func(t *testing.T) issuer {
			n := newNWCNode(t, nip.NIP44)
			n.refuse = func(method string) *nip.WalletError {
				if method != "list_transactions" {
					return nil
				}
				return &nip.WalletError{Code: nip.WalletRateLimited, Message: "x"}
			}
			return n.wallet(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			for range breakerFailures {
				if _, err := w.List(t.Context(), time.Unix(0, 0)); timmy.CodeOf(err) != timmy.Unavailable {
					t.Fatalf("List = %v", err)
				}
			}
			inv, err := w.Issue(t.Context(), "r", timmy.TopUp{Amount: 1000, Memo: "m"}, 0)
			if err != nil {
				t.Fatalf("Issue = %v", err)
			}
			if p, err := w.Lookup(t.Context(), inv.Hash); err != nil || p.Settled {
				t.Errorf("Lookup = %+v, %v", p, err)
			}
			if w.Stats().Breaker != "closed" {
				t.Errorf("breaker %s", w.Stats().Breaker)
			}
		})
	}
}
