package wallet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// LNDConfig is what [NewLND] needs. Macaroon is the content of invoice.macaroon,
// or its hex; a stronger one works but could spend. Cert is tls.cert, the one
// certificate that is believed; empty: the usual authorities. A nil HTTP client,
// clock or logger is the usual one.
type LNDConfig struct {
	URL      string // https://host:8080, the REST listener
	Macaroon []byte
	Cert     []byte
	Public   bool // true: no routing hints for private channels
	Network  Network
	HTTP     *http.Client
	Now      func() time.Time
	Log      *slog.Logger
}

// LND is a wallet on an lnd node, over its REST gateway. A payment counts when
// its state is SETTLED and its preimage hashes to the payment hash. The
// reference travels at the end of the memo, and settlements of invoices without
// one are somebody else's.
//
// It may be used by several goroutines.
type LND struct {
	call    *caller
	stream  *http.Client // beside the breaker, without a limit in time
	network Network
	public  bool
	broad   bool // the macaroon names more than invoices
	now     func() time.Time
	log     *slog.Logger
	issued  *issued
	wait    lndWaits
}

// lndWaits are the watchdogs of the stream; tests shorten them.
type lndWaits struct{ replay, idle time.Duration }

// NewLND checks the settings; it does not call the node.
func NewLND(cfg LNDConfig) (*LND, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	base, err := nodeURL("lnd", cfg.URL, cfg.Log)
	if err != nil {
		return nil, err
	}
	macaroon, err := macaroonHex(cfg.Macaroon)
	if err != nil {
		return nil, err
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "lnd network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.HTTP == nil {
		if cfg.HTTP, err = pinnedClient(cfg.Cert); err != nil {
			return nil, timmy.Errorf(timmy.Invalid, "lnd certificate: %v", err)
		}
	}
	l := &LND{
		call: newCaller(base, "Grpc-Metadata-Macaroon", macaroon, cfg.HTTP), stream: bounded(cfg.HTTP),
		network: cfg.Network, public: cfg.Public, now: cfg.Now, log: cfg.Log,
		issued: newIssued(cfg.Now), wait: lndWaits{replay: replayWait, idle: streamIdle},
	}
	l.call.missing = func(s *status) bool {
		return strings.Contains(s.detail, "unable to locate invoice") || strings.Contains(s.detail, "there are no existing invoices")
	}
	raw, _ := hex.DecodeString(macaroon)
	l.broad = strings.Contains(string(raw), "offchain") || strings.Contains(string(raw), "macaroon")
	return l, nil
}

// macaroonHex is the macaroon as the header wants it.
func macaroonHex(b []byte) (string, error) {
	text := strings.ToLower(strings.TrimSpace(string(b)))
	if _, err := hex.DecodeString(text); err != nil {
		text = hex.EncodeToString(b)
	}
	if len(text) < 2*minMacaroon || len(text) > 2*maxMacaroon {
		return "", timmy.Errorf(timmy.Invalid, "lnd macaroon: want the file invoice.macaroon, or its hex")
	}
	return text, nil
}

// Stats reports the breaker's state.
func (l *LND) Stats() BackendStats { return l.call.stats() }

// Network is the network that invoices must be for.
func (l *LND) Network() Network { return l.network }

// Issue makes an invoice; expiry 0 is one hour, at most 24. Unavailable: the node
// is away, or made an invoice that is not what was asked for; nobody sees that
// one.
func (l *LND) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	want := lndCreate{
		ValueMsat: strconv.FormatInt(int64(t.Amount), 10), Memo: marked(t.Memo, ref),
		Expiry: strconv.FormatInt(int64(clampLife(expiry)/time.Second), 10), Private: !l.public,
	}
	if t.DescriptionHash != [32]byte{} {
		want.DescriptionHash = t.DescriptionHash[:]
	}
	var made lndCreated
	if err := l.call.post(ctx, "/v1/invoices", want, &made); err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at lnd: %w", err)
	}
	hash, ok := base64Hash(made.Hash)
	if !ok {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at lnd: %w", away(errors.New("the answer has no payment hash")))
	}
	inv, err := l.issued.accept(made.Request.text(), Want{
		Network: l.network, Amount: t.Amount, Hash: hash, DescriptionHash: t.DescriptionHash, Now: l.now(),
	})
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at lnd: %w", away(err))
	}
	return inv, nil
}

// Lookup asks what became of an invoice. NotFound: the node does not know it.
// Received is what was paid, which may be more than was asked for.
func (l *LND) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	var inv lndInvoice
	if err := l.call.get(ctx, "/v1/invoice/"+h.String(), &inv); err != nil {
		return timmy.Payment{}, fmt.Errorf("looking up at lnd: %w", err)
	}
	if got, ok := base64Hash(inv.Hash); !ok || got != h {
		return timmy.Payment{}, fmt.Errorf("looking up at lnd: %w", away(errors.New("the answer is about another payment")))
	}
	return inv.payment(h, l.now()), nil
}

// List pages through the node's invoices, newest first, back to what may have
// been settled since then.
func (l *LND) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	var out []timmy.Payment
	seen := map[timmy.Hash]bool{}
	cutoff := since.Add(-listSlack)
	offset := "0"
	for range maxNodePages {
		var page lndPage
		path := fmt.Sprintf("/v1/invoices?reversed=true&num_max_invoices=%d&index_offset=%s", nodePage, offset)
		if err := l.call.page(ctx, ask{method: http.MethodGet, path: path}, &page); err != nil {
			return nil, fmt.Errorf("listing at lnd: %w", err)
		}
		older := len(page.Invoices) > 0
		for _, inv := range page.Invoices {
			made, dated := inv.made()
			older = older && dated && made.Before(cutoff)
			h, ok := base64Hash(inv.Hash)
			if _, ours := refOf(inv.Memo.text()); !ok || !ours || seen[h] {
				continue
			}
			seen[h] = true
			if p := inv.payment(h, l.now()); p.Settled {
				out = append(out, p)
			}
		}
		next, ok := page.First.number()
		if len(page.Invoices) == 0 || older || !ok || next <= 1 || strconv.FormatInt(next, 10) == offset {
			return out, nil
		}
		offset = strconv.FormatInt(next, 10)
	}
	l.log.Warn("lnd lists more invoices than one pass reads", "read", maxNodePages*nodePage)
	return out, nil
}
