package main

import (
	"strings"

	"github.com/timmy-tower/timmy/nip"
)

// checkWallet refuses a fake wallet on mainnet: its invoices would look like
// real ones and take nobody's money.
func (c *Config) checkWallet() error {
	w := &c.Wallet
	for _, s := range []struct {
		secret         *Secret
		file, variable string
	}{
		{&w.LNbitsKey, w.KeyFile, "TIMMY_LNBITS_KEY"},
		{&w.CLNRune, w.CLNRuneFile, "TIMMY_CLN_RUNE"},
		{&w.PhoenixdPassword, w.PhoenixdPassFile, "TIMMY_PHOENIXD_PASSWORD"},
		{&w.NWC, w.NWCFile, "TIMMY_NWC"},
	} {
		var err error
		if *s.secret, err = c.secret(*s.secret, s.file, s.variable); err != nil {
			return err
		}
	}
	if w.Kind == walletFake {
		if w.Network == "" {
			w.Network = "regtest"
		}
		if w.Network == "mainnet" {
			return c.badf("TIMMY_NETWORK", "the fake wallet does not make mainnet invoices")
		}
		return nil
	}
	if w.Network == "" {
		w.Network = "mainnet"
	}
	for _, n := range w.needs() {
		if !n.given {
			return c.badf(n.variable, "%w for TIMMY_WALLET=%s", errNeeded, w.Kind)
		}
		if n.url != "" {
			if _, err := parseServiceURL(n.url); err != nil {
				return c.bad(n.variable, err)
			}
		}
	}
	if w.Kind == walletNWC {
		if _, err := nip.ParseWalletURI(w.NWC.Reveal()); err != nil {
			return c.bad("TIMMY_NWC", err)
		}
	}
	return nil
}

// checkRefunds refuses a wallet that cannot pay.
func (c *Config) checkRefunds() error {
	if c.Wallet.Kind == walletLNAddress && c.Refunds.PerDay > 0 {
		return c.badf("TIMMY_REFUNDS_SATS_PER_DAY", "nothing can be paid from a lightning address at a provider")
	}
	return nil
}

// walletName tells one wallet from another, so that each is watched from its own
// place. It holds no secret.
func walletName(c *Config) string {
	w := &c.Wallet
	switch w.Kind {
	case walletLNbits:
		return w.Kind + " " + w.LNbitsURL
	case walletLND:
		return w.Kind + " " + w.LNDURL
	case walletCLN:
		return w.Kind + " " + w.CLNURL
	case walletPhoenixd:
		return w.Kind + " " + w.PhoenixdURL
	case walletNWC:
		if u, err := nip.ParseWalletURI(w.NWC.Reveal()); err == nil {
			return w.Kind + " " + u.Wallet.String()
		}
	case walletLNAddress:
		return w.Kind + " " + w.LNAddress
	}
	return w.Kind
}

// need is a setting that a wallet cannot do without.
type need struct {
	variable string
	given    bool
	url      string // to be judged as an address
}

// needs are those of the wallet that is set.
func (w *WalletSettings) needs() []need {
	switch w.Kind {
	case walletLNbits:
		return []need{{"TIMMY_LNBITS_URL", w.LNbitsURL != "", w.LNbitsURL}, {"TIMMY_LNBITS_KEY", w.LNbitsKey.IsSet(), ""}}
	case walletLND:
		return []need{{"TIMMY_LND_URL", w.LNDURL != "", w.LNDURL}, {"TIMMY_LND_MACAROON_FILE", w.LNDMacaroon != "", ""}}
	case walletCLN:
		return []need{{"TIMMY_CLN_URL", w.CLNURL != "", w.CLNURL}, {"TIMMY_CLN_RUNE", w.CLNRune.IsSet(), ""}}
	case walletPhoenixd:
		return []need{{"TIMMY_PHOENIXD_URL", w.PhoenixdURL != "", w.PhoenixdURL}, {"TIMMY_PHOENIXD_PASSWORD", w.PhoenixdPassword.IsSet(), ""}}
	case walletNWC:
		return []need{{"TIMMY_NWC", w.NWC.IsSet(), ""}}
	case walletLNAddress:
		return []need{{"TIMMY_LNADDRESS", strings.Contains(w.LNAddress, "@"), ""}}
	}
	return nil
}
