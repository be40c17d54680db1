package wallet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// LNbitsConfig is what [NewLNbits] needs. Key is the wallet's invoice/read key:
// an admin key works but could spend. A nil HTTP client, clock or logger is the
// usual one.
type LNbitsConfig struct {
	URL     string // https://host, without /api
	Key     string
	Network Network
	HTTP    *http.Client
	Now     func() time.Time
	Log     *slog.Logger
}

// LNbits is a wallet on an LNbits server, version 1 or the replies of 0.12. It
// believes the server's status, never a preimage: LNbits shows preimages of
// invoices that nobody paid.
//
// It may be used by several goroutines.
type LNbits struct {
	call    *caller
	network Network
	now     func() time.Time
	log     *slog.Logger

	issued *issued
}

// NewLNbits checks the settings; it does not call the server.
func NewLNbits(cfg LNbitsConfig) (*LNbits, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, timmy.Errorf(timmy.Invalid, "lnbits url: want https://host")
	}
	if !plainKey(cfg.Key) {
		return nil, timmy.Errorf(timmy.Invalid, "lnbits key: want the wallet's invoice/read key, without spaces")
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "lnbits network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		cfg.Log.Warn("lnbits is called without TLS: whoever is in between can read the key", "host", u.Host)
	}
	return &LNbits{
		call:    newCaller(u.String(), "X-Api-Key", cfg.Key, cfg.HTTP),
		network: cfg.Network, now: cfg.Now, log: cfg.Log,
		issued: newIssued(cfg.Now),
	}, nil
}

// plainKey: the key travels in a header and in a path, and is searched for in
// errors; only the unreserved characters of RFC 3986 are the same in all three.
func plainKey(s string) bool {
	return s != "" && len(s) <= maxKey && strings.Trim(s, ".") != "" &&
		strings.Trim(s, "0123456789abcdefABCDEFghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ-._~") == ""
}

// Stats reports the breaker's state.
func (l *LNbits) Stats() BackendStats { return l.call.stats() }

// Network is the network that invoices must be for.
func (l *LNbits) Network() Network { return l.network }

// Issue makes an invoice; expiry 0 is one hour, at most 24. LNbits counts in
// whole sats, so any other amount is Invalid. Unavailable: the server is away,
// or made an invoice that is not what was asked for; nobody sees that one.
func (l *LNbits) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	if t.Amount%timmy.Sat != 0 {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "amount: this wallet makes invoices over whole sats only")
	}
	ask := lnbitsCreate{
		Amount: t.Amount.Sats(), Unit: "sat", Memo: memo(t.Memo), Expiry: int64(clampLife(expiry) / time.Second),
		Extra: map[string]string{"tag": "timmy", "ref": ref},
	}
	if t.DescriptionHash != [32]byte{} {
		ask.DescriptionHash = hex.EncodeToString(t.DescriptionHash[:])
		ask.Unhashed = hex.EncodeToString(t.Description)
	}
	var made lnbitsCreated
	if err := l.call.post(ctx, "/api/v1/payments", ask, &made); err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at lnbits: %w", err)
	}
	inv, err := l.accept(made, Want{
		Network: l.network, Amount: t.Amount, DescriptionHash: t.DescriptionHash, Now: l.now(),
	})
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at lnbits: %w", away(err))
	}
	return inv, nil
}

// accept checks a new invoice and refuses a hash that was given out before.
func (l *LNbits) accept(made lnbitsCreated, w Want) (timmy.Invoice, error) {
	hash, err := timmy.ParseHash(made.PaymentHash.text())
	if err != nil {
		return timmy.Invoice{}, err
	}
	if hash.IsZero() {
		return timmy.Invoice{}, errors.New("the payment hash is zero")
	}
	w.Hash = hash
	return l.issued.accept(made.invoice(), w)
}

// Lookup asks what became of an invoice. NotFound: the server does not know it.
// Received is 0 where the server says it was paid but names no amount that could
// be meant: the ledger quarantines that.
func (l *LNbits) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	var state lnbitsState
	if err := l.call.get(ctx, "/api/v1/payments/"+h.String(), &state); err != nil {
		return timmy.Payment{}, fmt.Errorf("looking up at lnbits: %w", err)
	}
	if !state.Paid.isTrue() {
		return timmy.Payment{Hash: h}, nil
	}
	if state.Details == nil {
		return timmy.Payment{}, fmt.Errorf("looking up at lnbits: %w", away(errors.New("paid without details: is the key of that wallet?")))
	}
	if s := state.Details.PaymentHash.text(); s != "" && s != h.String() {
		return timmy.Payment{}, fmt.Errorf("looking up at lnbits: %w", away(errors.New("the answer is about another payment")))
	}
	if !state.Details.success() {
		return timmy.Payment{Hash: h, Ref: state.Details.ref()}, nil
	}
	return state.Details.payment(h, l.now()), nil
}

// List pages through what the wallet received, newest first, back to what may
// have been settled since then.
func (l *LNbits) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	var out []timmy.Payment
	seen := map[timmy.Hash]bool{}
	cutoff := since.Add(-listSlack)
	for page := range maxPages {
		var rows []lnbitsPayment
		path := fmt.Sprintf("/api/v1/payments?limit=%d&offset=%d&status=success", pageSize, page*pageSize)
		if err := l.call.page(ctx, ask{method: http.MethodGet, path: path}, &rows); err != nil {
			return nil, fmt.Errorf("listing at lnbits: %w", err)
		}
		older := len(rows) > 0
		for _, row := range rows {
			made, dated := row.made()
			older = older && dated && made.Before(cutoff)
			h, err := timmy.ParseHash(row.PaymentHash.text())
			if err != nil || seen[h] || !row.success() || row.outgoing() || dated && made.Before(cutoff) {
				continue
			}
			seen[h] = true
			out = append(out, row.payment(h, l.now()))
		}
		if len(rows) < pageSize || older {
			return out, nil
		}
	}
	l.log.Warn("lnbits lists more payments than one pass reads", "read", maxPages*pageSize)
	return out, nil
}
