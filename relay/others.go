package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy/db"
)

// hintEvents tells the other towers on a PostgreSQL database that there are new events.
const hintEvents = "events"

// others shows live what other towers stored in the same database. Towers write in
// turns, so that events are committed in the order of their rid, and a cursor misses
// none; the hint only makes it soon.
type others struct {
	store  *Store
	live   *live
	hinted chan struct{}
	cursor int64
}

// newOthers begins with what is stored from now on.
func newOthers(ctx context.Context, s *Store, l *live) (*others, error) {
	o := &others{store: s, live: l, hinted: make(chan struct{}, 1)}
	err := s.db.Read(ctx, func(tx *db.Tx) error { return tx.Get(&o.cursor, `SELECT COALESCE(MAX(rid), 0) FROM event`) })
	if err != nil {
		return nil, fmt.Errorf("looking for the newest event: %w", err)
	}
	l.shared = true
	s.db.OnHint(func(string) { signal(o.hinted) })
	return o, nil
}

// run looks after each hint, and once a second. complain hears of the first failure of
// several.
func (o *others) run(ctx context.Context, complain func(error)) {
	tick := time.NewTicker(othersEvery)
	defer tick.Stop()
	failing := false
	for {
		err := o.catchUp(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			complain(err)
		}
		failing = err != nil
		select {
		case <-o.hinted:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// catchUp shows all that was stored up to now.
func (o *others) catchUp(ctx context.Context) error {
	waiting := o.live.takeFresh()
	for {
		n, err := o.some(ctx)
		if err != nil {
			o.live.giveFresh(waiting)
			return fmt.Errorf("events of other towers: %w", err)
		}
		if n < othersBatch {
			break
		}
	}
	for _, s := range waiting {
		s.forgetRead()
	}
	return nil
}

// some shows a batch, and says how many were stored by anybody.
func (o *others) some(ctx context.Context) (n int, err error) {
	var list []found
	var rids []int64
	err = o.store.db.Read(ctx, func(tx *db.Tx) error {
		if err := tx.Select(&rids, `SELECT rid FROM event WHERE rid > ? ORDER BY rid LIMIT ?`, o.cursor, othersBatch); err != nil || len(rids) == 0 {
			return err
		}
		list, err = byRid(tx, o.store.notOwn(rids))
		return err
	})
	if err != nil || len(rids) == 0 {
		return 0, err
	}
	for _, x := range list {
		if vanishes(x.ev, o.store.url) {
			if err := o.store.loadVanishing(ctx); err != nil {
				return 0, err
			}
			signal(o.store.swept)
		}
		o.live.broadcast(x.ev, x.raw)
	}
	o.cursor = rids[len(rids)-1]
	o.store.forgetOwn(o.cursor)
	return len(rids), nil
}

// byRid reads events in the order of their rid.
func byRid(tx *db.Tx, rids []int64) ([]found, error) {
	if len(rids) == 0 {
		return nil, nil
	}
	keys := make([]key, 0, len(rids))
	for _, rid := range rids {
		keys = append(keys, key{Rid: rid})
	}
	raws, err := encodings(tx, keys)
	if err != nil {
		return nil, err
	}
	list := make([]found, 0, len(rids))
	for _, rid := range rids {
		x, err := decode(raws[rid])
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// note remembers that this tower stores an event: it shows it itself. A transaction that
// is undone leaves a number that nobody gets, until the cursor has passed it.
func (s *Store) note(rid int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own[rid] = struct{}{}
}

// notOwn are those that other towers stored.
func (s *Store) notOwn(rids []int64) (list []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rid := range rids {
		if _, own := s.own[rid]; !own {
			list = append(list, rid)
		}
	}
	return list
}

func (s *Store) forgetOwn(upTo int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rid := range s.own {
		if rid <= upTo {
			delete(s.own, rid)
		}
	}
}
