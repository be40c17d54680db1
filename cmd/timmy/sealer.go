package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/rest"
	"github.com/timmy-tower/timmy/tower"
)

var (
	_ tower.Papers = papers{}
	_ rest.Papers  = papers{}
)

// newSealer makes the part that seals the books and publishes the daily root on
// the own relay. A broken chain closes the money routes.
func (p *parts) newSealer() *ledger.Sealer {
	return ledger.NewSealer(p.book, ledger.SealerConfig{
		Sign: func(r ledger.Root, at time.Time) ([]byte, error) {
			ev, err := nip.SignRoot(p.key, nip.Root(r), at)
			if err != nil {
				return nil, err
			}
			return []byte(ev.String()), nil
		},
		Publish: func(ctx context.Context, event []byte) error {
			ev, err := nip.ParseEvent(event)
			if err != nil {
				return err
			}
			return p.relay.Publish(ctx, ev)
		},
		Broken: func([]ledger.Break) { p.booksOK.Store(false) },
	})
}

// papers are what an account's holder can show to others: signed receipts, and the
// proof that a balance is in the daily root.
type papers struct {
	book   *ledger.Ledger
	sealer *ledger.Sealer
	key    nip.Key
}

// Find names a key's requests that part of an id can mean.
func (p papers) Find(ctx context.Context, k timmy.PubKey, part string) ([]timmy.RequestID, error) {
	return p.book.Find(ctx, k, part)
}

// Receipt is the signed event of a request that was charged.
func (p papers) Receipt(ctx context.Context, id timmy.RequestID) ([]byte, error) {
	r, err := p.book.Receipt(ctx, id)
	if err != nil {
		return nil, err
	}
	postings := make([]nip.ReceiptPosting, len(r.Entries))
	for i, e := range r.Entries {
		postings[i] = nip.ReceiptPosting(e)
	}
	ev, err := nip.SignReceipt(p.key, nip.NewReceipt(r.Reply, postings))
	if err != nil {
		return nil, err
	}
	return []byte(ev.String()), nil
}

// Proof is the proof of an account's balance in the latest root, as JSON.
func (p papers) Proof(ctx context.Context, a timmy.Account) ([]byte, error) {
	proof, err := p.sealer.Proof(ctx, a)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(proof)
	if err != nil {
		return nil, fmt.Errorf("writing a proof: %w", err)
	}
	return b, nil
}
