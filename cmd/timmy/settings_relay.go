package main

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/relay"
)

// wrapDays is how long gift wraps must be kept: they are dated back two days.
const wrapDays = 3

// kindWrap is NIP-59's.
const kindWrap = 1059

// checkRelay makes the relay's policy of its settings.
func (c *Config) checkRelay() error {
	s, p := &c.Relay, &c.Policy
	*p = relay.Policy{
		Writers: relay.Writers(s.Writers), PowBits: int(s.PowBits), AuthWraps: s.AuthWraps, OwnMail: s.StrictInbox,
		Admission: timmy.FromSats(s.Admission),
	}
	for _, text := range s.AllowedKeys {
		k, err := parsePubKey(text)
		if err != nil {
			return c.bad("TIMMY_RELAY_ALLOWED_KEYS", err)
		}
		p.Members = append(p.Members, k)
	}
	for variable, list := range map[string][]string{"TIMMY_RELAY_KINDS": s.Kinds, "TIMMY_RELAY_REFUSED_KINDS": s.RefusedKinds} {
		for _, text := range list {
			k, err := relay.ParseKinds(text)
			if err != nil {
				return c.bad(variable, err)
			}
			if variable == "TIMMY_RELAY_KINDS" {
				p.Kinds = append(p.Kinds, k)
			} else {
				p.Refused = append(p.Refused, k)
			}
		}
	}
	if p.Writers == relay.WritersAnyone {
		if s.Admission > 0 {
			return c.badf("TIMMY_RELAY_ADMISSION_SATS", "sells what TIMMY_RELAY_WRITERS=anyone gives away; set that to trusted or allowed")
		}
		if s.WriterTier != "" {
			return c.badf("TIMMY_RELAY_WRITER_TIER", "lets in who is in already with TIMMY_RELAY_WRITERS=anyone")
		}
	} else if s.PowBits > 0 {
		return c.badf("TIMMY_RELAY_POW_BITS", "asks work of strangers, who may not write with TIMMY_RELAY_WRITERS=%s", s.Writers)
	}
	if p.Writers == relay.WritersTrusted && len(c.Operators) == 0 {
		return c.badf("TIMMY_RELAY_WRITERS", "trusted is who the operators follow: TIMMY_OPERATORS is needed")
	}
	return errors.Join(c.checkRetention(), c.checkInboxRelays())
}

// checkRetention reads "7=30": kind 7 is kept for 30 days. "*" is the rest.
func (c *Config) checkRetention() error {
	for _, text := range c.Relay.Retention {
		kinds, days, ok := strings.Cut(text, "=")
		n, err := strconv.ParseUint(days, 10, 16)
		if !ok || err != nil || n == 0 {
			return c.badf("TIMMY_RELAY_RETENTION", "want kinds and days, as in 7=30, 1-3=365 or *=1000")
		}
		r := relay.Retention{Rest: kinds == "*", Age: time.Duration(n) * 24 * time.Hour}
		if !r.Rest {
			if r.Kinds, err = relay.ParseKinds(kinds); err != nil {
				return c.bad("TIMMY_RELAY_RETENTION", err)
			}
		}
		if n < wrapDays && (r.Rest || r.Kinds.From <= kindWrap && r.Kinds.To >= kindWrap) {
			return c.badf("TIMMY_RELAY_RETENTION", "gift wraps (%d) are dated back: want at least %d days", kindWrap, wrapDays)
		}
		c.Policy.Retention = append(c.Policy.Retention, r)
	}
	return nil
}

// checkInboxRelays tidies the relays where messages may be left, and those that
// know whom the operators follow.
func (c *Config) checkInboxRelays() (err error) {
	if c.Relay.InboxRelays, err = c.relays("TIMMY_INBOX_RELAYS", c.Relay.InboxRelays); err != nil {
		return err
	}
	c.Relay.TrustRelays, err = c.relays("TIMMY_TRUST_RELAYS", c.Relay.TrustRelays)
	return err
}

// relays tidies a list: the same relay twice is no mistake worth stopping for.
func (c *Config) relays(variable string, given []string) (list []string, err error) {
	for _, s := range given {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "wss" && u.Scheme != "ws") || u.Hostname() == "" || u.User != nil {
			return nil, c.badf(variable, "want relays such as wss://relay.example")
		}
		if !c.Relay.AllowPrivate && (u.Scheme == "ws" || isLocalHost(u.Hostname())) {
			return nil, c.badf(variable, "%s is unencrypted or private; TIMMY_ALLOW_PRIVATE_RELAYS=true allows it", u.Host)
		}
		if s = strings.TrimSuffix(s, "/"); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, nil
}
