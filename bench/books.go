package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/db/pgtest"
	"github.com/timmy-tower/timmy/ledger"
	desk "github.com/timmy-tower/timmy/tower" // its name is the process here
)

// What a request of the load is worth, and what each account has at first.
const (
	deposit = 1_000_000 * timmy.Sat
	held    = 5 * timmy.Sat
	charged = 3 * timmy.Sat
)

// store is where books can be: in a folder, or on a server.
type store struct {
	dialect db.Dialect
	dir     string
	server  *pgtest.Server
	n       int
}

// stores are both, PostgreSQL where it is installed. It syncs as in production.
func stores() (list []*store, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "timmy-bench-")
	if err != nil {
		return nil, nil, err
	}
	list = []*store{{dialect: db.SQLite, dir: dir}}
	server, err := pgtest.Start(pgtest.Options{Durable: true})
	if errors.Is(err, pgtest.ErrNotInstalled) {
		fmt.Fprintln(os.Stderr, "bench: NOT MEASURED on PostgreSQL:", err)
		return list, func() error { return os.RemoveAll(dir) }, nil
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	list = append(list, &store{dialect: db.Postgres, server: server})
	return list, func() error { return errors.Join(server.Stop(), os.RemoveAll(dir)) }, nil
}

// place is where the next books are: a file or an address.
func (s *store) place() (string, error) {
	if s.server != nil {
		return s.server.Database()
	}
	s.n++
	return filepath.Join(s.dir, fmt.Sprintf("%d.db", s.n)), nil
}

// books are a ledger with money in the accounts of its askers.
type books struct {
	*ledger.Ledger
	db   *db.DB
	stop func() error
}

// openBooks opens books with the options of a tower, and its sealer, and pays the accounts
// of so many askers full.
func (s *store) openBooks(place string, askers int) (*books, error) {
	b, err := s.open(place)
	if err != nil {
		return nil, err
	}
	if err := b.fund(context.Background(), askers); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.seal()
	return b, nil
}

// open opens books, which are made if there are none.
func (s *store) open(place string) (*books, error) {
	ctx, cancel := context.WithCancel(context.Background())
	open := db.OpenSQLite
	if s.dialect == db.Postgres {
		open = db.OpenPostgres
	}
	d, err := open(ctx, place, db.Options{})
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b := &books{db: d, stop: sync.OnceValue(func() error { cancel(); return errors.Join(<-done, d.Close()) })}
	b.Ledger, err = ledger.Open(ctx, d, ledger.Options{
		Grade: desk.Grade, PoolShare: 100_000, MinBalance: 50 * timmy.Sat, MinDeposit: 100 * timmy.Sat, MaxDeposit: 10_000 * timmy.Sat,
	})
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// seal runs the sealer until the books are stopped. Its daily root goes nowhere.
func (b *books) seal() {
	sealer := ledger.NewSealer(b.Ledger, ledger.SealerConfig{
		Sign:    func(ledger.Root, time.Time) ([]byte, error) { return []byte("{}"), nil },
		Publish: func(context.Context, []byte) error { return nil },
	})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- sealer.Run(ctx) }()
	stop := b.stop
	b.stop = sync.OnceValue(func() error { cancel(); return errors.Join(<-done, stop()) })
}

// settle seals and files what the sealer has left of a row, which that row's time
// includes: in the bare database each request did it for itself.
func (b *books) settle(r *result) {
	began := time.Now()
	for r.err == nil {
		sealed, err := b.Seal(context.Background())
		filed, ferr := b.File(context.Background())
		if r.err = errors.Join(err, ferr); sealed == 0 && filed == 0 {
			break
		}
	}
	r.elapsed += time.Since(began)
}

// fund pays the account of each asker full, all at once; all have been seen before.
func (b *books) fund(ctx context.Context, askers int) error {
	errs := make([]error, askers)
	var wg sync.WaitGroup
	for i := range askers {
		wg.Go(func() { errs[i] = b.give(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (b *books) give(ctx context.Context, i int) error {
	top := timmy.TopUp{Account: timmy.UserAccount(asker(i)), Purpose: timmy.ForPay, Amount: deposit}
	ref, _, err := b.Expect(ctx, top)
	if err != nil {
		return err
	}
	preimage := sha256.Sum256([]byte(ref))
	inv := timmy.Invoice{Hash: sha256.Sum256(preimage[:]), Bolt11: "lnbcrt" + ref, Amount: deposit, Expires: time.Now().Add(time.Hour)}
	if err := b.Issued(ctx, ref, inv, timmy.Lease{}); err != nil {
		return err
	}
	_, err = b.Credit(ctx, timmy.Payment{Hash: inv.Hash, Ref: ref, Received: deposit, Preimage: preimage, Settled: true, At: time.Now()}, "")
	if err == nil {
		_, err = b.Meet(ctx, asker(i))
	}
	return err
}

// asker is a key that nobody has: the ledger checks no signatures.
func asker(i int) (k timmy.PubKey) {
	binary.BigEndian.PutUint64(k[:], uint64(i)+1)
	return k
}

// question is the nth request of an asker, who waits on the line.
func question(i int, id string) timmy.Request {
	k := asker(i)
	return timmy.Request{
		ID: timmy.RequestID(id), Front: timmy.FrontREST, From: k, Payer: timmy.UserAccount(k),
		Thread: "account:" + k.String(), Text: "What is the second question that everybody asks a tower?",
	}
}

// answer is what came of every request.
func answer() timmy.Outcome {
	return timmy.Outcome{
		State: timmy.StateComplete, Text: "It is the one about the price of an answer, after the one about the weather.",
		Work: timmy.Usage{In: 120, Out: 40}, Cost: timmy.Cost{Work: charged, Total: charged, Charged: charged},
	}
}

// request reserves and captures: two commits.
func (b *books) request(i int, id string) error {
	ctx, r := context.Background(), question(i, id)
	j, ok, err := b.Start(ctx, &r, func(timmy.Job) (timmy.Quote, error) { return timmy.Quote{Payer: held}, nil })
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("request %s was not started", id)
	}
	_, err = b.Finish(ctx, j, answer())
	return err
}
