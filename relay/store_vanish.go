package relay

import (
	"database/sql"
	"errors"
	"fmt"

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

// refuseVanished answers errDeleted to an event of a key that vanished after it
// was made, or to a wrap for one. Requests to vanish themselves are kept: they are
// the proof of what was asked.
func (r *row) refuseVanished(tx *db.Tx) error {
	if r.ev.Kind == kindVanish {
		return nil
	}
	for _, who := range r.deleters() {
		var there int
		err := tx.Get(&there, `SELECT 1 FROM vanished WHERE pubkey = ? AND until >= ?`, who, int64(r.ev.CreatedAt))
		if err == nil {
			return errDeleted
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("looking for who vanished: %w", err)
		}
	}
	return nil
}

// forget deletes, in the transaction that stores the request, everything its
// author made up to its time and every wrap for that key, and remembers to refuse
// them. It is not split into batches: half a vanishing is none.
func (r *row) forget(tx *db.Tx) error {
	until := int64(r.ev.CreatedAt)
	_, err := tx.Exec(`INSERT INTO vanished (pubkey, until) VALUES (?, ?)
		ON CONFLICT (pubkey) DO UPDATE SET until = max(until, excluded.until)`, r.pubkey, until)
	if err != nil {
		return fmt.Errorf("remembering who vanished: %w", err)
	}
	if err := removeAll(tx, `pubkey = ? AND kind != 62 AND created_at <= ?`, r.pubkey, until); err != nil {
		return err
	}
	return removeAll(tx, `rid IN (SELECT rid FROM tag
		WHERE name = 'p' AND value = ? AND kind = 1059 AND created_at <= ?)`, []byte(r.ev.PubKey), until)
}

// removeAll is remove until nothing is left; each round deletes what it found, so
// it ends.
func removeAll(tx *db.Tx, where string, args ...any) error {
	for {
		n, err := remove(tx, where, args...)
		if err != nil || n < sweepBatch {
			return err
		}
	}
}
