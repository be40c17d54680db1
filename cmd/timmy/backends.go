package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/agent"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/tower"
	"github.com/timmy-tower/timmy/wallet"
)

// The backends a setting can name.
const (
	walletFake      = "fake"
	walletLNbits    = "lnbits"
	walletLND       = "lnd"
	walletCLN       = "cln"
	walletPhoenixd  = "phoenixd"
	walletNWC       = "nwc"
	walletLNAddress = "lnaddress"
	modelOpenAI     = "openai"
)

// walletPart is a wallet, and the fake one beside it if that is what it is.
type walletPart struct {
	tower.Wallet
	fake *wallet.Fake
}

// Watch passes the push of the wallet on, if it has any.
func (w walletPart) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	if pushes, ok := w.Wallet.(tower.Watcher); ok {
		return pushes.Watch(ctx, from, settled)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// settler is how the page pays an invoice of the fake wallet; nil for real ones.
func (w walletPart) settler() func(context.Context, string) error {
	if w.fake == nil {
		return nil
	}
	return func(ctx context.Context, bolt11 string) error {
		_, err := w.fake.Pay(ctx, bolt11, 0)
		return err
	}
}

// run keeps the wallets going that have connections of their own; nil: nothing to do.
func (w walletPart) run() func(context.Context) error {
	if r, ok := w.Wallet.(interface{ Run(context.Context) error }); ok {
		return r.Run
	}
	return nil
}

// close closes the wallets that have files.
func (w walletPart) close() error {
	if c, ok := w.Wallet.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func openWallet(c *Config, env Env, log *slog.Logger) (walletPart, error) {
	if c.Wallet.Kind == walletFake {
		f, err := wallet.OpenFake(filepath.Join(c.Tower.DataDir, walletFile), env.Now, env.Rand, log)
		if err != nil {
			return walletPart{}, err
		}
		return walletPart{Wallet: f, fake: f}, nil
	}
	w, err := openRealWallet(c, env, log, filepath.Join(c.Tower.DataDir, addressFile))
	return walletPart{Wallet: w}, err
}

// ratesPart is the bitcoin price, and what keeps it fresh.
type ratesPart struct {
	tower.Rates
	run func(context.Context) error // nil: nothing to do
}

func openRates(c *Config, env Env, log *slog.Logger) (ratesPart, error) {
	if c.StaticRate > 0 {
		s, err := wallet.NewStatic(c.StaticRate)
		return ratesPart{Rates: s}, err
	}
	o, err := wallet.NewOracle(wallet.OracleConfig{Now: env.Now, Rand: env.Rand, Log: log})
	if err != nil {
		return ratesPart{}, err
	}
	return ratesPart{Rates: o, run: o.Run}, nil
}

func openModel(c *Config, env Env, log *slog.Logger, rate func(context.Context) (timmy.Rate, error)) (tower.Model, error) {
	if c.Model.Kind == modelOpenAI {
		return agent.NewOpenAI(agent.Config{
			BaseURL: c.Model.BaseURL, APIKey: c.Model.APIKey.Reveal(), EvalModel: c.Model.Eval, WorkModel: c.Model.Work,
			OutputMax: c.Model.OutputMax, Rand: env.Rand, Log: log,
		})
	}
	return agent.NewBuiltin(agent.BuiltinConfig{
		Name: c.Tower.Name, PriceLine: func() string { return priceLine(c, rate) }, Rate: rate, Decoders: []agent.Decoder{decodeForPeople}, Now: env.Now,
	}), nil
}

func prices(c *Config) tower.Prices {
	p := c.Pricing
	return tower.Prices{
		EvalIn: int64(p.EvalIn), EvalOut: int64(p.EvalOut), WorkIn: int64(p.WorkIn), WorkOut: int64(p.WorkOut),
		Infra: int64(p.Infra), Margin: int64(p.Margin) / 100, OutputMax: c.Model.OutputMax,
	}
}

func ledgerOptions(c *Config, env Env, log *slog.Logger) ledger.Options {
	s := c.Sessions
	return ledger.Options{
		Log: log, Now: env.Now, Rand: env.Rand, Grade: tower.Grade,
		SessionExpiry: time.Duration(s.ExpiryHours) * time.Hour,
		MinBalance:    timmy.FromSats(s.MinBalance), MinDeposit: timmy.FromSats(s.MinDeposit), MaxDeposit: timmy.FromSats(s.MaxDeposit),
		PoolShare: c.Pool.Share * 10_000, Wallet: walletName(c), RefundsPerDay: timmy.FromSats(c.Refunds.PerDay),
	}
}

func towerTexts(c *Config) tower.Texts {
	return tower.Texts{
		Name: c.Tower.Name, Address: address(c), PublicURL: c.PublicURL, Demo: c.Wallet.Kind == walletFake,
		MinTopUp: timmy.FromSats(c.Sessions.MinDeposit), MaxTopUp: timmy.FromSats(maxTopUpSats), PayPage: payPage(c),
		Admission: c.Policy.Admission,
	}
}

func relayTexts(c *Config, rate rateFunc, free func() int) relay.TextConfig {
	return relay.TextConfig{
		Name: c.Tower.Name, Address: address(c), PublicURL: c.PublicURL, Demo: c.Wallet.Kind == walletFake,
		Typical: func() string { return typical(c, rate) }, Free: free, Low: func() timmy.Msat { return lowBalance(c, rate) },
	}
}

// maxTopUpSats bounds one payment into a key's account: what nobody should
// trust a stranger's server with.
const maxTopUpSats = 1_000_000

// payPage is where an invoice can be seen with its QR code.
func payPage(c *Config) func(timmy.Invoice) string {
	return func(i timmy.Invoice) string { return c.PublicURL + "/pay/" + i.Hash.String() }
}

// rateFunc is the current bitcoin price.
type rateFunc func(context.Context) (timmy.Rate, error)

// typical is what a usual answer costs, in words; empty while the price of
// bitcoin is not known.
func typical(c *Config, rate rateFunc) string {
	r, err := rate(context.Background())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("about %d sats", prices(c).Typical(r).Sats())
}

// lowBalance is what two usual answers cost; 0 while the price of bitcoin is not
// known.
func lowBalance(c *Config, rate rateFunc) timmy.Msat {
	r, err := rate(context.Background())
	if err != nil {
		return 0
	}
	return 2 * prices(c).Typical(r)
}

// priceLine is the price for people who have not asked yet.
func priceLine(c *Config, rate rateFunc) string {
	t := typical(c, rate)
	if t == "" {
		return "You pay per question, in sats."
	}
	return "A typical answer costs " + t + "; you pay only for answers."
}
