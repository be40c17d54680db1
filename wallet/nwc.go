package wallet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"github.com/sony/gobreaker/v2"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Relays is how [NWC] reaches its wallet: a client of Nostr relays that hands on
// verified events alone.
type Relays interface {
	// Fetch returns what a relay has stored.
	Fetch(ctx context.Context, url string, f nostr.Filter) ([]*nostr.Event, error)
	// Ask publishes ev once a subscription with f is live, and hands on what
	// matches until each returns true.
	Ask(ctx context.Context, url string, f nostr.Filter, ev *nostr.Event, each func(*nostr.Event) bool) error
	// Subscribe hands on what matches until ctx ends, whatever the relay does.
	Subscribe(ctx context.Context, url string, f nostr.Filter, each func(*nostr.Event)) error
}

// NWCConfig is what [NewNWC] needs. A nil clock or logger is the usual one.
type NWCConfig struct {
	URI     nip.WalletURI
	Relays  Relays
	Network Network
	Now     func() time.Time
	Rand    io.Reader // for encryption; required
	Log     *slog.Logger
}

// NWC is a wallet that is spoken to over Nostr (NIP-47). It believes the wallet's
// state, or where that is missing its settlement date, and never a preimage or a
// notification alone. Of a wallet that is used for other things too, it sees only
// what carries the tower's mark.
//
// It may be used by several goroutines.
type NWC struct {
	cfg     NWCConfig
	breaker *gobreaker.CircuitBreaker[[]byte]
	issued  *issued
	told    *issued // payments that Watch has reported

	unlisted atomic.Bool // it was logged that the wallet lists nothing

	mu   sync.Mutex
	info nip.WalletInfo
	when time.Time // of info; zero: none
}

// NewNWC checks the settings; it does not call the wallet.
func NewNWC(cfg NWCConfig) (*NWC, error) {
	if cfg.URI.Key.IsZero() || len(cfg.URI.Relays) == 0 || cfg.Relays == nil || cfg.Rand == nil {
		return nil, timmy.Errorf(timmy.Invalid, "nwc: want a connection string")
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "nwc network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &NWC{cfg: cfg, breaker: newBreaker(nwcAnswered), issued: newIssued(cfg.Now), told: newIssued(cfg.Now)}, nil
}

// Stats reports the breaker's state.
func (n *NWC) Stats() BackendStats { return BackendStats{Breaker: n.breaker.State().String()} }

// Network is the network that invoices must be for.
func (n *NWC) Network() Network { return n.cfg.Network }

// nwcAnswered says whether the wallet is alive: a refusal is an answer, but for
// those that say "not now" or "not you".
func nwcAnswered(err error) bool {
	if err == nil {
		return true
	}
	e, ok := errors.AsType[*nip.WalletError](err)
	return ok && e.Code != nip.WalletRateLimited && e.Code != nip.WalletUnauthorized
}

// nwcMade is the answer of make_invoice.
type nwcMade struct {
	Invoice loose `json:"invoice"`
	Hash    loose `json:"payment_hash"`
}

// Issue makes an invoice; expiry 0 is one hour, at most 24. Unavailable: the wallet
// is away, or made an invoice that is not what was asked for; nobody sees that one.
// It is asked for once: a wallet that makes a second one would not tell which.
func (n *NWC) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	params := map[string]any{
		"amount": int64(t.Amount), "expiry": int64(clampLife(expiry) / time.Second),
		"metadata": map[string]string{"tag": "timmy", "ref": ref},
	}
	if t.DescriptionHash != [32]byte{} {
		params["description_hash"] = hex.EncodeToString(t.DescriptionHash[:])
	} else {
		params["description"] = marked(t.Memo, ref)
	}
	var made nwcMade
	if err := n.write(ctx, "make_invoice", params, &made); err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice by NWC: %w", err)
	}
	want := Want{Network: n.cfg.Network, Amount: t.Amount, DescriptionHash: t.DescriptionHash, Now: n.cfg.Now()}
	if s := made.Hash.text(); s != "" {
		hash, err := timmy.ParseHash(s)
		if err != nil {
			return timmy.Invoice{}, fmt.Errorf("making an invoice by NWC: %w", away(err))
		}
		want.Hash = hash
	}
	inv, err := n.issued.accept(made.Invoice.text(), want)
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice by NWC: %w", away(err))
	}
	return inv, nil
}

// read makes a call that changes nothing; a try that nobody answers is repeated.
func (n *NWC) read(ctx context.Context, method string, params, out any) error {
	return n.repeat(ctx, method, params, out, n.once)
}

// repeat makes at most [maxTries] tries, each with a new event.
func (n *NWC) repeat(ctx context.Context, method string, params, out any, once func(context.Context, string, any) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := insist(ctx, nwcAnswered, func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, nwcRead)
		defer cancel()
		return once(ctx, method, params)
	})
	return n.finish(body, err, out)
}

// write makes a call once.
func (n *NWC) write(ctx context.Context, method string, params, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := n.once(ctx, method, params)
	return n.finish(body, err, out)
}

// finish decodes an answer, or makes of a failure what the asker may read.
func (n *NWC) finish(body []byte, err error, out any) error {
	if err == nil {
		if err = json.Unmarshal(body, out); err != nil {
			err = fmt.Errorf("reading the answer: %w", err)
		}
	}
	if e, ok := errors.AsType[*nip.WalletError](err); ok && e.Code == nip.WalletNotFound {
		return &timmy.Error{Code: timmy.NotFound, Message: "no such invoice", Err: err}
	}
	if err != nil {
		return away(err)
	}
	return nil
}

// once is one attempt, counted by the breaker.
func (n *NWC) once(ctx context.Context, method string, params any) ([]byte, error) {
	return n.breaker.Execute(func() ([]byte, error) { return n.attempt(ctx, method, params) })
}

// attempt is one beside the breaker. A wallet that does not know the encryption any
// more is asked anew what it knows, and once again.
func (n *NWC) attempt(ctx context.Context, method string, params any) ([]byte, error) {
	body, err := n.send(ctx, method, params)
	if e, ok := errors.AsType[*nip.WalletError](err); ok && e.Code == nip.WalletUnsupported {
		n.forget()
		return n.send(ctx, method, params)
	}
	return body, err
}

// send asks by way of all relays at once and takes the first answer. The event is
// one: a wallet that gets it twice handles it once.
func (n *NWC) send(ctx context.Context, method string, params any) ([]byte, error) {
	info, err := n.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	scheme, ok := info.Scheme()
	if !ok {
		return nil, errors.New("the wallet knows no encryption that we know")
	}
	now := n.cfg.Now()
	ev, err := nip.WalletRequest(n.cfg.URI, nip.WalletCall{Method: method, Params: params, Scheme: scheme, Expires: now.Add(nwcExpiry)}, now, n.cfg.Rand)
	if err != nil {
		return nil, err
	}
	return first(ctx, n.cfg.URI.Relays, func(ctx context.Context, url string) (body []byte, err error) {
		refused := error(nil)
		err = n.cfg.Relays.Ask(ctx, url, n.answers(ev.ID), ev, func(got *nostr.Event) bool {
			raw, err := nip.OpenWalletAnswer(n.cfg.URI, got, ev.ID, method)
			if _, no := errors.AsType[*nip.WalletError](err); no {
				refused = err
				return true
			}
			body = raw
			return err == nil && len(raw) <= maxReply
		})
		if err == nil {
			err = refused
		}
		return body, err
	})
}

// answers is what comes back for a request.
func (n *NWC) answers(request string) nostr.Filter {
	return nostr.Filter{
		Kinds: []int{nip.KindWalletResponse}, Authors: []string{n.cfg.URI.Wallet.String()},
		Tags: nostr.TagMap{"e": {request}, "p": {n.cfg.URI.Key.Public().String()}},
	}
}

// first asks all relays at once; the first answer, also a refusal of the wallet,
// ends the others.
func first[T any](ctx context.Context, relays []string, ask func(context.Context, string) (T, error)) (T, error) {
	type said struct {
		v   T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan said, len(relays))
	for _, url := range relays {
		go func() {
			v, err := ask(ctx, url)
			heard <- said{v, err}
		}()
	}
	var failed error
	for range relays {
		s := <-heard
		if _, refused := errors.AsType[*nip.WalletError](s.err); s.err == nil || refused {
			return s.v, s.err
		}
		failed = errors.Join(failed, s.err)
	}
	var none T
	return none, failed
}

// errNoInfo is a wallet that nobody hears of at its relays.
var errNoInfo = errors.New("the relay has no info event of the wallet")

// negotiate is what the wallet says about itself, asked for once an hour.
func (n *NWC) negotiate(ctx context.Context) (nip.WalletInfo, error) {
	n.mu.Lock()
	info, fresh := n.info, !n.when.IsZero() && n.cfg.Now().Sub(n.when) < nwcInfoAge
	n.mu.Unlock()
	if fresh {
		return info, nil
	}
	f := nostr.Filter{Kinds: []int{nip.KindWalletInfo}, Authors: []string{n.cfg.URI.Wallet.String()}, Limit: 1}
	info, err := first(ctx, n.cfg.URI.Relays, func(ctx context.Context, url string) (nip.WalletInfo, error) {
		found, err := n.cfg.Relays.Fetch(ctx, url, f)
		if len(found) == 0 {
			return nip.WalletInfo{}, errors.Join(errNoInfo, err)
		}
		return nip.ParseWalletInfo(found[0])
	})
	if err != nil {
		return nip.WalletInfo{}, fmt.Errorf("asking what the wallet can do: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.info, n.when = info, n.cfg.Now()
	return info, nil
}

func (n *NWC) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.when = time.Time{}
}
