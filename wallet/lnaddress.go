package wallet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// LNAddressConfig is what [OpenLNAddress] needs. Path is the file that remembers
// where each invoice is asked for; empty: nothing is remembered. A nil HTTP
// client calls public addresses only. A nil clock or logger is the usual one.
type LNAddressConfig struct {
	Address string // name@host
	Path    string
	Network Network
	HTTP    *http.Client
	Now     func() time.Time
	Log     *slog.Logger
}

// LNAddress receives at a lightning address of a provider (LUD-16), without a
// node of one's own. Whether an invoice was paid is asked where the provider said
// when it made it (LUD-21), and there is no push. The invoice is described by the
// provider, so that zaps and LNURL payments of our own are impossible.
//
// It may be used by several goroutines.
type LNAddress struct {
	call    *caller
	home    string // where the address is looked up
	address string
	network Network
	now     func() time.Time
	log     *slog.Logger
	issued  *issued
	journal *journal // nil: nothing is remembered

	mu       sync.Mutex
	promises map[timmy.Hash]*promise
	offer    offer
	offered  time.Time
}

// promise is an invoice of the provider's.
type promise struct {
	timmy.Invoice
	ref, verify string
	settled     bool
	preimage    [32]byte
	at          time.Time
}

// offer is the answer to the first call of LUD-06; amounts are msat.
type offer struct {
	Tag      string `json:"tag"`
	Callback string `json:"callback"`
	Min      int64  `json:"minSendable"`
	Max      int64  `json:"maxSendable"`
	Metadata string `json:"metadata"`
	Status   string `json:"status"`
	Reason   string `json:"reason"`
}

// Stats reports the breaker's state.
func (a *LNAddress) Stats() BackendStats { return a.call.stats() }

// Network is the network that invoices must be for.
func (a *LNAddress) Network() Network { return a.network }

// Issue asks the provider for an invoice; how long it lives is the provider's to
// say, at most 24 hours are told. Invalid: a description hash of ours, or an
// amount that the provider does not take. Unavailable: the provider is away, or
// made an invoice that is not what was asked for; nobody sees that one.
func (a *LNAddress) Issue(ctx context.Context, ref string, t timmy.TopUp, _ time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	if t.DescriptionHash != [32]byte{} {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "this wallet is a lightning address of a provider and cannot take zaps or LNURL payments: ask for an invoice instead")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := a.look(ctx)
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("asking %s: %w", a.address, away(err))
	}
	if int64(t.Amount) < o.Min || int64(t.Amount) > o.Max {
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "amount: this wallet takes from %d to %d sats", (o.Min+999)/1000, o.Max/1000)
	}
	p, err := a.ask(ctx, o, t.Amount)
	if err == nil {
		p.ref = ref
		err = a.keep(p)
	}
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("asking %s: %w", a.address, away(err))
	}
	return p.Invoice, nil
}

// look reads the provider's offer, from memory for some minutes.
func (a *LNAddress) look(ctx context.Context) (offer, error) {
	a.mu.Lock()
	o, age := a.offer, a.now().Sub(a.offered)
	a.mu.Unlock()
	if o.Callback != "" && age >= 0 && age < offerAge {
		return o, nil
	}
	o = offer{}
	if err := a.call.get(ctx, a.home, &o); err != nil {
		return offer{}, err
	}
	if strings.EqualFold(o.Status, "ERROR") {
		return offer{}, fmt.Errorf("the provider refuses: %s", oneLine(o.Reason))
	}
	if o.Tag != "payRequest" || o.Metadata == "" || o.Min <= 0 || o.Max < o.Min {
		return offer{}, errors.New("this is not the answer of a lightning address")
	}
	if _, err := secureURL(o.Callback); err != nil {
		return offer{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.offer, a.offered = o, a.now()
	return o, nil
}

// ask gets an invoice whose payment can be verified.
func (a *LNAddress) ask(ctx context.Context, o offer, amount timmy.Msat) (*promise, error) {
	inv, verify, err := a.fetch(ctx, o, amount)
	if err != nil {
		return nil, err
	}
	if verify == "" {
		return nil, errNoVerify
	}
	if _, err := secureURL(verify); err != nil {
		return nil, err
	}
	return &promise{Invoice: inv, verify: verify}, nil
}

// fetch calls the provider back, once, and checks the invoice that it made.
func (a *LNAddress) fetch(ctx context.Context, o offer, amount timmy.Msat) (inv timmy.Invoice, verify string, err error) {
	u, err := secureURL(o.Callback)
	if err != nil {
		return inv, "", err
	}
	q := u.Query()
	q.Set("amount", strconv.FormatInt(int64(amount), 10))
	u.RawQuery = q.Encode()
	var made struct {
		Invoice loose `json:"pr"`
		Verify  loose `json:"verify"`
		Status  loose `json:"status"`
		Reason  loose `json:"reason"`
	}
	if err := a.call.write(ctx, ask{method: http.MethodGet, path: u.String()}, &made); err != nil {
		return inv, "", err
	}
	if strings.EqualFold(made.Status.text(), "ERROR") {
		return inv, "", fmt.Errorf("the provider refuses: %s", oneLine(made.Reason.text()))
	}
	inv, err = a.issued.accept(made.Invoice.text(), Want{
		Network: a.network, Amount: amount, DescriptionHash: sha256.Sum256([]byte(o.Metadata)), Now: a.now(),
	})
	return inv, made.Verify.text(), err
}

// errNoVerify: nobody could ever find out whether an invoice was paid.
var errNoVerify = errors.New("the provider does not say where payments can be verified (LUD-21): choose another")

// Lookup asks the provider what became of an invoice. NotFound: it is none of
// ours, or the provider has forgotten it. The provider does not tell how much was
// paid: Received is the invoice's amount.
func (a *LNAddress) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	a.mu.Lock()
	p, ok := a.promises[h]
	var known promise
	if ok {
		known = *p
	}
	a.mu.Unlock()
	if !ok {
		return timmy.Payment{}, timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	if known.settled {
		return known.payment(), nil
	}
	var said struct {
		Status   loose `json:"status"`
		Settled  loose `json:"settled"`
		Preimage loose `json:"preimage"`
		Invoice  loose `json:"pr"`
	}
	if err := a.call.get(ctx, known.verify, &said); err != nil {
		return timmy.Payment{}, fmt.Errorf("verifying at the provider: %w", err)
	}
	if said.Status.text() != "OK" {
		return timmy.Payment{}, fmt.Errorf("verifying at the provider: %w", timmy.Errorf(timmy.NotFound, "no such invoice"))
	}
	if s := said.Invoice.text(); s != "" && !strings.EqualFold(s, known.Bolt11) {
		return timmy.Payment{}, fmt.Errorf("verifying at the provider: %w", away(errors.New("the answer is about another payment")))
	}
	if !said.Settled.isTrue() {
		return timmy.Payment{Hash: h, Ref: known.ref}, nil
	}
	if text := said.Preimage.text(); text != "" {
		raw, err := hex.DecodeString(text)
		if err != nil || !proves(raw, h) {
			a.log.Error("the provider calls an invoice settled but shows a preimage that is not its: not credited", "hash", h)
			return timmy.Payment{Hash: h, Ref: known.ref}, nil
		}
		known.preimage = [32]byte(raw)
	}
	known.settled, known.at = true, a.now().UTC()
	return known.payment(), a.settle(&known)
}

// payment is what the tower is told of a settled invoice.
func (p *promise) payment() timmy.Payment {
	return timmy.Payment{Hash: p.Hash, Ref: p.ref, Received: p.Amount, Preimage: p.preimage, Settled: true, At: p.at}
}

// List verifies what is still open, and returns what was settled since then.
func (a *LNAddress) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	var out []timmy.Payment
	var open []timmy.Hash
	a.mu.Lock()
	for h, p := range a.promises {
		switch {
		case p.settled && !p.at.Before(since):
			out = append(out, p.payment())
		case !p.settled && len(open) < maxVerifies:
			open = append(open, h)
		}
	}
	a.mu.Unlock()
	for _, h := range open {
		p, err := a.Lookup(ctx, h)
		if timmy.CodeOf(err) == timmy.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.Settled && !p.At.Before(since) {
			out = append(out, p)
		}
	}
	return out, nil
}

// Probe asks the provider for its offer.
func (a *LNAddress) Probe(ctx context.Context) Report {
	var r Report
	r.fact("address", a.address)
	o, err := a.look(ctx)
	if timmy.CodeOf(err) == timmy.NotFound {
		err = errors.New("the provider does not know this name")
	}
	if !r.try("reach the provider", "nothing", err) {
		return r
	}
	if u, err := url.Parse(o.Callback); err == nil {
		r.fact("provider", u.Host)
	}
	r.fact("takes", fmt.Sprintf("from %d to %d sats", (o.Min+999)/1000, o.Max/1000))
	r.add("custody", Warning, "the provider holds the sats until you move them")
	return r
}
