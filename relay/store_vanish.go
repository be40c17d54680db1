package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

const (
	kindVanish = 62 // NIP-62
	allRelays  = "ALL_RELAYS"
)

var errVanishNobody = errors.New("invalid: a request to vanish must name a relay")

// namesRelay reports whether a request to vanish has any relay tag at all: one
// without asks nobody.
func namesRelay(ev *nostr.Event) bool { return firstValue(ev, "relay") != "" }

// vanishes reports whether ev asks the relay at url to forget its author.
func vanishes(ev *nostr.Event, url string) bool {
	if ev.Kind != kindVanish {
		return false
	}
	own, known := nip.RelayURL(url)
	for _, t := range ev.Tags {
		if len(t) < 2 || t[0] != "relay" {
			continue
		}
		if t[1] == allRelays {
			return true
		}
		if named, ok := nip.RelayURL(t[1]); ok && known && named == own {
			return true
		}
	}
	return false
}

// forget remembers, in the transaction that stores the request, to refuse what its
// author made up to its time, and every wrap for that key. What is stored is hidden
// from then on, and deleted in batches: a key with a million events must not keep
// the writer from others.
func (r *row) forget(tx *db.Tx) error {
	_, err := tx.Exec(`INSERT INTO vanished (pubkey, until, pending) VALUES (?, ?, 1)
		ON CONFLICT (pubkey) DO UPDATE SET pending = 1,
			until = CASE WHEN excluded.until > vanished.until THEN excluded.until ELSE vanished.until END`, r.pubkey, int64(r.ev.CreatedAt))
	if err != nil {
		return fmt.Errorf("remembering who vanished: %w", err)
	}
	return nil
}

// vanish hides what is stored of a key, deletes the first batches of it, and leaves
// the rest to the sweeper.
func (s *Store) vanish(ctx context.Context, r *row) error {
	s.mu.Lock()
	s.gone[r.ev.PubKey] = max(s.gone[r.ev.PubKey], int64(r.ev.CreatedAt))
	s.mu.Unlock()
	for range vanishBatches {
		if n, err := s.forgetSome(ctx, r.pubkey); err != nil || n < sweepBatch {
			signal(s.swept) // should it have failed: the request is durable
			return nil
		}
	}
	signal(s.swept)
	return nil
}

// forgetSome deletes a batch of what is left of a key that vanished. Less than a
// batch: nothing is left.
func (s *Store) forgetSome(ctx context.Context, pubkey []byte) (n int, err error) {
	who := hex.EncodeToString(pubkey)
	until := s.vanishing()[who]
	if s.other != nil {
		if n, err = s.other.forget(ctx, pubkey, until); err != nil || n > 0 {
			return sweepBatch, err // a store may give fewer at once
		}
	}
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		n, err = remove(tx, `pubkey = ? AND kind <> 62 AND created_at <= ?`, pubkey, until)
		if err != nil || n >= sweepBatch {
			return err
		}
		n, err = remove(tx, `rid IN (SELECT rid FROM tag
			WHERE name = 'p' AND value = ? AND kind = 1059 AND created_at <= ?)`, []byte(who), until)
		if err != nil || n >= sweepBatch {
			return err
		}
		_, err = tx.Exec(`UPDATE vanished SET pending = 0 WHERE pubkey = ? AND until = ?`, pubkey, until)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting a key: %w", err)
	}
	if n < sweepBatch {
		s.mu.Lock()
		if s.gone[who] == until {
			delete(s.gone, who)
		}
		s.mu.Unlock()
	}
	return n, nil
}

// vanishing are the keys that are not wholly deleted yet, and up to when.
func (s *Store) vanishing() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.gone)
}

// loadVanishing finds what an earlier process had not finished deleting.
func (s *Store) loadVanishing(ctx context.Context) error {
	var list []struct {
		PubKey []byte `db:"pubkey"`
		Until  int64  `db:"until"`
	}
	err := s.db.Read(ctx, func(tx *db.Tx) error {
		return tx.Select(&list, `SELECT pubkey, until FROM vanished WHERE pending = 1`)
	})
	if err != nil {
		return fmt.Errorf("looking for who vanishes: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range list {
		s.gone[hex.EncodeToString(v.PubKey)] = v.Until
	}
	return nil
}

// hides reports whether an event is one of a key that vanishes, or a wrap for one.
func (s *Store) hides(ev *nostr.Event) bool {
	if ev.Kind == kindVanish {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gone) == 0 {
		return false
	}
	if until, ok := s.gone[ev.PubKey]; ok && int64(ev.CreatedAt) <= until {
		return true
	}
	if ev.Kind != nostr.KindGiftWrap {
		return false
	}
	for _, t := range indexed(ev) {
		if until, ok := s.gone[t.value]; t.name == "p" && ok && int64(ev.CreatedAt) <= until {
			return true
		}
	}
	return false
}
