package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

const (
	// sealEvery is how long a posting may be without its place.
	sealEvery = time.Second
	// tailEvery is how often the tail of the chain is checked: a start has no more to
	// check than what came since.
	tailEvery = 10 * time.Minute
	// sealRetry is how soon what the sealer could not do is tried again.
	sealRetry = time.Minute
	// maxLeaves bounds a root: its tree is held in memory, 80 bytes a leaf.
	maxLeaves = 1 << 20
)

// Root is what a tower signs once a day: the sum over all customer balances, and
// the head of the chain at that moment.
type Root struct {
	Day   string // YYYY-MM-DD, UTC
	Hash  [32]byte
	Sum   timmy.Msat
	Place int64
	Chain [32]byte
}

// SealerConfig is what a [Sealer] needs beside the books.
type SealerConfig struct {
	Sign    func(r Root, at time.Time) (event []byte, err error)
	Publish func(ctx context.Context, event []byte) error
	Broken  func(breaks []Break) // the chain does not follow from the postings
}

// Sealer extends the chain, checks it, and makes the daily root.
type Sealer struct {
	l       *Ledger
	cfg     SealerConfig
	done    string    // the day whose work is done
	checked time.Time // when the tail was

	check, seal, daily work

	mu    sync.Mutex
	day   string
	tree  *tree
	event []byte
}

// NewSealer makes a sealer. Nothing happens before Run.
func NewSealer(l *Ledger, cfg SealerConfig) *Sealer { return &Sealer{l: l, cfg: cfg} }

// Run checks the chain from the last checkpoint, then seals and files until ctx ends, with
// a check of what was sealed since every ten minutes. Once a day (UTC) it checks the chain
// in full, and makes and publishes the root.
func (s *Sealer) Run(ctx context.Context) error {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			s.l.o.Log.Error("sealing the books", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// work is a part of what a sealer does. One that fails waits, and holds up no other: a
// root that no relay takes leaves no posting without its place.
type work struct{ retry time.Time }

func (w *work) try(now time.Time, do func() error) error {
	if wait := w.retry.Sub(now); wait > 0 && wait <= sealRetry { // longer: the clock was set back
		return nil
	}
	err := do()
	if err != nil {
		w.retry = now.Add(sealRetry)
	}
	return err
}

// round does what is due.
func (s *Sealer) round(ctx context.Context) error {
	now := s.l.o.Now()
	return errors.Join(
		s.check.try(now, func() error { return s.checkTail(ctx, now) }),
		s.seal.try(now, func() error { return s.catchUp(ctx) }),
		s.daily.try(now, func() error { return s.today(ctx, now) }),
	)
}

func (s *Sealer) checkTail(ctx context.Context, now time.Time) error {
	if since := now.Sub(s.checked); since >= 0 && since < tailEvery {
		return nil
	}
	breaks, err := s.l.VerifyTail(ctx)
	if err != nil {
		return err
	}
	s.checked = now
	s.report(breaks)
	return nil
}

// today is the day's work, once.
func (s *Sealer) today(ctx context.Context, now time.Time) error {
	day := now.UTC().Format(time.DateOnly)
	if s.done == day {
		return nil
	}
	if err := s.Daily(ctx, day); err != nil {
		return err
	}
	s.done = day
	breaks, err := s.l.VerifyChain(ctx)
	s.report(breaks)
	return err
}

// catchUp seals and files what there is.
func (s *Sealer) catchUp(ctx context.Context) error {
	return errors.Join(inBatches(ctx, sealBatch, s.l.Seal), inBatches(ctx, fileBatch, s.l.File))
}

// inBatches takes steps until one does less than a batch.
func inBatches(ctx context.Context, batch int, step func(context.Context) (int, error)) error {
	for ctx.Err() == nil {
		if n, err := step(ctx); err != nil || n < batch {
			return err
		}
	}
	return nil
}

func (s *Sealer) report(breaks []Break) {
	for _, b := range breaks {
		s.l.o.Log.Error("the chain of postings is broken", "what", b.String())
	}
	if len(breaks) > 0 && s.cfg.Broken != nil {
		s.cfg.Broken(breaks)
	}
}

// rootRow is a root as it is stored.
type rootRow struct {
	Day, Salt, Event string
	Published        int64
}

func latestRoot(q *db.Tx) (r rootRow, err error) {
	err = q.Get(&r, `SELECT day, salt, event, published FROM roots ORDER BY day DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	return r, err
}

// Daily makes the root of a day, once, and publishes it until that succeeded. A day
// before the latest root's (a clock that went back) makes none.
func (s *Sealer) Daily(ctx context.Context, day string) error {
	var have rootRow
	err := s.l.read(ctx, func(q *db.Tx) (err error) { have, err = latestRoot(q); return err })
	if err == nil && have.Day < day {
		have, err = s.makeRoot(ctx, day)
	}
	if err != nil {
		return fmt.Errorf("making the root of %s: %w", day, err)
	}
	if have.Published != 0 {
		return nil
	}
	if err := s.cfg.Publish(ctx, []byte(have.Event)); err != nil {
		return fmt.Errorf("publishing the root of %s: %w", have.Day, err)
	}
	return s.l.write(ctx, failpoint.LedgerPublished, func(t *txn) error {
		_, err := t.Exec(`UPDATE roots SET published = ? WHERE day = ?`, ms(t.now), have.Day)
		return err
	})
}

// makeRoot signs and stores the root over what customers are owed, with its leaves
// in place of those of the root before: one snapshot, one transaction.
func (s *Sealer) makeRoot(ctx context.Context, day string) (made rootRow, err error) {
	var salt [32]byte
	if _, err := io.ReadFull(s.l.o.Rand, salt[:]); err != nil {
		return made, fmt.Errorf("making a salt: %w", err)
	}
	var list []owed
	var last Link
	err = s.l.read(ctx, func(q *db.Tx) (err error) {
		if last, err = head(q); err != nil {
			return err
		}
		return q.Select(&list, `SELECT name AS account, posted AS balance FROM accounts
			WHERE posted > 0 AND name <> 'house:pool' LIMIT ?`, maxLeaves+1)
	})
	if err != nil {
		return made, err
	}
	if len(list) > maxLeaves {
		return made, fmt.Errorf("more than %d accounts", maxLeaves)
	}
	top := newTree(salt, list).root()
	event, err := s.cfg.Sign(Root{day, top.Hash, top.Sum, last.Place, last.Hash}, s.l.o.Now())
	if err != nil {
		return made, err
	}
	made = rootRow{Day: day, Salt: hex.EncodeToString(salt[:]), Event: string(event)}
	err = s.l.write(ctx, failpoint.LedgerRoot, func(t *txn) error {
		n, err := t.Exec(`INSERT INTO roots (day, salt, event) VALUES (?, ?, ?) ON CONFLICT (day) DO NOTHING`, day, made.Salt, made.Event)
		if err != nil {
			return err
		}
		if n == 0 { // another tower was first
			made, err = latestRoot(t.Tx)
			return err
		}
		if _, err := t.Exec(`DELETE FROM leaves`); err != nil {
			return err
		}
		for _, o := range list {
			if _, err := t.Exec(`INSERT INTO leaves (day, account, balance) VALUES (?, ?, ?)`, day, o.Account, o.Balance); err != nil {
				return err
			}
		}
		return nil
	})
	return made, err
}

// Proof shows that an account's balance is in the latest root. NotFound: it had
// none when the root was made, or there is no root yet.
func (s *Sealer) Proof(ctx context.Context, a timmy.Account) (Proof, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var have rootRow
	var list []owed
	err := s.l.read(ctx, func(q *db.Tx) (err error) {
		if have, err = latestRoot(q); err != nil || have.Day == s.day {
			return err
		}
		return q.Select(&list, `SELECT account, balance FROM leaves WHERE day = ? LIMIT ?`, have.Day, maxLeaves)
	})
	if err != nil {
		return Proof{}, err
	}
	if have.Day != s.day {
		salt, err := hash32(have.Salt)
		if err != nil {
			return Proof{}, bug("the salt of %s: %w", have.Day, err)
		}
		s.day, s.tree, s.event = have.Day, newTree(salt, list), []byte(have.Event)
	}
	if s.tree == nil {
		return Proof{}, timmy.Errorf(timmy.NotFound, "There is no proof yet: the first daily root is being made.")
	}
	p, ok := s.tree.prove(a)
	if !ok {
		return Proof{}, timmy.Errorf(timmy.NotFound, "You had no balance when the root of %s was made. The next one is made after midnight UTC.", s.day)
	}
	p.Day, p.Root = s.day, s.event
	return p, nil
}
