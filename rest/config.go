package rest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/timmy-tower/timmy"
)

// ShowMacaroon says when GET /sessions/:id shows the bearer to a caller who has
// nothing but the session's id. Who presents the bearer, or the token of the
// session's owner, always sees it.
type ShowMacaroon string

// The settings.
const (
	ShowAlways    ShowMacaroon = "always"     // as documented; the default
	ShowUntilUsed ShowMacaroon = "until-used" // until the bearer was presented once
	ShowNever     ShowMacaroon = "never"
)

// Limits are token buckets, one per client address (IPv6: per /64). Zero means
// the default, negative no limit.
type Limits struct {
	SessionsPerMinute, SessionsBurst int // POST /sessions
	PerMinute, Burst                 int // everything but /healthz
}

// Page is what the pages say of the tower.
type Page struct {
	Name      string
	Npub      string // npub1…
	Nprofile  string // nprofile1…, with the relay: what the QR code holds
	Address   string // the lightning address
	RelayURL  string
	Demo      bool   // the wallet is fake: no real sats
	PriceLine string // what an answer costs, in words
}

// Config is what an [API] is made of. Desk, Till, Sessions, IdemKeys, Identity,
// Trust, Bus, ServerKey, PublicURL and the three amounts are needed.
type Config struct {
	Desk     Desk
	Till     Till
	Sessions Sessions
	IdemKeys IdemKeys
	Identity Identity
	Trust    Trust
	Bus      Bus

	ServerKey []byte // 32 secret bytes: bearers and tokens are derived from it
	PublicURL string // as callers see it, without a path: what NIP-98 is checked against

	MinDeposit, MaxDeposit timmy.Msat // of amount_sats
	MinBalance             timmy.Msat // needed to run a request

	ShowMacaroon   ShowMacaroon
	TokenLife      time.Duration // of an identity token
	RequestTimeout time.Duration // how long POST /sessions/:id/request waits for its answer
	Operators      []timmy.PubKey
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Limits         Limits

	Now  Clock
	Rand io.Reader
	Log  *slog.Logger

	// Ready names what the tower needs and how it is: "ok", or what is wrong.
	// Details are shown on the loopback listener only.
	Ready func(ctx context.Context) map[string]string
	// MoneyOK false: the books do not add up, and money routes answer 503.
	MoneyOK func() bool
	// Pay settles an invoice of the fake wallet: the pay page's button. Nil with
	// every other wallet, and the route does not exist then.
	Pay func(ctx context.Context, bolt11 string) error
	// Invoice reads an invoice of ours; nil: no pay page, and no L402.
	Invoice func(ctx context.Context, hash timmy.Hash) (timmy.InvoiceStatus, error)
	// Papers makes receipts and proofs; nil: their routes do not exist.
	Papers Papers
	// Admission sells writing on the relay; nil: there is no page for it.
	Admission *Admission
	// PaymentNetwork is the network that challenges of the HTTP scheme "Payment" name
	// (mainnet, signet, regtest); "": the scheme is off.
	PaymentNetwork string
	// Refunds give unspent money back; nil: the operator does not allow it, and the
	// routes do not exist.
	Refunds Refunds
	// Collectors are shown on /metrics beside our own.
	Collectors []prometheus.Collector
	Page       Page
}

func (c *Config) check() error {
	switch {
	case c.Desk == nil, c.Till == nil, c.Sessions == nil, c.IdemKeys == nil,
		c.Identity == nil, c.Trust == nil, c.Bus == nil:
		return fmt.Errorf("rest: a port is missing")
	case len(c.ServerKey) != 32:
		return fmt.Errorf("rest: the server key has %d bytes, want 32", len(c.ServerKey))
	case c.MinDeposit <= 0 || c.MaxDeposit < c.MinDeposit || c.MaxDeposit > timmy.MaxMsat:
		return fmt.Errorf("rest: deposits from %d to %d sats make no sense", c.MinDeposit.Sats(), c.MaxDeposit.Sats())
	case c.MinBalance < 0:
		return fmt.Errorf("rest: the minimum balance is negative")
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("rest: the public URL must be http(s)://host without a path")
	}
	switch c.ShowMacaroon {
	case "", ShowAlways, ShowUntilUsed, ShowNever:
		return nil
	}
	return fmt.Errorf("rest: show_macaroon is %q, want always, until-used or never", c.ShowMacaroon)
}

func (c *Config) fill() {
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.ServerKey = append([]byte(nil), c.ServerKey...)
	if c.ShowMacaroon == "" {
		c.ShowMacaroon = ShowAlways
	}
	if c.TokenLife <= 0 {
		c.TokenLife = defaultTokenLife
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = defaultRequestTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MoneyOK == nil {
		c.MoneyOK = func() bool { return true }
	}
	if c.Ready == nil {
		c.Ready = func(context.Context) map[string]string { return nil }
	}
	l := &c.Limits
	for _, d := range []struct {
		n     *int
		deflt int
	}{
		{&l.SessionsPerMinute, defaultSessionsPerMinute},
		{&l.SessionsBurst, defaultSessionsBurst},
		{&l.PerMinute, defaultPerMinute},
		{&l.Burst, defaultBurst},
	} {
		if *d.n == 0 {
			*d.n = d.deflt
		}
	}
}
