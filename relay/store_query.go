package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
)

// found is a stored event with its encoding, which is sent as it is.
type found struct {
	ev  *nostr.Event
	raw []byte
}

// reader says for whom a query is made. The zero value is the tower itself, who
// may read all; a stranger has strict set and no keys.
type reader struct {
	strict bool
	keys   []string // authenticated, in hex
}

// QueryEvents returns what matches, newest first, equally old ones by lowest id
// first; at most filter.Limit, or [maxLimit] if that is 0. The channel is filled
// and closed when it is returned, so that it may be abandoned.
func (s *Store) QueryEvents(ctx context.Context, f nostr.Filter) (chan *nostr.Event, error) {
	list, _, err := s.query(ctx, f, reader{})
	if err != nil {
		return nil, err
	}
	ch := make(chan *nostr.Event, len(list))
	for _, x := range list {
		ch <- x.ev
	}
	close(ch)
	return ch, nil
}

// query finds what a reader may read of what matches f. The rule is in the
// query, so that a limit counts readable events only, and is checked once more at
// the exit. whole says that nothing else is there that this reader may read; what
// is hidden from him does not count, for that would tell him of it.
func (s *Store) query(ctx context.Context, f nostr.Filter, who reader) (list []found, whole bool, err error) {
	if f.LimitZero || nothing(f) {
		return nil, !f.LimitZero, nil
	}
	if f.Search != "" {
		return nil, false, errSearch
	}
	if f.Limit <= 0 || f.Limit > maxLimit {
		f.Limit = maxLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, errSlow)
	defer cancel()
	now := s.now().Unix()
	if s.other != nil {
		list, whole, err = s.other.query(ctx, f, who)
	} else {
		list, whole, err = s.ask(ctx, f, who, now)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, false, fmt.Errorf("querying events: %w", err)
	}
	return slices.DeleteFunc(list, func(x found) bool {
		e := expiration(x.ev)
		return !matches(f, x.ev) || e != nil && *e <= now || s.hides(x.ev)
	}), whole, nil
}

// ask reads our own tables.
func (s *Store) ask(ctx context.Context, f nostr.Filter, who reader, now int64) (list []found, whole bool, err error) {
	err = s.db.Read(ctx, func(tx *db.Tx) error {
		list, whole, err = read(tx, scans(f, who, now, s.db.Dialect()), f.Limit+1) // one more tells whether that is all
		if len(list) > f.Limit {
			list, whole = list[:f.Limit], false
		}
		return err
	})
	return list, whole, err
}

var errSlow = errors.New("error: query took too long")

// known says what the store would answer to an event, before the work of
// verifying its signature: eventstore.ErrDupEvent or errDeleted.
func (s *Store) known(ctx context.Context, ev *nostr.Event) error {
	r, err := newRow(ev, nil)
	if err != nil {
		return err
	}
	if s.other != nil {
		if there, err := s.other.has(ctx, ev.ID); err != nil {
			return err
		} else if there {
			return errHave
		}
	}
	return s.db.Read(ctx, func(tx *db.Tx) error {
		var n int
		if err := tx.Get(&n, `SELECT count(*) FROM event WHERE id = ?`, r.id); err != nil {
			return err
		}
		if n > 0 {
			return errHave
		}
		return r.refuseDeleted(tx)
	})
}

// read reads what is in ranges, merged, up to a number and to what fills a reader's
// queue. whole says that there is no more.
func read(tx *db.Tx, list []scan, most int) ([]found, bool, error) {
	if len(list) == 1 {
		return list[0].read(tx, most)
	}
	keys, whole, err := collect(tx, list, most)
	if err != nil {
		return nil, false, err
	}
	all, err := load(tx, keys)
	return all, whole && len(all) == len(keys), err
}

// read reads one range.
func (s scan) read(tx *db.Tx, most int) (list []found, whole bool, err error) {
	if s.ordered {
		list, whole, err = s.stream(tx, s.newest(), most)
		// What a limit cuts apart must not be equally old: which of them are first, ids say.
		if n := len(list); err != nil || whole || n == most && n > 1 && list[n-1].ev.CreatedAt != list[n-2].ev.CreatedAt {
			return list, whole, err
		}
	}
	return s.stream(tx, s.raws(), most)
}

// stream reads the encodings that a query answers. The databases keep the order of a
// subquery, and do not promise it.
func (s scan) stream(tx *db.Tx, query string, most int) (list []found, whole bool, err error) {
	bytes, rows := 0, 0
	err = tx.Each(func(row *sqlx.Rows) error {
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return err
		}
		rows++
		if bytes += len(raw); bytes > maxQueueBytes {
			return errFull
		}
		x, err := decode(raw)
		list = append(list, x)
		return err
	}, query, append(slices.Clip(s.args), most)...)
	if errors.Is(err, errFull) {
		rows, err = most, nil
	}
	slices.SortFunc(list, newestFirst)
	return list, rows < most, err
}

// newestFirst is the order of NIP-01: of equally old events the lowest id first.
func newestFirst(a, b found) int {
	return cmp.Or(cmp.Compare(b.ev.CreatedAt, a.ev.CreatedAt), cmp.Compare(a.ev.ID, b.ev.ID))
}

var errFull = errors.New("the answer fills a queue")

func decode(raw []byte) (found, error) {
	ev := &nostr.Event{}
	if err := ev.UnmarshalJSON(raw); err != nil {
		return found{}, fmt.Errorf("decoding stored event: %w", err)
	}
	return found{ev, raw}, nil
}

// key is what sorting needs of an event.
type key struct {
	Rid       int64  `db:"rid"`
	CreatedAt int64  `db:"created_at"`
	ID        []byte `db:"id"`
}

// collect merges ranges, each newest first, into the newest of all. whole says
// that no range was cut: an event may be in one more than once, so that the number
// of different ones does not tell.
func collect(tx *db.Tx, list []scan, most int) (all []key, whole bool, err error) {
	whole = true
	for _, sc := range list {
		var keys []key
		if err := tx.Select(&keys, sc.keys(), append(sc.args, most)...); err != nil {
			return nil, false, err
		}
		whole = whole && len(keys) < most
		all = append(all, keys...)
	}
	slices.SortFunc(all, func(a, b key) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), bytes.Compare(a.ID, b.ID))
	})
	all = slices.CompactFunc(all, func(a, b key) bool { return a.Rid == b.Rid })
	return all[:min(len(all), most)], whole && len(all) <= most, nil
}

// load reads the encodings, in order, until they fill a reader's queue.
func load(tx *db.Tx, keys []key) ([]found, error) {
	list, bytes := make([]found, 0, len(keys)), 0
	for some := range slices.Chunk(keys, loadAtOnce) {
		raws, err := encodings(tx, some)
		if err != nil {
			return nil, err
		}
		for _, k := range some {
			raw := raws[k.Rid]
			if bytes += len(raw); bytes > maxQueueBytes {
				return list, nil
			}
			x, err := decode(raw)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
	}
	return list, nil
}

// encodings reads those of some events with one question.
func encodings(tx *db.Tx, keys []key) (map[int64][]byte, error) {
	var c clause
	rids := make([]any, 0, loadAtOnce)
	for _, k := range keys {
		rids = append(rids, k.Rid)
	}
	c.in("rid", rids)
	raws := make(map[int64][]byte, len(keys))
	err := tx.Each(func(rows *sqlx.Rows) error {
		var rid int64
		var raw []byte
		if err := rows.Scan(&rid, &raw); err != nil {
			return err
		}
		raws[rid] = raw
		return nil
	}, `SELECT rid, raw FROM event WHERE `+c.parts[0], c.args...)
	return raws, err
}
