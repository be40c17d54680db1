package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/lnurl"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/rest"
	"github.com/timmy-tower/timmy/tower"
)

// The files in the data directory.
const (
	ledgerFile = "ledger.db"
	eventsFile = "events.db"
	walletFile = "fake-wallet.jsonl"
)

// parts is a whole tower, wired but not yet running. This is the one place where
// all names are known.
type parts struct {
	cfg    *Config
	env    Env
	log    *slog.Logger
	key    nip.Key
	ledger *db.DB
	events *db.DB

	book     *ledger.Ledger
	sealer   *ledger.Sealer
	wallet   walletPart
	rates    ratesPart
	till     *tower.Till
	payouts  *tower.Payouts // nil: the wallet cannot pay
	desk     *tower.Desk
	inbox    *relay.Inbox
	relay    *relay.Relay
	client   *relay.Client
	web      *relay.Web      // nil: nobody is trusted for whom he knows
	gatherer *relay.Gatherer // nil: messages are left on the own relay alone
	courier  *relay.Courier
	lnurl    *lnurl.Server
	rest     *rest.API

	booksOK  atomic.Bool // what `ledger verify` said at start
	stopping atomic.Bool
	alerts   alerts
	alarm    chan struct{} // there is something that the operators should hear of now
}

// openParts opens the files and makes every part. The writers of the databases
// must run before the ledger can migrate, so start is called once they can.
func openParts(ctx context.Context, env Env, cfg *Config, log *slog.Logger) (p *parts, err error) {
	p = &parts{cfg: cfg, env: env, log: log, alarm: make(chan struct{}, 1)}
	if p.key, err = towerKey(cfg.Tower.DataDir, env.Rand); err != nil {
		return nil, err
	}
	if p.ledger, err = openBooks(ctx, cfg, log); err != nil {
		return nil, err
	}
	if p.events, err = openEvents(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, p.ledger.Close())
	}
	return p, nil
}

// build makes the parts, from the inside out: record, pipelines, doors.
func (p *parts) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		p.buildBook, p.buildPipelines, p.buildRelay, p.buildHTTP,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *parts) buildBook(ctx context.Context) (err error) {
	c := p.cfg
	if p.book, err = ledger.Open(ctx, p.ledger, ledgerOptions(c, p.env, p.log)); err != nil {
		return err
	}
	drifts, err := p.book.Verify(ctx)
	if err != nil {
		return fmt.Errorf("verifying the books: %w", err)
	}
	p.booksOK.Store(len(drifts) == 0)
	for _, d := range drifts {
		p.log.Error("the books do not add up: money routes are closed", "what", d.String())
	}
	if c.Pool.Sats > 0 {
		if err := p.book.Fund(ctx, timmy.FromSats(c.Pool.Sats)); err != nil {
			return fmt.Errorf("funding the pool: %w", err)
		}
	}
	return nil
}

func (p *parts) buildPipelines(ctx context.Context) (err error) {
	c := p.cfg
	if p.wallet, err = openWallet(c, p.env, p.log); err != nil {
		return err
	}
	if p.rates, err = openRates(c, p.env, p.log); err != nil {
		return err
	}
	model, err := openModel(c, p.env, p.log, p.rates.Rate)
	if err != nil {
		return err
	}
	p.till = tower.NewTill(tower.TillConfig{Invoices: p.book, Wallet: p.wallet, Alert: p.alert, Now: p.env.Now, Log: p.log})
	if p.payouts, err = p.newPayouts(); err != nil {
		return err
	}
	p.sealer = p.newSealer()
	p.desk = tower.NewDesk(tower.DeskConfig{
		Book: p.book, Records: p.book, Papers: papers{p.book, p.sealer, p.key}, Till: p.till, Model: model, Rates: p.rates, Prices: prices(c),
		Admissions: p.book, Payouts: p.refunds(),
		Workers: int(c.Tower.Workers), Wake: p.book.Queued(), Texts: towerTexts(c), Now: p.env.Now, Log: p.log,
	})
	return nil
}

func (p *parts) buildRelay(context.Context) (err error) {
	c := p.cfg
	p.inbox = relay.NewInbox(relay.InboxConfig{Key: p.key, Desk: p.desk, Now: p.env.Now, Log: p.log})
	p.client = relay.NewClient(relay.ClientConfig{DialOptions: relay.DialOptions{
		AllowPrivate: c.Relay.AllowPrivate, Auth: p.auth, Now: p.env.Now, Log: p.log,
	}})
	if p.relay, err = p.openRelay(); err != nil {
		return err
	}
	p.courier = relay.NewCourier(relay.CourierConfig{
		Key: p.key, Outbox: p.book, Own: p.relay, Client: p.client, Texts: relayTexts(c, p.rates.Rate, p.desk.FreeForNew), TopUp: p.desk.TopUp,
		OwnURL: c.RelayURL, Indexers: c.Relay.Indexers, Inboxes: c.Relay.InboxRelays, CopyToSelf: c.Relay.CopyToSelf,
		Wake: p.book.Parcels(), Rand: p.env.Rand, Now: p.env.Now, Log: p.log,
	})
	if len(c.Relay.InboxRelays) > 0 {
		p.gatherer = relay.NewGatherer(relay.GathererConfig{
			Self: p.key.Public(), Inbox: p.inbox, Client: p.client, Relays: c.Relay.InboxRelays, Now: p.env.Now, Log: p.log,
		})
	}
	return nil
}

// openRelay makes the relay with its policy. Who is asked about strangers is only
// there where not everybody may write; the web of trust, where it makes a difference.
func (p *parts) openRelay() (*relay.Relay, error) {
	c := p.cfg
	cfg := relay.Config{
		URL: c.RelayURL, Name: c.Tower.Name, Description: "The relay of " + c.Tower.Name + ", an AI agent that is paid in sats.",
		Version: currentVersion().Version, Self: p.key.Public(), Operators: c.Operators, DB: p.events, Inbox: p.inbox,
		Policy: c.Policy, Identity: identity{p.book, p.env.Now},
		TrustedProxies: c.Proxies, Now: p.env.Now, Rand: p.env.Rand, Log: p.log,
		Limits: relay.Limits{
			FramesPerSecond: int(c.Relay.Frames), PerAddress: int(c.Relay.PerAddress),
			EventsPerAddress: int(c.Relay.EventsPerAddress), EventsPerKey: int(c.Relay.EventsPerKey),
		},
	}
	if c.Policy.Admission > 0 {
		cfg.Policy.PayAt = admissionPage(c)
	}
	if c.Policy.Admission > 0 || c.Relay.WriterTier != "" {
		w, err := p.newWriters()
		if err != nil {
			return nil, err
		}
		cfg.Standing = w
	}
	if c.Policy.Writers == relay.WritersTrusted || c.Policy.PowBits > 0 && len(c.Operators) > 0 {
		relays := c.Relay.TrustRelays
		if len(relays) == 0 {
			relays = c.Relay.Indexers
		}
		p.web = relay.NewWeb(relay.WebConfig{
			DB: p.events, Operators: c.Operators, Relays: relays, Client: p.client, Now: p.env.Now, Log: p.log,
		})
		cfg.Web = p.web
	}
	return relay.New(cfg)
}

func (p *parts) buildHTTP(ctx context.Context) (err error) {
	c := p.cfg
	p.lnurl, err = lnurl.New(lnurl.Config{
		PublicURL: c.PublicURL, Name: localName(c), Key: p.key.Public(), RelayURL: c.RelayURL,
		Title: "Top up " + c.Tower.Name, Till: p.till, Book: p.book, TrustedProxies: c.Proxies,
		Private: func(z nip.ZapRequest) (timmy.PubKey, string, error) { return nip.OpenPrivateZap(p.key, z) },
		Calls:   lnurlRate(c), Invoices: lnurlRate(c), Total: lnurlRate(c), Now: p.env.Now, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.rest, err = p.openREST()
	return err
}

func (p *parts) openREST() (*rest.API, error) {
	c := p.cfg
	server, err := serverKey(c.Tower.DataDir, p.env.Rand)
	if err != nil {
		return nil, err
	}
	s := c.Sessions
	var admission *rest.Admission
	if c.Policy.Admission > 0 {
		admission = &rest.Admission{Price: c.Policy.Admission, Key: parsePubKey, Invoice: p.admissionInvoice}
	}
	rc := rest.Config{
		Admission: admission,
		Desk:      p.desk, Till: p.till, Sessions: ledger.Sessions{Ledger: p.book}, IdemKeys: idemKeys{p.book},
		Identity: identity{p.book, p.env.Now}, Trust: trust{p.book, p.env.Now}, Bus: p.desk,
		Papers:    papers{p.book, p.sealer, p.key},
		ServerKey: server[:], PublicURL: c.PublicURL,
		MinDeposit: timmy.FromSats(s.MinDeposit), MaxDeposit: timmy.FromSats(s.MaxDeposit), MinBalance: timmy.FromSats(s.MinBalance),
		ShowMacaroon: rest.ShowMacaroon(s.ShowMacaroon), Operators: c.Operators, TrustedProxies: c.Proxies,
		Limits: rest.Limits{
			SessionsPerMinute: perMinute(c.HTTP.NewSessions), SessionsBurst: perMinute(c.HTTP.NewSessions),
			PerMinute: perMinute(c.HTTP.PerMinute), Burst: perMinute(c.HTTP.PerMinute),
		},
		Now: p.env.Now, Rand: p.env.Rand, Log: p.log, Ready: p.ready, MoneyOK: p.booksOK.Load,
		Pay: p.wallet.settler(), Invoice: p.book.Invoice, Collectors: p.collectors(),
		Page: rest.Page{
			Name: c.Tower.Name, Npub: p.key.Npub(), Nprofile: nip.Nprofile(p.key.Public(), []string{c.RelayURL}),
			Address: address(c), RelayURL: c.RelayURL, Demo: c.Wallet.Kind == walletFake, PriceLine: priceLine(c, p.rates.Rate),
		},
	}
	if r := p.refunds(); r != nil {
		rc.Refunds = r
	}
	if c.HTTP.MPP {
		rc.PaymentNetwork = c.Wallet.Network
	}
	return rest.New(rc)
}

// perMinute translates "0: no limit" of the settings.
func perMinute(n int64) int {
	if n == 0 {
		return -1
	}
	return int(n)
}

// lnurlRate lifts the limits of the callback where HTTP has none; else the
// defaults of lnurl hold.
func lnurlRate(c *Config) lnurl.Rate {
	if c.HTTP.PerMinute > 0 {
		return lnurl.Rate{}
	}
	return lnurl.Rate{PerMinute: unlimited, Burst: unlimited}
}

// unlimited is more calls a minute than a machine can answer.
const unlimited = 1 << 30

// auth identifies the tower to other relays, by its own key.
func (p *parts) auth(url, challenge string) (*nostrEvent, error) {
	return nip.Auth(p.key, url, challenge, p.env.Now())
}

// ready says how each thing the tower needs is.
func (p *parts) ready(ctx context.Context) map[string]string {
	state := map[string]string{"books": "ok", "wallet": "ok", "price": "ok", "tower": "ok"}
	if !p.booksOK.Load() {
		state["books"] = "the books do not add up: see `timmy ledger verify`"
	}
	if err := p.till.Healthy(); err != nil {
		state["wallet"] = err.Error()
	}
	if away := p.till.WalletAway(); !away.IsZero() && p.env.Now().Sub(away) > alertAfter {
		state["wallet"] = "the wallet has answered nothing since " + away.UTC().Format(time.RFC3339)
	}
	if _, err := p.rates.Rate(ctx); err != nil {
		state["price"] = err.Error()
	}
	if p.stopping.Load() {
		state["tower"] = "stopping"
	}
	return state
}

// localName is the local part of the lightning address and of NIP-05.
func localName(c *Config) string {
	var b strings.Builder
	for _, r := range strings.ToLower(c.Tower.Name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return "timmy"
	}
	return b.String()
}

// address is the lightning address: the port is part of it where it is unusual.
func address(c *Config) string {
	_, host, _ := strings.Cut(c.PublicURL, "://")
	if h, port, err := net.SplitHostPort(host); err == nil && (port == "443" || port == "80") {
		host = h
	}
	return localName(c) + "@" + host
}
