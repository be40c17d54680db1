package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/tower"
	"github.com/timmy-tower/timmy/wallet"
)

// addressFile remembers where the invoices of a lightning address are verified.
const addressFile = "lnaddress.jsonl"

// openRealWallet makes the client of the wallet that is set. It does not call it.
// path is for what must outlive the process; empty: nothing is kept.
func openRealWallet(c *Config, env Env, log *slog.Logger, path string) (tower.Wallet, error) {
	w := c.Wallet
	network, err := wallet.ParseNetwork(w.Network)
	if err != nil {
		return nil, err
	}
	switch w.Kind {
	case walletLNbits:
		return wallet.NewLNbits(wallet.LNbitsConfig{
			URL: w.LNbitsURL, Key: w.LNbitsKey.Reveal(), Network: network, Now: env.Now, Log: log,
		})
	case walletLND:
		return openLND(c, network, env, log)
	case walletCLN:
		cert, err := c.certificate("TIMMY_CLN_CERT_FILE", w.CLNCert)
		if err != nil {
			return nil, err
		}
		return wallet.NewCLN(wallet.CLNConfig{
			URL: w.CLNURL, Rune: w.CLNRune.Reveal(), Cert: cert, Network: network, Now: env.Now, Log: log,
		})
	case walletPhoenixd:
		return wallet.NewPhoenixd(wallet.PhoenixdConfig{
			URL: w.PhoenixdURL, Password: w.PhoenixdPassword.Reveal(), Network: network, Now: env.Now, Log: log,
		})
	case walletNWC:
		return openNWC(c, network, env, log)
	case walletLNAddress:
		return wallet.OpenLNAddress(wallet.LNAddressConfig{
			Address: strings.ToLower(w.LNAddress), Path: path, Network: network, Now: env.Now, Log: log,
		})
	}
	return nil, fmt.Errorf("there is no wallet %q", w.Kind)
}

func openLND(c *Config, network wallet.Network, env Env, log *slog.Logger) (tower.Wallet, error) {
	w := c.Wallet
	macaroon, err := readSmall(w.LNDMacaroon)
	if err != nil {
		return nil, c.bad("TIMMY_LND_MACAROON_FILE", pathError("reading", err))
	}
	cert, err := c.certificate("TIMMY_LND_CERT_FILE", w.LNDCert)
	if err != nil {
		return nil, err
	}
	return wallet.NewLND(wallet.LNDConfig{
		URL: w.LNDURL, Macaroon: macaroon, Cert: cert, Public: !w.LNDPrivate, Network: network, Now: env.Now, Log: log,
	})
}

// nwcBackoff is how long a relay of the wallet is left alone that failed: money
// waits for it.
const nwcBackoff = 10 * time.Second

// nwcPart is the wallet and a relay client of its own, which identifies itself by
// the connection's key and never by the tower's. The operator chose the relay, so
// it may be at home.
type nwcPart struct {
	*wallet.NWC
	client *relay.Client
}

// Run closes idle connections.
func (p nwcPart) Run(ctx context.Context) error { return p.client.Run(ctx) }

func openNWC(c *Config, network wallet.Network, env Env, log *slog.Logger) (tower.Wallet, error) {
	uri, err := nip.ParseWalletURI(c.Wallet.NWC.Reveal())
	if err != nil {
		return nil, c.bad("TIMMY_NWC", err)
	}
	client := relay.NewClient(relay.ClientConfig{MaxBackoff: nwcBackoff, DialOptions: relay.DialOptions{
		AllowPrivate: true, Now: env.Now, Log: log,
		Auth: func(url, challenge string) (*nostrEvent, error) {
			return nip.Auth(uri.Key, url, challenge, env.Now())
		},
	}})
	w, err := wallet.NewNWC(wallet.NWCConfig{URI: uri, Relays: client, Network: network, Now: env.Now, Rand: env.Rand, Log: log})
	if err != nil {
		return nil, err
	}
	return nwcPart{w, client}, nil
}

// certificate reads the file of a certificate, if one is named.
func (c *Config) certificate(variable, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := readSmall(path)
	if err != nil {
		return nil, c.bad(variable, pathError("reading", err))
	}
	return b, nil
}
