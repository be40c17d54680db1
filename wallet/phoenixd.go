package wallet

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// PhoenixdConfig is what [NewPhoenixd] needs. Password is
// http-password-limited-access of phoenix.conf; the full one works but could
// spend. A nil HTTP client, clock or logger is the usual one.
type PhoenixdConfig struct {
	URL      string // http://127.0.0.1:9740
	Password string
	Network  Network
	HTTP     *http.Client
	Now      func() time.Time
	Log      *slog.Logger
}

// Phoenixd is a wallet on a phoenixd. It believes isPaid, never a preimage:
// phoenixd shows preimages of invoices that nobody paid. What phoenixd keeps as
// a fee for liquidity counts as received: the payer paid it, and the operator
// bears it.
//
// It may be used by several goroutines.
type Phoenixd struct {
	call    *caller
	network Network
	now     func() time.Time
	log     *slog.Logger
	issued  *issued
}

// NewPhoenixd checks the settings; it does not call the server.
func NewPhoenixd(cfg PhoenixdConfig) (*Phoenixd, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	base, err := nodeURL("phoenixd", cfg.URL, cfg.Log)
	if err != nil {
		return nil, err
	}
	if !headerText(cfg.Password) || len(cfg.Password) > maxKey {
		return nil, timmy.Errorf(timmy.Invalid, "phoenixd password: want http-password-limited-access of phoenix.conf")
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "phoenixd network: want mainnet, testnet, signet, regtest or simnet")
	}
	c := newCaller(base, "Authorization", cfg.Password, cfg.HTTP)
	c.also = base64.StdEncoding.EncodeToString([]byte(":" + cfg.Password))
	c.header.Set("Authorization", "Basic "+c.also)
	c.missing = func(s *status) bool {
		return s.code == http.StatusNotFound && strings.TrimSpace(s.detail) == "Not found"
	}
	return &Phoenixd{call: c, network: cfg.Network, now: cfg.Now, log: cfg.Log, issued: newIssued(cfg.Now)}, nil
}

// Stats reports the breaker's state.
func (p *Phoenixd) Stats() BackendStats { return p.call.stats() }

// Network is the network that invoices must be for.
func (p *Phoenixd) Network() Network { return p.network }

// Issue makes an invoice; expiry 0 is one hour, at most 24. phoenixd counts in
// whole sats, so any other amount is Invalid. Unavailable: the server is away,
// or made an invoice that is not what was asked for; nobody sees that one.
func (p *Phoenixd) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	if t.Amount%timmy.Sat != 0 {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "amount: this wallet makes invoices over whole sats only")
	}
	form := url.Values{
		"amountSat":     {strconv.FormatInt(t.Amount.Sats(), 10)},
		"expirySeconds": {strconv.FormatInt(int64(clampLife(expiry)/time.Second), 10)},
		"externalId":    {labelled(ref)},
	}
	if t.DescriptionHash != [32]byte{} {
		form.Set("descriptionHash", hex.EncodeToString(t.DescriptionHash[:]))
	} else {
		form.Set("description", cut(memo(t.Memo), maxPhoenixdMemo))
	}
	var made struct {
		Hash    loose `json:"paymentHash"`
		Invoice loose `json:"serialized"`
	}
	a := ask{method: http.MethodPost, path: "/createinvoice", kind: "application/x-www-form-urlencoded", body: []byte(form.Encode())}
	if err := p.call.write(ctx, a, &made); err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at phoenixd: %w", err)
	}
	hash, err := timmy.ParseHash(made.Hash.text())
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at phoenixd: %w", away(err))
	}
	inv, err := p.issued.accept(made.Invoice.text(), Want{
		Network: p.network, Amount: t.Amount, Hash: hash, DescriptionHash: t.DescriptionHash, Now: p.now(),
	})
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at phoenixd: %w", away(err))
	}
	return inv, nil
}

// phoenixdPayment is an incoming payment; times are milliseconds.
type phoenixdPayment struct {
	Hash      loose `json:"paymentHash"`
	Preimage  loose `json:"preimage"`
	External  loose `json:"externalId"`
	Paid      loose `json:"isPaid"`
	Requested loose `json:"requestedSat"`
	Received  loose `json:"receivedSat"` // after the fees
	Fees      loose `json:"fees"`        // msat
	Completed loose `json:"completedAt"`
}

// ref is our reference; false: the invoice is somebody else's.
func (r phoenixdPayment) ref() (string, bool) { return unlabelled(r.External.text()) }

// completed is when it was paid, in milliseconds; 0: it does not say.
func (r phoenixdPayment) completed() int64 {
	n, ok := r.Completed.integer()
	if !ok || n < 0 || n > 1<<50 {
		return 0
	}
	return n
}

// received is what the payer paid, or 0 for what cannot be. The part of a sat
// that phoenixd cuts off must not turn an exact payment into one that is short.
func (r phoenixdPayment) received() timmy.Msat {
	sats, ok := r.Received.integer()
	if !ok || sats < 0 || sats > timmy.MaxMsat.Sats() {
		return 0
	}
	got := timmy.FromSats(sats)
	fees, ok := r.Fees.integer()
	if !ok || fees <= 0 || fees > int64(timmy.MaxMsat) {
		return got
	}
	got += timmy.Msat(fees)
	if want, ok := r.Requested.integer(); ok && want > 0 && want <= timmy.MaxMsat.Sats() {
		if w := timmy.FromSats(want); got < w && w-got < timmy.Sat {
			got = w
		}
	}
	return min(got, timmy.MaxMsat)
}

// payment is what the tower is told. A preimage that does not fit is left out.
func (r phoenixdPayment) payment(h timmy.Hash, now time.Time) timmy.Payment {
	out := timmy.Payment{Hash: h}
	out.Ref, _ = r.ref()
	if !r.Paid.isTrue() {
		return out
	}
	out.Settled, out.Received, out.At = true, r.received(), now.UTC()
	if raw, err := hex.DecodeString(r.Preimage.text()); err == nil && proves(raw, h) {
		out.Preimage = [32]byte(raw)
	}
	if at := r.completed(); at > 0 {
		out.At = plausible(time.UnixMilli(at), now)
	}
	return out
}

// Lookup asks what became of an invoice. NotFound: the server does not know it.
func (p *Phoenixd) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	_, out, err := p.lookup(ctx, h)
	return out, err
}

func (p *Phoenixd) lookup(ctx context.Context, h timmy.Hash) (phoenixdPayment, timmy.Payment, error) {
	var row phoenixdPayment
	if err := p.call.get(ctx, "/payments/incoming/"+h.String(), &row); err != nil {
		return row, timmy.Payment{}, fmt.Errorf("looking up at phoenixd: %w", err)
	}
	if row.Hash.text() != h.String() {
		return row, timmy.Payment{}, fmt.Errorf("looking up at phoenixd: %w", away(errors.New("the answer is about another payment")))
	}
	return row, row.payment(h, p.now()), nil
}

// List returns what was received since then.
func (p *Phoenixd) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	var out []timmy.Payment
	seen := map[timmy.Hash]bool{}
	from := max(0, since.UnixMilli())
	for page := range maxPages {
		var rows []phoenixdPayment
		path := fmt.Sprintf("/payments/incoming?from=%d&limit=%d&offset=%d", from, pageSize, page*pageSize)
		if err := p.call.page(ctx, ask{method: http.MethodGet, path: path}, &rows); err != nil {
			return nil, fmt.Errorf("listing at phoenixd: %w", err)
		}
		for _, row := range rows {
			h, err := timmy.ParseHash(row.Hash.text())
			if _, ours := row.ref(); err != nil || !ours || seen[h] {
				continue
			}
			seen[h] = true
			if pay := row.payment(h, p.now()); pay.Settled {
				out = append(out, pay)
			}
		}
		if len(rows) < pageSize {
			return out, nil
		}
	}
	p.log.Warn("phoenixd lists more payments than one pass reads", "read", maxPages*pageSize)
	return out, nil
}
