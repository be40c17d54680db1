package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

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
	list, err := s.query(ctx, f, reader{})
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
// the exit.
func (s *Store) query(ctx context.Context, f nostr.Filter, who reader) ([]found, error) {
	if f.LimitZero || nothing(f) {
		return nil, nil
	}
	if f.Search != "" {
		return nil, errSearch
	}
	if f.Limit <= 0 || f.Limit > maxLimit {
		f.Limit = maxLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, errSlow)
	defer cancel()
	now := s.now().Unix()
	var list []found
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		keys, err := collect(tx, scans(f, who, now), f.Limit)
		if err != nil {
			return err
		}
		list, err = load(tx, keys)
		return err
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("querying events: %w", err)
	}
	return slices.DeleteFunc(list, func(x found) bool {
		e := expiration(x.ev)
		return !matches(f, x.ev) || e != nil && *e <= now
	}), nil
}

var errSlow = errors.New("error: query took too long")

// known says what the store would answer to an event, before the work of
// verifying its signature: eventstore.ErrDupEvent or errDeleted.
func (s *Store) known(ctx context.Context, ev *nostr.Event) error {
	r, err := newRow(ev, nil)
	if err != nil {
		return err
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

// key is what sorting needs of an event.
type key struct {
	Rid       int64  `db:"rid"`
	CreatedAt int64  `db:"created_at"`
	ID        []byte `db:"id"`
}

// collect merges ranges, each newest first, into the newest of all.
func collect(tx *db.Tx, list []scan, most int) ([]key, error) {
	var all []key
	for _, sc := range list {
		var keys []key
		if err := tx.Select(&keys, sc.sql, append(sc.args, most)...); err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	slices.SortFunc(all, func(a, b key) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), bytes.Compare(a.ID, b.ID))
	})
	all = slices.CompactFunc(all, func(a, b key) bool { return a.Rid == b.Rid })
	return all[:min(len(all), most)], nil
}

// load reads the encodings, in order, until they fill a reader's queue.
func load(tx *db.Tx, keys []key) ([]found, error) {
	list := make([]found, 0, len(keys))
	bytes := 0
	for _, k := range keys {
		var raw []byte
		if err := tx.Get(&raw, `SELECT raw FROM event WHERE rid = ?`, k.Rid); err != nil {
			return nil, err
		}
		if bytes += len(raw); bytes > maxQueueBytes {
			break
		}
		ev := &nostr.Event{}
		if err := ev.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("decoding stored event: %w", err)
		}
		list = append(list, found{ev, raw})
	}
	return list, nil
}

// scan is a walk over one range of an index, newest first.
type scan struct {
	sql  string
	args []any
}

// scans splits a filter into ranges that an index has in order. Without that,
// "the newest 100 of kinds 1 and 7" would sort all of both.
func scans(f nostr.Filter, who reader, now int64) []scan {
	q := conditions{now: now, who: who, since: 0, until: math.MaxInt64}
	if f.Since != nil {
		q.since = int64(*f.Since)
	}
	if f.Until != nil {
		q.until = int64(*f.Until)
	}
	if name, ok := narrowest(f); ok && len(f.IDs) == 0 {
		return tagScans(q, f, name)
	}
	var list []scan
	authors, kinds := split(f.Authors, f.Kinds)
	if len(f.IDs) > 0 {
		authors, kinds = [][]string{f.Authors}, [][]int{f.Kinds}
	}
	for _, a := range authors {
		for _, k := range kinds {
			var c clause
			c.hexIn("e.id", f.IDs)
			c.hexIn("e.pubkey", a)
			c.intIn("e.kind", k)
			c.tags(f.Tags, "")
			list = append(list, q.scan("event e", "e", c))
		}
	}
	return list
}

func tagScans(q conditions, f nostr.Filter, name string) []scan {
	values, kinds := split(f.Tags[name], f.Kinds)
	var list []scan
	for _, v := range values {
		for _, k := range kinds {
			var c clause
			c.add("t.name = ?", name)
			c.blobIn("t.value", v)
			c.intIn("t.kind", k)
			c.hexIn("e.pubkey", f.Authors)
			c.tags(f.Tags, name)
			list = append(list, q.scan("tag t CROSS JOIN event e ON e.rid = t.rid", "t", c))
		}
	}
	return list
}

// narrowest is the tag condition with the fewest values.
func narrowest(f nostr.Filter) (name string, ok bool) {
	for n, v := range f.Tags {
		if !ok || len(v) < len(f.Tags[name]) || len(v) == len(f.Tags[name]) && n < name {
			name, ok = n, true
		}
	}
	return name, ok
}

// split makes one range of each pair, unless there would be too many.
func split(a []string, kinds []int) ([][]string, [][]int) {
	if max(1, len(a))*max(1, len(kinds)) > maxScan {
		return [][]string{a}, [][]int{kinds}
	}
	as, ks := [][]string{nil}, [][]int{nil}
	if len(a) > 0 {
		as = slices.Collect(slices.Chunk(a, 1))
	}
	if len(kinds) > 0 {
		ks = slices.Collect(slices.Chunk(kinds, 1))
	}
	return as, ks
}

// conditions are those of every range of a filter.
type conditions struct {
	since, until, now int64
	who               reader
}

func (q conditions) scan(from, time string, c clause) scan {
	c.add(time+".created_at >= ?", q.since)
	c.add(time+".created_at <= ?", q.until)
	c.add("(e.expires IS NULL OR e.expires > ?)", q.now)
	if q.who.strict {
		c.readable(q.who.keys)
	}
	return scan{
		sql: "SELECT e.rid, e.created_at, e.id FROM " + from + " WHERE " + strings.Join(c.parts, " AND ") +
			" ORDER BY " + time + ".created_at DESC, e.id LIMIT ?",
		args: c.args,
	}
}

// clause is a list of conditions that all must hold.
type clause struct {
	parts []string
	args  []any
}

func (c *clause) add(part string, args ...any) {
	c.parts = append(c.parts, part)
	c.args = append(c.args, args...)
}

// in adds "column IN (…)". Lists are padded to a power of two, so that there are
// few texts to prepare.
func (c *clause) in(column string, args []any) {
	switch n := len(args); n {
	case 0:
		return
	case 1:
		c.add(column+" = ?", args...)
	default:
		for len(args)&(len(args)-1) != 0 {
			args = append(args, args[n-1])
		}
		c.add(column+" IN (?"+strings.Repeat(",?", len(args)-1)+")", args...)
	}
}

func (c *clause) hexIn(column string, list []string) {
	args := make([]any, 0, len(list))
	for _, s := range list {
		b, err := hex.DecodeString(s)
		if err != nil {
			b = []byte{} // equals no key
		}
		args = append(args, b)
	}
	c.in(column, args)
}

func (c *clause) blobIn(column string, list []string) {
	args := make([]any, 0, len(list))
	for _, s := range list {
		args = append(args, []byte(s))
	}
	c.in(column, args)
}

func (c *clause) intIn(column string, list []int) {
	args := make([]any, 0, len(list))
	for _, n := range list {
		args = append(args, n)
	}
	c.in(column, args)
}

// tags adds the conditions of all tags but one.
func (c *clause) tags(m nostr.TagMap, but string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name == but {
			continue
		}
		var v clause
		v.blobIn("x.value", m[name])
		c.add(tagExists+strings.Join(v.parts, "")+")", append([]any{name}, v.args...)...)
	}
}

const tagExists = `EXISTS (SELECT 1 FROM tag x WHERE x.name = ? AND x.kind = e.kind
	AND x.created_at = e.created_at AND x.rid = e.rid AND `

// readable is mayRead in SQL.
func (c *clause) readable(keys []string) {
	if len(keys) == 0 {
		c.add("e.kind NOT IN (" + privateKinds + ")")
		return
	}
	var own, to clause
	own.hexIn("e.pubkey", keys)
	to.blobIn("x.value", keys)
	args := append(slices.Clone(own.args), "p")
	c.add("(e.kind NOT IN ("+privateKinds+") OR "+own.parts[0]+" OR "+tagExists+to.parts[0]+"))",
		append(args, to.args...)...)
}
