package relay

import (
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

// scan is a walk over one range of an index, newest first.
type scan struct {
	tail    string // of the query, from FROM on
	time    string // the column of the order
	args    []any
	ordered bool // an index has just this range, in order
}

// keys is the query for what sorting needs.
func (s scan) keys() string {
	return "SELECT e.rid, e.created_at, e.id" + s.tail + " ORDER BY " + s.time + " DESC, e.id LIMIT ?"
}

// newest is the query for the encodings of a whole range. Equally old events come in no
// order: to sort them by their ids, each would have to be looked up twice.
func (s scan) newest() string {
	return "SELECT e.raw" + s.tail + " ORDER BY " + s.time + " DESC LIMIT ?"
}

// raws is the query for the encodings. They are looked up for what the limit leaves:
// what has to be sorted are keys, however many match.
func (s scan) raws() string {
	return "WITH k AS MATERIALIZED (" + s.keys() + ") SELECT (SELECT raw FROM event WHERE rid = k.rid) FROM k"
}

// scans splits a filter into ranges that an index has in order. Without that,
// "the newest 100 of kinds 1 and 7" would sort all of both.
func scans(f nostr.Filter, who reader, now int64, d db.Dialect) []scan {
	q := conditions{now: now, who: who, since: 0, until: math.MaxInt64, dialect: d}
	if f.Since != nil {
		q.since = int64(*f.Since)
	}
	if f.Until != nil {
		q.until = int64(*f.Until)
	}
	switch name, tagged := narrowest(f); {
	case tagged && len(f.IDs) == 0:
		return tagScans(q, f, name)
	case who.strict && len(f.IDs) == 0 && len(f.Authors) == 0:
		return openScans(q, f)
	}
	return eventScans(q, f)
}

// openScans are those of a filter that names nobody. Public events are walked
// over by time, and private ones are looked for under the reader's own keys: a
// walk over everybody's mail would find little in long.
func openScans(q conditions, f nostr.Filter) []scan {
	mine, public := private(), []int(nil)
	if len(f.Kinds) > 0 {
		mine = slices.DeleteFunc(slices.Clone(f.Kinds), func(k int) bool { return !nip.Private(k) })
		public = slices.DeleteFunc(slices.Clone(f.Kinds), nip.Private)
	}
	var list []scan
	if len(f.Kinds) == 0 {
		stranger := q
		stranger.who.keys = nil
		list = append(list, stranger.scan("event e", "e", clause{}))
	}
	keys := q.who.keys
	q.who = reader{} // what follows is public, or concerns the reader
	if len(public) > 0 {
		list = eventScans(q, nostr.Filter{Kinds: public})
	}
	if len(mine) > 0 && len(keys) > 0 {
		list = append(list, eventScans(q, nostr.Filter{Kinds: mine, Authors: keys})...)
		list = append(list, tagScans(q, nostr.Filter{Kinds: mine, Tags: nostr.TagMap{"p": keys}}, "p")...)
	}
	return list
}

func eventScans(q conditions, f nostr.Filter) []scan {
	var list []scan
	authors, kinds := split(f.Authors, f.Kinds)
	from := "event e"
	switch {
	case len(f.IDs) > 0:
		authors, kinds = [][]string{f.Authors}, [][]int{f.Kinds}
	case len(f.Authors) > 0 && q.dialect == db.SQLite:
		from += " INDEXED BY event_author" // SQLite would walk over all events of the kind
	}
	for _, a := range authors {
		for _, k := range kinds {
			var c clause
			c.hexIn("e.id", f.IDs)
			c.hexIn("e.pubkey", a)
			c.intIn("e.kind", k)
			c.tags(f.Tags, "")
			sc := q.scan(from, "e", c)
			sc.ordered = len(f.IDs) == 0 && len(k) == 1 && len(a) <= 1
			list = append(list, sc)
		}
	}
	return list
}

func tagScans(q conditions, f nostr.Filter, name string) []scan {
	values, kinds := split(f.Tags[name], f.Kinds)
	if name == "p" && !slices.ContainsFunc(f.Tags[name], func(k string) bool { return !slices.Contains(q.who.keys, k) }) {
		q.who = reader{} // all of it is to the reader
	}
	from := "tag t JOIN event e ON e.rid = t.rid"
	if q.dialect == db.SQLite {
		from = "tag t CROSS JOIN event e ON e.rid = t.rid" // the tag first
	}
	var list []scan
	for _, v := range values {
		for _, k := range kinds {
			var c clause
			c.add("t.name = ?", name)
			c.blobIn("t.value", v)
			c.intIn("t.kind", k)
			c.hexIn("e.pubkey", f.Authors)
			c.tags(f.Tags, name)
			sc := q.scan(from, "t", c)
			sc.ordered = len(k) == 1 && len(v) == 1
			list = append(list, sc)
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
	dialect           db.Dialect
}

func (q conditions) scan(from, time string, c clause) scan {
	c.add(time+".created_at >= ?", q.since)
	c.add(time+".created_at <= ?", q.until)
	c.add("(e.expires IS NULL OR e.expires > ?)", q.now)
	if q.who.strict {
		c.readable(q.who.keys)
	}
	return scan{tail: " FROM " + from + " WHERE " + strings.Join(c.parts, " AND "), time: time + ".created_at", args: c.args}
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
