package wallet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// nwcTransaction is a Transaction of NIP-47; amounts are msat, times seconds.
type nwcTransaction struct {
	Type        loose `json:"type"`
	State       loose `json:"state"` // pending, settled, accepted, expired, failed; many wallets leave it out
	Description loose `json:"description"`
	Preimage    loose `json:"preimage"`
	Hash        loose `json:"payment_hash"`
	Amount      loose `json:"amount"`
	Created     loose `json:"created_at"`
	Settled     loose `json:"settled_at"`
	Fee         loose `json:"fees_paid"`
	Metadata    loose `json:"metadata"`
}

// settled: the state says so. Where it is left out, a settlement date does; a
// preimage does not, for some wallets show it before anybody paid, and a hold
// invoice that was accepted is not settled.
func (x nwcTransaction) settled() bool {
	if s := x.Type.text(); s != "" && s != "incoming" {
		return false
	}
	if len(x.State) > 0 && string(x.State) != "null" {
		return strings.EqualFold(x.State.text(), "settled")
	}
	n, ok := x.Settled.integer()
	return ok && n > 0
}

// ref is our reference: from the metadata, which some wallets drop, or from the
// description.
func (x nwcTransaction) ref() (string, bool) {
	var meta struct {
		Tag loose `json:"tag"`
		Ref loose `json:"ref"`
	}
	if json.Unmarshal(x.Metadata, &meta) == nil && meta.Tag.text() == "timmy" {
		if ref := meta.Ref.text(); ref != "" {
			return ref, ours(ref)
		}
	}
	return refOf(x.Description.text())
}

// payment is what the tower is told. A preimage that does not fit is left out:
// wallets that have none write zeros.
func (x nwcTransaction) payment(h timmy.Hash, now time.Time) timmy.Payment {
	out := timmy.Payment{Hash: h}
	out.Ref, _ = x.ref()
	if !x.settled() {
		return out
	}
	out.Settled, out.Received, out.At = true, x.Amount.amount(), now.UTC()
	if raw, err := hex.DecodeString(x.Preimage.text()); err == nil && proves(raw, h) {
		out.Preimage = [32]byte(raw)
	}
	if at, ok := x.Settled.integer(); ok && at > 0 && at < 1<<40 {
		out.At = plausible(time.Unix(at, 0), now)
	}
	return out
}

// Lookup asks what became of an invoice. NotFound: the wallet says that it does
// not know it; some say so in other words, and are taken for away.
func (n *NWC) Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	p, err := n.lookup(ctx, h)
	return p, err
}

func (n *NWC) lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error) {
	var x nwcTransaction
	if err := n.read(ctx, "lookup_invoice", map[string]string{"payment_hash": h.String()}, &x); err != nil {
		return timmy.Payment{}, fmt.Errorf("looking up by NWC: %w", err)
	}
	if s := x.Hash.text(); s != h.String() {
		return timmy.Payment{}, fmt.Errorf("looking up by NWC: %w", away(errors.New("the answer is about another payment")))
	}
	return x.payment(h, n.cfg.Now()), nil
}

// List pages through what the wallet received, newest first, back to what may have
// been settled since then. A wallet that lets nobody list is taken to have nothing
// to tell: open invoices are looked up one by one as well.
func (n *NWC) List(ctx context.Context, since time.Time) ([]timmy.Payment, error) {
	var out []timmy.Payment
	seen := map[timmy.Hash]bool{}
	cutoff := max(0, since.Add(-listSlack).Unix())
	for page := range maxNWCPages {
		rows, err := n.page(ctx, cutoff, page*nwcPage)
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, x := range rows {
			h, err := timmy.ParseHash(x.Hash.text())
			if err != nil || seen[h] {
				continue
			}
			seen[h] = true
			made, dated := x.Created.integer()
			fresh = fresh || !dated || made >= cutoff
			if _, mine := x.ref(); !mine && !n.issued.knows(h) {
				continue
			}
			if p := x.payment(h, n.cfg.Now()); p.Settled {
				out = append(out, p)
			}
		}
		if !fresh {
			return out, nil
		}
	}
	n.cfg.Log.Warn("the wallet lists more payments than one pass reads", "read", maxNWCPages*nwcPage)
	return out, nil
}

// page is a page of what was received, or nothing where nobody may list.
func (n *NWC) page(ctx context.Context, from int64, offset int) ([]nwcTransaction, error) {
	list, err := n.transactions(ctx, map[string]any{"from": from, "offset": offset, "unpaid": false, "type": "incoming"})
	if nwcDenied(err) {
		if !n.unlisted.Swap(true) {
			n.cfg.Log.Warn("the wallet connection does not allow list_transactions: payments are found by looking up open invoices alone")
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing by NWC: %w", err)
	}
	return list, nil
}

// transactions is one call of list_transactions, beside the breaker, as [caller.page].
func (n *NWC) transactions(ctx context.Context, params map[string]any) ([]nwcTransaction, error) {
	var out struct {
		Transactions []nwcTransaction `json:"transactions"`
	}
	params["limit"] = nwcPage
	err := n.repeat(ctx, "list_transactions", params, &out, n.attempt)
	return out.Transactions, err
}

// nwcDenied: the connection does not allow the method, today and tomorrow.
func nwcDenied(err error) bool {
	e, ok := errors.AsType[*nip.WalletError](err)
	return ok && (e.Code == nip.WalletNotImpl || e.Code == nip.WalletRestricted)
}

// Watch listens for notifications until ctx ends. A notification is a hint: it is
// repeated, forged by whoever runs the wallet's relay or lost at will, so what was
// paid is asked with [NWC.Lookup], and one payment is reported once. The cursor is
// the time of the last payment, in milliseconds; what came in since is listed once
// the subscriptions are on their way, and reported first.
func (n *NWC) Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error {
	info, err := n.negotiate(ctx)
	if err != nil {
		return fmt.Errorf("watching by NWC: %w", away(err))
	}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	hints := make(chan timmy.Hash, nwcHints)
	if slices.Contains(info.Notifications, "payment_received") {
		for _, url := range n.cfg.URI.Relays {
			all.Go(func() { n.listen(ctx, url, hints) })
		}
	}
	report := func(p timmy.Payment, c timmy.Cursor) error {
		if err := settled(p, c); err != nil {
			return err
		}
		n.told.remember(p.Hash)
		return nil
	}
	listed, err := catchUp(ctx, n, begin(from, n.cfg.Now()), n.cfg.Log, report)
	if err != nil {
		return err
	}
	if !listed {
		report = standing(report)
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case h := <-hints:
			if err := n.hint(ctx, h, report); err != nil {
				return err
			}
		}
	}
}

// listen turns a relay's notifications into hints. One that does not fit is left
// to polling.
func (n *NWC) listen(ctx context.Context, url string, hints chan<- timmy.Hash) {
	f := nostr.Filter{
		Kinds: []int{nip.KindWalletNote04, nip.KindWalletNote44}, Authors: []string{n.cfg.URI.Wallet.String()},
		Tags: nostr.TagMap{"p": {n.cfg.URI.Key.Public().String()}},
	}
	err := n.cfg.Relays.Subscribe(ctx, url, f, func(ev *nostr.Event) {
		note, err := nip.OpenWalletNote(n.cfg.URI, ev)
		if err != nil || note.Type != "payment_received" {
			return
		}
		select {
		case hints <- note.Hash:
		default:
		}
	})
	if err != nil && ctx.Err() == nil {
		n.cfg.Log.Warn("no notifications from a relay of the wallet: polling goes on", "relay", url, "error", err)
	}
}

// hint looks up the payment that a notification names. A lookup that fails is left
// to the poller; a report that fails ends the watch.
func (n *NWC) hint(ctx context.Context, h timmy.Hash, report func(timmy.Payment, timmy.Cursor) error) error {
	if n.told.knows(h) || !n.issued.worthACall(h) {
		return nil
	}
	p, err := n.lookup(ctx, h)
	if err != nil {
		n.cfg.Log.Warn("the wallet notified of a payment that cannot be confirmed: left to polling", "error", err)
		return nil
	}
	if !p.Settled || p.Ref == "" && !n.issued.knows(h) {
		return nil
	}
	if err := report(p, timmy.Cursor(strconv.FormatInt(p.At.UnixMilli(), 10))); err != nil {
		return fmt.Errorf("reporting payment: %w", err)
	}
	return nil
}
