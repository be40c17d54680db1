package main

import (
	"github.com/timmy-tower/timmy/tower"
	"github.com/timmy-tower/timmy/wallet"
)

// newPayouts makes what pays refunds; nil: the wallet cannot. It is made also while
// the operator allows none, for what was begun before has to come to its end.
func (p *parts) newPayouts() (*tower.Payouts, error) {
	payer, ok := p.wallet.Wallet.(tower.Payer)
	if !ok {
		return nil, nil
	}
	network, err := wallet.ParseNetwork(p.cfg.Wallet.Network)
	if err != nil {
		return nil, err
	}
	targets, err := wallet.NewTargets(wallet.TargetsConfig{Network: network, Now: p.env.Now, Log: p.log})
	if err != nil {
		return nil, err
	}
	return tower.NewPayouts(tower.PayoutsConfig{
		Book: p.book, Payer: payer, Targets: targets, Allowed: p.booksOK.Load, Alert: p.alert, Now: p.env.Now, Log: p.log,
	}), nil
}

// refunds is what the doors are given; nil: the operator allows none.
func (p *parts) refunds() *tower.Payouts {
	if p.cfg.Refunds.PerDay <= 0 {
		return nil
	}
	return p.payouts
}
