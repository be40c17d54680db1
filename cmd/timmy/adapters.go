package main

import (
	"context"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/lnurl"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/rest"
	"github.com/timmy-tower/timmy/tower"
	"github.com/timmy-tower/timmy/wallet"
)

// The parts fit together without knowing each other: here it is checked.
var (
	_ tower.Book     = (*ledger.Ledger)(nil)
	_ tower.Records  = (*ledger.Ledger)(nil)
	_ tower.Invoices = (*ledger.Ledger)(nil)
	_ tower.Refunds  = (*ledger.Ledger)(nil)
	_ tower.Targets  = (*wallet.Targets)(nil)
	_ tower.Payer    = (*wallet.Fake)(nil)
	_ tower.Payer    = (*wallet.LNbits)(nil)
	_ tower.Payer    = (*wallet.LND)(nil)
	_ rest.Refunds   = (*tower.Payouts)(nil)
	_ rest.Sessions  = ledger.Sessions{}
	_ relay.Outbox   = (*ledger.Ledger)(nil)
	_ lnurl.Book     = (*ledger.Ledger)(nil)
	_ relay.Desk     = (*tower.Desk)(nil)
	_ rest.Desk      = (*tower.Desk)(nil)
	_ rest.Bus       = (*tower.Desk)(nil)
	_ rest.Till      = (*tower.Till)(nil)
	_ lnurl.Till     = (*tower.Till)(nil)
	_ relay.Own      = (*relay.Relay)(nil)
	_ relay.Acceptor = (*relay.Inbox)(nil)
)

type nostrEvent = nostr.Event

// idemKeys gives the ledger's rows the words of rest.
type idemKeys struct{ *ledger.Ledger }

func (k idemKeys) Reserve(ctx context.Context, key string, body [32]byte, subject string) (rest.Idem, error) {
	i, err := k.Ledger.Reserve(ctx, key, body, subject)
	return rest.Idem{State: rest.IdemState(i.State), Subject: i.Subject, Status: i.Status, Body: i.Body}, err
}

// replayWindow is how long an HTTP authorisation is remembered: longer than
// NIP-98's tolerance of the clock, in both directions.
const replayWindow = 150 * time.Second

// identity checks NIP-98 and that no authorisation is used twice.
type identity struct {
	book *ledger.Ledger
	now  func() time.Time
}

func (i identity) Verify(ctx context.Context, header, method, url string, body []byte) (timmy.PubKey, error) {
	auth, err := nip.CheckHTTPAuth(header, method, url, body, i.now())
	if err != nil {
		return timmy.PubKey{}, err
	}
	fresh, err := i.book.Once(ctx, auth.ID, i.now().Add(replayWindow))
	if err != nil {
		return timmy.PubKey{}, err
	}
	if !fresh {
		return timmy.PubKey{}, timmy.Errorf(timmy.Unauthorized, "this authorization was used before; add a nonce tag to make a new one")
	}
	return auth.From, nil
}

// trust tells a key's tier now, and notes a key that is new.
type trust struct {
	book *ledger.Ledger
	now  func() time.Time
}

func (t trust) Tier(ctx context.Context, k timmy.PubKey) (timmy.Tier, error) {
	s, err := t.book.Meet(ctx, k)
	if err != nil {
		return "", err
	}
	return tower.TierOf(s, t.now()), nil
}
