package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
	desk "github.com/timmy-tower/timmy/tower"
)

// openTower has the tower's ledger and event store, each in its file.
func openTower(p *parts, dir string, askers []nip.Key) error {
	ctx := context.Background()
	books, endBooks, err := openDB(filepath.Join(dir, "ledger.db"))
	if err != nil {
		return err
	}
	events, endEvents, err := openDB(filepath.Join(dir, "events.db"))
	if err != nil {
		return errors.Join(err, endBooks())
	}
	p.close = func() error { return errors.Join(endBooks(), endEvents()) }
	l, err := ledger.Open(ctx, books, ledger.Options{Grade: desk.Grade, PoolShare: 100_000})
	if err != nil {
		return err
	}
	store := relay.NewStore(events, time.Now)
	if err := errors.Join(store.Init(), fund(ctx, l, askers)); err != nil {
		return err
	}
	p.reserve = func(q letter, wrap *nostr.Event) (any, error) {
		r := timmy.Request{ // as one who waits on a line: the answer is sealed here, by no courier
			ID: timmy.RequestID(q.id), Front: timmy.FrontREST, From: q.from, Payer: timmy.UserAccount(q.from),
			Thread: "account:" + q.from.String(), Text: q.text,
		}
		j, ok, err := l.Start(ctx, &r, func(timmy.Job) (timmy.Quote, error) { return timmy.Quote{Payer: held}, nil })
		if err == nil && !ok {
			err = errors.New("a request was not started")
		}
		return j, errors.Join(err, store.SaveEvent(ctx, wrap))
	}
	p.capture = func(_ letter, step any, answer []*nostr.Event) error {
		o := timmy.Outcome{State: timmy.StateComplete, Text: reply(), Work: timmy.Usage{In: 120, Out: 40}, Cost: timmy.Cost{Work: cost, Total: cost, Charged: cost}}
		_, err := l.Finish(ctx, step.(timmy.Job), o)
		return errors.Join(err, together(answer, func(ev *nostr.Event) error { return store.SaveEvent(ctx, ev) }))
	}
	return nil
}

// together stores events at once, so that they share a commit.
func together(list []*nostr.Event, save func(*nostr.Event) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, ev := range list {
		wg.Go(func() { errs[i] = save(ev) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openDB opens a database and runs its writer until it is ended.
func openDB(path string) (d *db.DB, end func() error, err error) {
	d, err = db.OpenSQLite(context.Background(), path, db.Options{})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() error { cancel(); return errors.Join(<-done, d.Close()) }, nil
}

// fund pays each asker's account full.
func fund(ctx context.Context, l *ledger.Ledger, askers []nip.Key) error {
	for _, k := range askers {
		ref, _, err := l.Expect(ctx, timmy.TopUp{Account: timmy.UserAccount(k.Public()), Purpose: timmy.ForPay, Amount: deposit})
		if err != nil {
			return err
		}
		preimage := sha256.Sum256([]byte(ref))
		inv := timmy.Invoice{Hash: sha256.Sum256(preimage[:]), Bolt11: "lnbcrt" + ref, Amount: deposit, Expires: time.Now().Add(time.Hour)}
		if err := l.Issued(ctx, ref, inv, timmy.Lease{}); err != nil {
			return err
		}
		paid := timmy.Payment{Hash: inv.Hash, Ref: ref, Received: deposit, Preimage: preimage, Settled: true, At: time.Now()}
		if _, err := l.Credit(ctx, paid, ""); err != nil {
			return err
		}
	}
	return nil
}
