package wallet

import (
	"bytes"
	"context"
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

// unlisted are wallets whose list fails.
func unlisted() map[string]func(*testing.T) bench {
	return map[string]func(*testing.T) bench{
		"lnbits": func(t *testing.T) bench {
			s := newServer(t)
			s.broken = get("/api/v1/payments")
			return bench{wallet: s.wallet(t), pay: s.pay, listening: s.listening}
		},
		"lnd": func(t *testing.T) bench {
			n := newLNDNode(t)
			n.broken = get("/v1/invoices")
			return bench{wallet: n.wallet(t), pay: n.pay, listening: n.listening}
		},
		"cln": func(t *testing.T) bench {
			n := newCLNNode(t)
			n.broken = func(r *http.Request) bool {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				return r.URL.Path == "/v1/listinvoices" && bytes.Contains(body, []byte(`"start"`))
			}
			return bench{wallet: n.wallet(t), pay: n.pay}
		},
		"phoenixd": func(t *testing.T) bench {
			n := newPhoenixNode(t)
			n.broken = get("/payments/incoming")
			return bench{wallet: n.wallet(t), pay: n.pay, listening: n.listening}
		},
		"nwc": func(t *testing.T) bench {
			n := newNWCNode(t, nip.NIP44)
			n.refuse = func(method string) *nip.WalletError {
				if method != "list_transactions" {
					return nil
				}
				return &nip.WalletError{Code: nip.WalletRateLimited, Message: "x"}
			}
			return bench{wallet: n.wallet(t), pay: n.pay, listening: n.listening}
		},
	}
}

// Excludes: a wallet that makes and finds invoices and is left alone all the same, for
// its list, which may be too long for it, fails: no customer gets an invoice then,
// polling stops, and what is pushed is not heard.
func TestAListThatFailsStopsNothingElse(t *testing.T) {
	for name, open := range unlisted() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			w := b.wallet.(issuer)
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
			b.pushes(t, name == "cln", inv)
		})
	}
}

// pushes is a payment that the wallet tells by itself. ordered: it counts payments, and its
// cursor does not depend on a list.
func (b *bench) pushes(t *testing.T, ordered bool, inv timmy.Invoice) {
	ctx, stop := context.WithCancel(t.Context())
	told, ended := make(chan timmy.Payment, 1), make(chan error, 1)
	go func() {
		ended <- b.wallet.Watch(ctx, "", func(p timmy.Payment, c timmy.Cursor) error {
			if !ordered && c != "" {
				t.Errorf("the cursor moved to %q past what was not listed", c)
			}
			told <- p
			return nil
		})
	}()
	if b.listening != nil {
		b.listening()
	}
	b.pay(inv.Bolt11, 0)
	select {
	case p := <-told:
		if p.Hash != inv.Hash || !p.Settled {
			t.Errorf("told of %+v", p)
		}
	case err := <-ended:
		t.Fatalf("Watch ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Error("nothing was told")
	}
	stop()
	<-ended
}
