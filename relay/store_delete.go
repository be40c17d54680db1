package relay

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
)

// refuseDeleted answers errDeleted if somebody who may delete this event has asked for
// it (NIP-09), or it is of a key that vanished after it was made, or a wrap for one
// (NIP-62). A deletion of a deletion does nothing; and requests to vanish are kept: they
// are the proof of what was asked. It is one question, for it is asked of every event.
func (r *row) refuseDeleted(tx *db.Tx) error {
	if r.ev.Kind == kindVanish {
		return nil
	}
	var c clause
	for _, who := range r.deleters() { // not as a list, for which SQLite would make a table
		c.add("EXISTS (SELECT 1 FROM vanished WHERE pubkey = ? AND until >= ?)", who, int64(r.ev.CreatedAt))
		if r.ev.Kind != nostr.KindDeletion {
			c.add("EXISTS (SELECT 1 FROM tombstone WHERE id = ? AND pubkey = ?)", r.id, who)
		}
	}
	if r.d != nil {
		c.add("EXISTS (SELECT 1 FROM address_tombstone WHERE pubkey = ? AND kind = ? AND d = ? AND until >= ?)",
			r.pubkey, r.ev.Kind, r.d, int64(r.ev.CreatedAt))
	}
	var deleted bool
	if err := tx.Row([]any{&deleted}, "SELECT "+strings.Join(c.parts, " OR "), c.args...); err != nil {
		return fmt.Errorf("looking for a deletion: %w", err)
	}
	if deleted {
		return errDeleted
	}
	return nil
}

// deleters are the keys that may delete an event: its author, and of a gift wrap
// the one it is for (NIP-59), for its author is a key that nobody has any more.
func (r *row) deleters() [][]byte {
	keys := [][]byte{r.pubkey}
	if r.ev.Kind != nostr.KindGiftWrap {
		return keys
	}
	for _, t := range r.tags {
		if len(keys) > maxDeletes {
			break
		}
		if k, err := hex.DecodeString(t.value); t.name == "p" && err == nil && len(k) == 32 {
			keys = append(keys, k)
		}
	}
	return keys
}

// delete does what a kind 5 says, and remembers it for events that come later.
func (r *row) delete(tx *db.Tx) error {
	for _, t := range r.tags {
		var err error
		switch t.name {
		case "e":
			err = r.deleteID(tx, t.value)
		case "a":
			err = r.deleteAddress(tx, t.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *row) deleteID(tx *db.Tx, value string) error {
	id, err := hex.DecodeString(value)
	if err != nil || len(id) != 32 {
		return nil // names nothing
	}
	_, err = tx.Exec(`INSERT INTO tombstone (id, pubkey, at) VALUES (?, ?, ?)
		ON CONFLICT (id, pubkey) DO UPDATE SET at = excluded.at`, id, r.pubkey, r.now)
	if err != nil {
		return fmt.Errorf("remembering a deletion: %w", err)
	}
	_, err = remove(tx, `id = ? AND kind NOT IN (5, 62) AND (pubkey = ? OR kind = 1059 AND EXISTS (
		SELECT 1 FROM tag t WHERE t.name = 'p' AND t.value = ? AND t.kind = event.kind
		AND t.created_at = event.created_at AND t.rid = event.rid))`,
		id, r.pubkey, []byte(r.ev.PubKey))
	return err
}

// ownAddress reads an address; ok is false unless it is one of the author's own.
func (r *row) ownAddress(address string) (kind int, d string, ok bool) {
	kindText, rest, _ := strings.Cut(address, ":")
	author, d, ok := strings.Cut(rest, ":")
	kind, err := strconv.Atoi(kindText)
	if !ok || err != nil || author != r.ev.PubKey {
		return 0, "", false
	}
	if nostr.IsReplaceableKind(kind) {
		return kind, "", true
	}
	return kind, d, nostr.IsAddressableKind(kind)
}

// deleteAddress deletes all versions up to the deletion's own time.
func (r *row) deleteAddress(tx *db.Tx, address string) error {
	kind, d, ok := r.ownAddress(address)
	if !ok {
		return nil
	}
	until := int64(r.ev.CreatedAt)
	_, err := tx.Exec(`INSERT INTO address_tombstone (pubkey, kind, d, until) VALUES (?, ?, ?, ?)
		ON CONFLICT (pubkey, kind, d) DO UPDATE SET until = excluded.until WHERE excluded.until > address_tombstone.until`,
		r.pubkey, kind, []byte(d), until)
	if err != nil {
		return fmt.Errorf("remembering a deletion: %w", err)
	}
	_, err = remove(tx, `pubkey = ? AND kind = ? AND d = ? AND created_at <= ?`, r.pubkey, kind, []byte(d), until)
	return err
}
