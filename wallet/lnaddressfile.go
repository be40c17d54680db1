package wallet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/timmy-tower/timmy"
)

// OpenLNAddress opens the file of invoices, or makes it with mode 0600. It does
// not call the provider.
func OpenLNAddress(cfg LNAddressConfig) (*LNAddress, error) {
	home, err := addressURL(cfg.Address)
	if err != nil {
		return nil, timmy.Errorf(timmy.Invalid, "lightning address: %v", err)
	}
	if cfg.Network.params() == nil {
		return nil, timmy.Errorf(timmy.Invalid, "lightning address network: want mainnet, testnet, signet, regtest or simnet")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.HTTP == nil {
		cfg.HTTP = publicClient()
	}
	a := &LNAddress{
		call: newCaller("", "Accept", "application/json", cfg.HTTP), home: home, address: cfg.Address, network: cfg.Network,
		now: cfg.Now, log: cfg.Log, issued: newIssued(cfg.Now), promises: map[timmy.Hash]*promise{},
	}
	a.call.secret = "" // there is none
	a.call.missing = func(s *status) bool { return s.code == http.StatusNotFound }
	if cfg.Path == "" {
		return a, nil
	}
	if err := a.open(cfg.Path); err != nil {
		return nil, fmt.Errorf("opening the invoices %s: %w", cfg.Path, err)
	}
	return a, nil
}

// Close closes the file of invoices.
func (a *LNAddress) Close() error {
	if a.journal == nil {
		return nil
	}
	return a.journal.close()
}

// open reads the file, and writes it anew without what is over.
func (a *LNAddress) open(path string) error {
	old, err := openJournal(path, a.replay)
	if err != nil {
		return err
	}
	if a.journal = old; a.forget() == 0 {
		return nil
	}
	if err := errors.Join(old.close(), os.RemoveAll(path+".new")); err != nil {
		return err
	}
	fresh, err := openJournal(path+".new", func(line) error { return errors.New("not empty") })
	if err != nil {
		return err
	}
	a.journal = fresh
	for _, p := range a.promises {
		if _, err := fresh.append(p.line()); err != nil {
			return errors.Join(err, fresh.close())
		}
	}
	if err := errors.Join(fresh.sync(), os.Rename(path+".new", path)); err != nil {
		return errors.Join(err, fresh.close())
	}
	return nil
}

// forget drops what is over and says how much that was.
func (a *LNAddress) forget() int {
	cutoff := a.now().Add(-listSlack)
	over := 0
	for h, p := range a.promises {
		if p.Expires.Before(cutoff) && (!p.settled || p.at.Before(cutoff)) {
			delete(a.promises, h)
			over++
		}
	}
	return over
}

// line is a promise, settled or not; a later line replaces an earlier one.
func (p *promise) line() line {
	l := line{
		Op: "promise", Hash: &p.Hash, Ref: p.ref, Bolt11: p.Bolt11, Amount: p.Amount, Expires: p.Expires.Unix(), Verify: p.verify,
	}
	if p.settled {
		l.At, l.Preimage = p.at.UnixMilli(), hex.EncodeToString(p.preimage[:])
	}
	return l
}

func (a *LNAddress) replay(l line) error {
	if l.Op != "promise" || l.Hash == nil {
		return fmt.Errorf("unknown line %.20q", l.Op)
	}
	p := &promise{ref: l.Ref, verify: l.Verify}
	p.Hash, p.Bolt11, p.Amount, p.Expires = *l.Hash, l.Bolt11, l.Amount, time.Unix(l.Expires, 0).UTC()
	if l.At != 0 {
		raw, err := hex.DecodeString(l.Preimage)
		if err != nil || len(raw) != 32 {
			return errors.New("bad preimage")
		}
		p.settled, p.preimage, p.at = true, [32]byte(raw), time.UnixMilli(l.At).UTC()
	}
	a.promises[p.Hash] = p
	return nil
}

// keep remembers a new invoice; it is durable when keep returns.
func (a *LNAddress) keep(p *promise) error {
	a.mu.Lock()
	_, known := a.promises[p.Hash]
	full := len(a.promises) >= maxPromises && a.forget() == 0
	a.mu.Unlock()
	if known {
		return errors.New("the payment hash was given out before")
	}
	if full {
		return errors.New("too many invoices are remembered")
	}
	return a.settle(p)
}

// settle writes what is known of an invoice.
func (a *LNAddress) settle(p *promise) error {
	if a.journal != nil {
		if _, err := a.journal.append(p.line()); err != nil {
			return away(err)
		}
		if err := a.journal.sync(); err != nil {
			return away(err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.promises[p.Hash] = p
	return nil
}
