package relay

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// The subjects of rules.
const (
	aboutKey     = "key"
	aboutEvent   = "event"
	aboutKind    = "kind"
	aboutAddress = "address"
)

// The texts of the NIP-11 document that an operator may change.
const (
	textName        = "name"
	textDescription = "description"
	textIcon        = "icon"
)

// rule is one decision of an operator.
type rule struct {
	Subject string `db:"subject"`
	Value   string `db:"value"`
	Allowed bool   `db:"allowed"`
	Reason  string `db:"reason"`
	At      int64  `db:"at"`
}

// rules is what operators decided while the relay ran: rows of the events'
// database, and all of them in memory, for they are asked on every event.
type rules struct {
	db  *db.DB
	now func() time.Time

	mu    sync.RWMutex
	by    map[string]map[string]rule // subject, value
	nets  map[netip.Prefix]struct{}  // blocked
	texts map[string]string
}

// load reads what is stored. It is repeated, for other towers may share the
// database.
func (s *rules) load(ctx context.Context) error {
	var list []rule
	var texts []struct {
		Name  string `db:"name"`
		Value string `db:"value"`
	}
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		if err := tx.Select(&list, `SELECT subject, value, allowed, reason, at FROM rule LIMIT ?`, 4*maxRules); err != nil {
			return err
		}
		return tx.Select(&texts, `SELECT name, value FROM relay_text LIMIT 8`)
	})
	if err != nil {
		return fmt.Errorf("reading the relay's rules: %w", err)
	}
	by, nets, said := map[string]map[string]rule{}, map[netip.Prefix]struct{}{}, map[string]string{}
	for _, r := range list {
		if by[r.Subject] == nil {
			by[r.Subject] = map[string]rule{}
		}
		by[r.Subject][r.Value] = r
		if p, err := netip.ParsePrefix(r.Value); r.Subject == aboutAddress && err == nil {
			nets[p] = struct{}{}
		}
	}
	for _, t := range texts {
		said[t.Name] = t.Value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by, s.nets, s.texts = by, nets, said
	return nil
}

// set writes a decision, over an older one about the same.
func (s *rules) set(ctx context.Context, r rule) error {
	if len(s.list(r.Subject, r.Allowed)) >= maxRules {
		return timmy.Errorf(timmy.Limited, "there are %d such rules already", maxRules)
	}
	allowed := 0
	if r.Allowed {
		allowed = 1
	}
	return s.change(ctx, `INSERT INTO rule (subject, value, allowed, reason, at, done) VALUES (?, ?, ?, ?, ?, 0)
		ON CONFLICT (subject, value) DO UPDATE SET allowed = excluded.allowed, reason = excluded.reason, at = excluded.at, done = 0`,
		r.Subject, r.Value, allowed, shorten(r.Reason, maxReason), s.now().Unix())
}

// lift takes a decision back, if it was that one.
func (s *rules) lift(ctx context.Context, r rule) error {
	allowed := 0
	if r.Allowed {
		allowed = 1
	}
	return s.change(ctx, `DELETE FROM rule WHERE subject = ? AND value = ? AND allowed = ?`, r.Subject, r.Value, allowed)
}

// say changes a text; an empty one brings the setting back.
func (s *rules) say(ctx context.Context, name, value string) error {
	if value == "" {
		return s.change(ctx, `DELETE FROM relay_text WHERE name = ?`, name)
	}
	return s.change(ctx, `INSERT INTO relay_text (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
}

func (s *rules) change(ctx context.Context, query string, args ...any) error {
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing a rule: %w", err)
	}
	return s.load(ctx)
}

// list is what was decided about one subject, by value.
func (s *rules) list(subject string, allowed bool) []rule {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := slices.Collect(maps.Values(s.by[subject]))
	list = slices.DeleteFunc(list, func(r rule) bool { return r.Allowed != allowed })
	slices.SortFunc(list, func(a, b rule) int { return strings.Compare(a.Value, b.Value) })
	return list
}

func (s *rules) find(subject, value string) (r rule, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok = s.by[subject][value]
	return r, ok
}

// bans reports whether a key, in hex, is banned.
func (s *rules) bans(key string) bool {
	r, ok := s.find(aboutKey, key)
	return ok && !r.Allowed
}

func (s *rules) allows(key string) bool {
	r, ok := s.find(aboutKey, key)
	return ok && r.Allowed
}

func (s *rules) bansEvent(id string) bool {
	r, ok := s.find(aboutEvent, id)
	return ok && !r.Allowed
}

func (s *rules) kind(kind int) (allowed, ruled bool) {
	r, ok := s.find(aboutKind, strconv.Itoa(kind))
	return r.Allowed, ok
}

// blocks reports whether an address is one of, or in a network of, the blocked.
func (s *rules) blocks(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	s.mu.RLock()
	defer s.mu.RUnlock()
	for p := range s.nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// text is what an operator said, or else the setting.
func (s *rules) text(name, setting string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v, ok := s.texts[name]; ok {
		return v
	}
	return setting
}
