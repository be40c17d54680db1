package relay

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

//go:embed migrations
var migrations embed.FS

// Why the store does not keep an event.
var (
	errDeleted = errors.New("blocked: this event was deleted")
	errExpired = errors.New("invalid: event expired")
	// errNewer is an eventstore.ErrDupEvent: there is nothing to do.
	errNewer = fmt.Errorf("have a newer one: %w", eventstore.ErrDupEvent)
)

// Store keeps events in a database file of its own and implements
// eventstore.Store. Unlike the backends of that module it matches tags by name
// and exact value, replaces and deletes in the transaction that writes, never
// lets a deleted event back (NIP-09), and never serves an expired one (NIP-40).
//
// It trusts its caller that ids and signatures were verified.
type Store struct {
	db    *db.DB
	other *other // keeps the events; nil: db does, too
	now   func() time.Time
	url   string // of the relay, for requests to vanish; empty: those to all relays alone

	swept chan struct{} // a hint that there is something to delete

	mu   sync.Mutex
	gone map[string]int64   // keys that vanish, in hex, and up to when: hidden until they are deleted
	own  map[int64]struct{} // on PostgreSQL: the rids of what this tower stored of late
}

var _ eventstore.Store = (*Store)(nil)

// Plug has another store keep the events. What was deleted, what operators decided and the
// web of trust stay in the database, so that it must be one store for one database. It is
// not swept of what has expired or is old, and a [Web] does not look into it. Call Plug
// before Init, which opens the store; who gave it closes it.
func (s *Store) Plug(events eventstore.Store) { s.other = &other{Store: events, own: s} }

// NewStore makes a store on d, whose writer must run. Call Init before use.
func NewStore(d *db.DB, now func() time.Time) *Store {
	return &Store{db: d, now: now, swept: make(chan struct{}, 1), gone: map[string]int64{}, own: map[int64]struct{}{}}
}

// Init brings the schema up to date.
func (s *Store) Init() error {
	if err := s.db.Migrate(context.Background(), migrations, s.db.Dialect().Folder("migrations")); err != nil {
		return err
	}
	if s.other != nil {
		if err := s.other.Init(); err != nil {
			return fmt.Errorf("opening the event store: %w", err)
		}
	}
	return s.loadVanishing(context.Background())
}

// Close does nothing: who opened the database closes it.
func (s *Store) Close() {}

// SaveEvent stores an event durably. Replaceable and addressable kinds replace
// their older version, for two versions are never kept; a kind 5 deletes, and a
// kind 62 for this relay deletes all of its author.
// eventstore.ErrDupEvent: it, or a newer version, is there already.
func (s *Store) SaveEvent(ctx context.Context, ev *nostr.Event) error {
	raw, err := ev.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encoding event: %w", err)
	}
	return s.save(ctx, ev, raw)
}

// ReplaceEvent is SaveEvent.
func (s *Store) ReplaceEvent(ctx context.Context, ev *nostr.Event) error {
	return s.SaveEvent(ctx, ev)
}

// DeleteEvent removes an event without a trace: it may come back.
func (s *Store) DeleteEvent(ctx context.Context, ev *nostr.Event) error {
	if s.other != nil {
		_, err := s.other.sweep(ctx, nostr.Filter{IDs: []string{ev.ID}}, func(*nostr.Event) bool { return true })
		return err
	}
	id, err := hex.DecodeString(ev.ID)
	if err != nil {
		return fmt.Errorf("event id: %w", err)
	}
	return s.db.Write(ctx, func(tx *db.Tx) error {
		_, err := remove(tx, "id = ?", id)
		return err
	})
}

// save stores ev, whose encoding is raw.
func (s *Store) save(ctx context.Context, ev *nostr.Event, raw []byte) error {
	r, err := newRow(ev, raw)
	if err != nil {
		return err
	}
	r.vanish = vanishes(ev, s.url)
	if r.expires != nil && *r.expires <= s.now().Unix() {
		return errExpired
	}
	r.now = s.now().Unix()
	if err := failpoint.Before(failpoint.StoreSave); err != nil {
		return err
	}
	if s.other != nil {
		err = s.other.save(ctx, r)
	} else {
		err = s.keep(ctx, r)
	}
	if err != nil {
		return err
	}
	if err := failpoint.After(failpoint.StoreSave); err != nil || !r.vanish {
		return err
	}
	return s.vanish(ctx, r)
}

// keep writes an event into our own tables.
func (s *Store) keep(ctx context.Context, r *row) error {
	return s.db.Write(ctx, func(tx *db.Tx) error {
		rid, err := r.insert(tx)
		if err == nil && s.db.Dialect() == db.Postgres {
			s.note(rid)
			tx.Hint(hintEvents)
		}
		return err
	})
}

// row is an event as it is written.
type row struct {
	ev         *nostr.Event
	id, pubkey []byte
	expires    *int64
	d          []byte // nil: not replaceable
	tags       []tagRow
	raw        []byte
	now        int64
	vanish     bool // asks this relay to forget its author (NIP-62)
}

type tagRow struct{ name, value string }

func newRow(ev *nostr.Event, raw []byte) (*row, error) {
	r := &row{ev: ev, raw: raw, tags: indexed(ev), expires: expiration(ev)}
	var err error
	if r.id, err = hex.DecodeString(ev.ID); err != nil || len(r.id) != 32 {
		return nil, errors.New("invalid: id")
	}
	if r.pubkey, err = hex.DecodeString(ev.PubKey); err != nil || len(r.pubkey) != 32 {
		return nil, errors.New("invalid: pubkey")
	}
	if ev.CreatedAt < 0 || ev.Kind < 0 || ev.Kind > 65535 {
		return nil, errors.New("invalid: kind or created_at")
	}
	switch {
	case nostr.IsReplaceableKind(ev.Kind):
		r.d = []byte{}
	case nostr.IsAddressableKind(ev.Kind):
		r.d = []byte(firstValue(ev, "d"))
	}
	return r, nil
}

// firstValue is the value of the first tag of that name, or "".
func firstValue(ev *nostr.Event, name string) string {
	for _, t := range ev.Tags {
		if len(t) > 1 && t[0] == name {
			return t[1]
		}
	}
	return ""
}

// indexed lists what "#x" filters can find: the first value of each
// single-letter tag, once, unless it is longer than a filter may ask for.
func indexed(ev *nostr.Event) []tagRow {
	var rows []tagRow
	seen := make(map[tagRow]struct{}, len(ev.Tags))
	for _, t := range ev.Tags {
		if len(t) < 2 || len(t[0]) != 1 || !letter(t[0][0]) || len(t[1]) > maxTagItem {
			continue
		}
		r := tagRow{t[0], t[1]}
		if _, known := seen[r]; !known {
			seen[r] = struct{}{}
			rows = append(rows, r)
		}
	}
	return rows
}

// expiration reads the NIP-40 tag; nonsense is no expiration.
func expiration(ev *nostr.Event) *int64 {
	for _, t := range ev.Tags {
		if len(t) > 1 && t[0] == "expiration" {
			if n, err := strconv.ParseInt(t[1], 10, 64); err == nil && n >= 0 {
				return &n
			}
			return nil
		}
	}
	return nil
}

// insert is one transaction: everything below it sees and writes through tx. It says
// where the event is.
func (r *row) insert(tx *db.Tx) (rid int64, err error) {
	if err := r.refuseDeleted(tx); err != nil {
		return 0, err
	}
	if err := r.replaceOlder(tx); err != nil {
		return 0, err
	}
	rid, err = tx.Insert("rid", `INSERT INTO event (id, pubkey, kind, created_at, expires, d, raw)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		r.id, r.pubkey, r.ev.Kind, int64(r.ev.CreatedAt), r.expires, r.d, r.raw)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, eventstore.ErrDupEvent
	}
	if err != nil {
		return 0, fmt.Errorf("storing event: %w", err)
	}
	if err := r.insertTags(tx, rid); err != nil {
		return 0, fmt.Errorf("storing tags: %w", err)
	}
	switch {
	case r.ev.Kind == nostr.KindDeletion:
		err = r.delete(tx)
	case r.vanish:
		err = r.forget(tx)
	}
	return rid, err
}

// insertTags writes several at once where each statement is a way to the server. SQLite
// would keep a journal for such a statement.
func (r *row) insertTags(tx *db.Tx, rid int64) error {
	atOnce := 1
	if tx.Dialect() == db.Postgres {
		atOnce = tagsAtOnce
	}
	for some := range slices.Chunk(r.tags, atOnce) {
		args := make([]any, 0, 5*len(some))
		for _, t := range some {
			args = append(args, t.name, []byte(t.value), r.ev.Kind, int64(r.ev.CreatedAt), rid)
		}
		_, err := tx.Exec(`INSERT INTO tag (name, value, kind, created_at, rid) VALUES (?, ?, ?, ?, ?)`+
			strings.Repeat(`, (?, ?, ?, ?, ?)`, len(some)-1), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceOlder removes the version that r replaces. Equally old: the lower id
// stays (NIP-01).
func (r *row) replaceOlder(tx *db.Tx) error {
	if r.d == nil {
		return nil
	}
	var old struct {
		ID        []byte `db:"id"`
		CreatedAt int64  `db:"created_at"`
	}
	err := tx.Get(&old, `SELECT id, created_at FROM event WHERE pubkey = ? AND kind = ? AND d = ?`,
		r.pubkey, r.ev.Kind, r.d)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for an older version: %w", err)
	}
	at := int64(r.ev.CreatedAt)
	switch oldID := hex.EncodeToString(old.ID); {
	case oldID == r.ev.ID:
		return eventstore.ErrDupEvent
	case old.CreatedAt > at, old.CreatedAt == at && oldID < r.ev.ID:
		return errNewer
	}
	_, err = remove(tx, "id = ?", old.ID)
	return err
}

// remove deletes the events that a condition names, at most [sweepBatch], with
// their tags, and says how many.
func remove(tx *db.Tx, where string, args ...any) (int, error) {
	var rows []struct {
		Rid int64  `db:"rid"`
		Raw []byte `db:"raw"`
	}
	err := tx.Select(&rows, `SELECT rid, raw FROM event WHERE `+where+` LIMIT ?`, append(args, sweepBatch)...)
	if err != nil {
		return 0, fmt.Errorf("finding what to delete: %w", err)
	}
	for _, r := range rows {
		var ev nostr.Event
		if err := ev.UnmarshalJSON(r.Raw); err != nil {
			return 0, fmt.Errorf("decoding stored event: %w", err)
		}
		for _, t := range indexed(&ev) {
			_, err := tx.Exec(`DELETE FROM tag WHERE name = ? AND value = ? AND kind = ? AND created_at = ? AND rid = ?`,
				t.name, []byte(t.value), ev.Kind, int64(ev.CreatedAt), r.Rid)
			if err != nil {
				return 0, fmt.Errorf("deleting tag: %w", err)
			}
		}
		if _, err := tx.Exec(`DELETE FROM event WHERE rid = ?`, r.Rid); err != nil {
			return 0, fmt.Errorf("deleting event: %w", err)
		}
	}
	return len(rows), nil
}

// Sweep deletes a batch of expired events and says how many it was. In a plugged store
// they cannot be found; they are never served.
func (s *Store) Sweep(ctx context.Context) (n int, err error) {
	now := s.now().Unix()
	if s.other != nil {
		return 0, nil
	}
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		n, err = remove(tx, "expires IS NOT NULL AND expires <= ?", now)
		return err
	})
	return n, err
}
