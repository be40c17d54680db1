package main

import (
	"errors"
	"net/url"
	"strings"

	"github.com/timmy-tower/timmy"
)

func (c *Config) checkModel() error {
	m := &c.Model
	var err error
	if m.APIKey, err = c.secret(m.APIKey, m.KeyFile, "TIMMY_OPENAI_API_KEY"); err != nil || m.Kind != "openai" {
		return err
	}
	u, err := parseServiceURL(m.BaseURL)
	if err != nil {
		return c.bad("TIMMY_OPENAI_BASE_URL", err)
	}
	if m.Work == "" {
		return c.badf("TIMMY_WORK_MODEL", "%w for TIMMY_MODEL=openai", errNeeded)
	}
	if m.Eval == "" {
		m.Eval = m.Work
	}
	if u.Hostname() == "api.openai.com" && !m.APIKey.IsSet() {
		return c.badf("TIMMY_OPENAI_API_KEY", "%w for %s", errNeeded, u.Hostname())
	}
	return nil
}

// parseServiceURL reads the address of a server that the tower calls. A password
// in it would end up in logs.
func parseServiceURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("want http(s)://host[:port][/path]")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want no user name, password or query in it")
	}
	return u, nil
}

// secret is the secret itself if one was given, or what its file holds.
func (c *Config) secret(given Secret, file, variable string) (Secret, error) {
	if given.IsSet() || file == "" {
		return given, nil
	}
	b, err := readSmall(file)
	if err != nil {
		return Secret{}, c.bad(variable+"_FILE", pathError("reading", err))
	}
	s := strings.TrimSpace(string(b))
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return Secret{}, c.badf(variable+"_FILE", "want one line in %s", file)
	}
	return NewSecret(s), nil
}

// checkPrices refuses a price list on which everything is free: that is a slip,
// and the free pool is the place for gifts.
func (c *Config) checkPrices() error {
	p := c.Pricing
	if p.EvalIn+p.EvalOut+p.WorkIn+p.WorkOut+p.Infra == 0 {
		return c.badf("TIMMY_INFRA_USD", "all prices are 0; set at least this one")
	}
	return nil
}

// minBTC is what no bitcoin price in USD is below: a decimal point in the wrong
// place would sell work for a thousandth.
const minBTC Micro = 100 * 1_000_000

func (c *Config) checkRate() error {
	p := &c.Pricing
	if p.BTC != 0 && p.BTC < minBTC {
		return c.badf("TIMMY_BTC_USD", "want a decimal from %s to 100000000", minBTC)
	}
	offline := c.Wallet.Kind == "fake" && c.Model.Kind == "builtin"
	switch {
	case p.Source == "oracle" && p.BTC != 0:
		return c.badf("TIMMY_BTC_USD", "contradicts TIMMY_BTC_SOURCE=oracle")
	case p.BTC != 0:
		p.Source, c.StaticRate = "static", timmy.Rate(p.BTC)
	case p.Source == "static" && !offline:
		return c.badf("TIMMY_BTC_USD", "%w for TIMMY_BTC_SOURCE=static", errNeeded)
	case p.Source == "oracle" || !offline:
		p.Source = "oracle"
	default:
		p.Source, c.StaticRate, c.MadeUpRate = "static", offlineRate, true
	}
	return nil
}
