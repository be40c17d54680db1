package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// CLNConfig is what [NewCLN] needs. Rune allows the methods invoice,
// listinvoices, waitanyinvoice and getinfo; a stronger one works but could spend.
// Cert is the node's ca.pem or server.pem, the one certificate that is believed;
// empty: the usual authorities. A nil HTTP client, clock or logger is the usual
// one.
type CLNConfig struct {
	URL     string // https://host:3010, the clnrest listener
	Rune    string
	Cert    []byte
	Network Network
	HTTP    *http.Client
	Now     func() time.Time
	Log     *slog.Logger
}

// CLN is a wallet on a Core Lightning node, over clnrest. The reference is the
// invoice's label, which the node keeps unique: an invoice whose making was not
// answered is found under it and not made twice.
//
// It may be used by several goroutines.
type CLN struct {
	call    *caller
	network Network
	now     func() time.Time
	log     *slog.Logger
	issued  *issued
	create  time.Duration // how long the node may take to make an invoice
	poll    time.Duration // of waitanyinvoice

	mu    sync.Mutex
	start uint64 // of List: everything below is over
	since time.Time
}

// NewCLN checks the settings; it does not call the node.
func NewCLN(cfg CLNConfig) (*CLN, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	base, err := nodeURL("core lightning", cfg.URL, cfg.Log)
	if err != nil {
		return nil, err
	}
	if !headerText(cfg.Rune) {
		return nil, timmy.Errorf(timmy.Invalid, "core lightning rune: want what createrune answered under \"rune\"")
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "core lightning network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.HTTP == nil {
		if cfg.HTTP, err = pinnedClient(cfg.Cert); err != nil {
			return nil, timmy.Errorf(timmy.Invalid, "core lightning certificate: %v", err)
		}
	}
	c := &CLN{
		call: newCaller(base, "Rune", cfg.Rune, cfg.HTTP), network: cfg.Network, now: cfg.Now, log: cfg.Log,
		issued: newIssued(cfg.Now), create: createWait, poll: longPoll, start: 1,
	}
	c.call.missing = func(*status) bool { return false } // an empty list says so
	// These are the node's own refusals; a wrong rune is 1501 and 1502.
	c.call.alive = func(s *status) bool { return s.rpc >= clnLabelExists && s.rpc < 1000 }
	return c, nil
}

// headerText: visible ASCII, as a header needs.
func headerText(s string) bool {
	return s != "" && len(s) <= maxRune && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Stats reports the breaker's state.
func (c *CLN) Stats() BackendStats { return c.call.stats() }

// Network is the network that invoices must be for.
func (c *CLN) Network() Network { return c.network }

// method is a call of the node: always a POST, whether it changes anything or not.
func method(name string, params any) (ask, error) {
	raw, err := json.Marshal(params)
	return ask{method: http.MethodPost, path: "/v1/" + name, body: raw}, err
}

// read calls a method that changes nothing.
func (c *CLN) read(ctx context.Context, name string, params, out any) error {
	a, err := method(name, params)
	if err != nil {
		return err
	}
	return c.call.read(ctx, a, out)
}

// Issue makes an invoice under the reference as its label; expiry 0 is one hour,
// at most 24. The same reference again, or an answer that does not come, finds
// the invoice that is there. Unavailable: the node is away, or made an invoice
// that is not what was asked for; nobody sees that one.
func (c *CLN) Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error) {
	if err := checkTopUp(ref, t); err != nil {
		return timmy.Invoice{}, err
	}
	want := clnCreate{
		AmountMsat: int64(t.Amount), Label: labelled(ref), Description: memo(t.Memo), Expiry: int64(clampLife(expiry) / time.Second),
	}
	if t.DescriptionHash != [32]byte{} {
		if len(t.Description) == 0 || !utf8.Valid(t.Description) {
			return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "description: this wallet hashes the text itself, and there is none")
		}
		want.Description, want.DescHashOnly = string(t.Description), true
	}
	inv, err := c.make(ctx, want, Want{Network: c.network, Amount: t.Amount, DescriptionHash: t.DescriptionHash, Now: c.now()})
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("making an invoice at core lightning: %w", away(err))
	}
	return inv, nil
}

// make asks for the invoice once, and then for what is under its label.
func (c *CLN) make(ctx context.Context, want clnCreate, w Want) (timmy.Invoice, error) {
	a, err := method("invoice", want)
	if err != nil {
		return timmy.Invoice{}, err
	}
	creating, cancel := context.WithTimeout(ctx, c.create)
	var made clnCreated
	err = c.call.write(creating, a, &made)
	cancel()
	if err == nil {
		for _, warning := range made.warnings() {
			c.log.Warn("core lightning doubts that its invoice can be paid", "warning", warning)
		}
		h, err := timmy.ParseHash(made.Hash.text())
		if err != nil {
			return timmy.Invoice{}, err
		}
		w.Hash = h
		return c.issued.accept(made.Bolt11.text(), w)
	}
	if s, ok := errors.AsType[*status](err); ok && s.rpc != clnLabelExists && s.code < 500 {
		return timmy.Invoice{}, err // it was refused, not lost
	}
	looking, cancel := context.WithTimeout(ctx, callTimeout-createWait)
	defer cancel()
	inv, lost := c.labelled(looking, want.Label, w)
	if lost != nil {
		return timmy.Invoice{}, errors.Join(err, lost)
	}
	return inv, nil
}

// labelled is the unpaid invoice under a label.
func (c *CLN) labelled(ctx context.Context, label string, w Want) (timmy.Invoice, error) {
	var list clnInvoices
	if err := c.read(ctx, "listinvoices", map[string]string{"label": label}, &list); err != nil {
		return timmy.Invoice{}, err
	}
	if len(list.Invoices) != 1 || list.Invoices[0].Label.text() != label || list.Invoices[0].Status.text() != "unpaid" {
		return timmy.Invoice{}, errors.New("there is no open invoice under its label")
	}
	h, ok := list.Invoices[0].hash()
	if !ok {
		return timmy.Invoice{}, errors.New("the invoice under its label has no payment hash")
	}
	w.Hash = h
	inv, err := Check(list.Invoices[0].Bolt11.text(), w)
	if err == nil {
		c.issued.remember(h)
	}
	return inv, err
}

// Lookup asks what became of an invoice. NotFound: the node does not know it.
// Received is what was paid, which may be more than was asked for.
func (c *CLN) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	var list clnInvoices
	if err := c.read(ctx, "listinvoices", map[string]string{"payment_hash": h.String()}, &list); err != nil {
		return timmy.Payment{}, fmt.Errorf("looking up at core lightning: %w", err)
	}
	if list.Invoices == nil {
		return timmy.Payment{}, fmt.Errorf("looking up at core lightning: %w", away(errors.New("the answer has no list of invoices")))
	}
	if len(list.Invoices) == 0 {
		return timmy.Payment{}, timmy.Errorf(timmy.NotFound, "no such invoice")
	}
	if got, ok := list.Invoices[0].hash(); !ok || got != h {
		return timmy.Payment{}, fmt.Errorf("looking up at core lightning: %w", away(errors.New("the answer is about another payment")))
	}
	return list.Invoices[0].payment(h, c.now()), nil
}
