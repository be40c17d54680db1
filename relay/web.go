package relay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

// WebConfig is what a [Web] needs.
type WebConfig struct {
	DB        *db.DB         // of events, with the relay's schema. Required
	Operators []timmy.PubKey // whom the web is around
	Relays    []string       // asked for follow lists that are not stored here
	Client    *Client        // nil: the own store alone
	Now       func() time.Time
	Log       *slog.Logger
}

// Web is the web of trust: the operators, whom they follow, and whom those follow,
// by kind 3. It is made in the background from the own store and from other relays,
// and kept, so that a restart trusts whom it trusted before.
type Web struct {
	cfg   WebConfig
	store *Store
	in    atomic.Pointer[map[timmy.PubKey]struct{}]
}

// NewWeb makes a web in which nobody is until [Web.Run].
func NewWeb(c WebConfig) *Web {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Web{cfg: c, store: NewStore(c.DB, c.Now)}
	w.in.Store(&map[timmy.PubKey]struct{}{})
	return w
}

// Trusts reports whether a key, in hex, is in the web.
func (w *Web) Trusts(key string) bool {
	k, err := timmy.ParsePubKey(key)
	if err != nil {
		return false
	}
	_, ok := (*w.in.Load())[k]
	return ok
}

// Size is how many keys are in it.
func (w *Web) Size() int { return len(*w.in.Load()) }

// Run shows what was kept, and then asks anew each [webEvery] until ctx ends.
func (w *Web) Run(ctx context.Context) error {
	w.remake(ctx, false)
	for ctx.Err() == nil {
		w.remake(ctx, true)
		next := time.NewTimer(webEvery)
		select {
		case <-ctx.Done():
		case <-next.C:
		}
		next.Stop()
	}
	return nil
}

// remake makes the web, with news or from what is kept. One that cannot be made
// leaves the old one.
func (w *Web) remake(ctx context.Context, news bool) {
	in, err := w.spin(ctx, news)
	switch {
	case err == nil:
		w.in.Store(&in)
	case ctx.Err() == nil:
		w.cfg.Log.Error("the web of trust could not be made", "err", err)
	}
}

// spin goes from the operators two steps out. Lists are read in order, so that a
// web that is full has its nearest part.
func (w *Web) spin(ctx context.Context, news bool) (map[timmy.PubKey]struct{}, error) {
	in := map[timmy.PubKey]struct{}{}
	ring := slices.Clone(w.cfg.Operators)
	var asked []timmy.PubKey
	for range 2 {
		var next []timmy.PubKey
		ring = ring[:min(len(ring), webLists)]
		for batch := range slices.Chunk(ring, webBatch) {
			lists, err := w.lists(ctx, batch, news)
			if err != nil {
				return nil, err
			}
			for _, k := range batch {
				in[k] = struct{}{}
				for _, f := range lists[k] {
					if _, known := in[f]; !known && len(in) < webMax {
						in[f] = struct{}{}
						next = append(next, f)
					}
				}
			}
		}
		asked = append(asked, ring...)
		ring = next
	}
	if news {
		return in, w.forgetOthers(ctx, asked)
	}
	return in, nil
}

// lists are the follow lists of a few keys: the newest of what is kept, what is
// stored here and, with news, what other relays have.
func (w *Web) lists(ctx context.Context, of []timmy.PubKey, news bool) (map[timmy.PubKey][]timmy.PubKey, error) {
	if news {
		if err := w.fetch(ctx, of); err != nil {
			return nil, err
		}
	}
	lists := map[timmy.PubKey][]timmy.PubKey{}
	err := w.cfg.DB.Read(ctx, func(tx *db.Tx) error {
		for _, k := range of {
			var keys []byte
			err := tx.Get(&keys, `SELECT keys FROM follow WHERE pubkey = ?`, k[:])
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("reading a follow list: %w", err)
			}
			for b := range slices.Chunk(keys, 32) {
				lists[k] = append(lists[k], timmy.PubKey(b))
			}
		}
		return nil
	})
	return lists, err
}

// fetch looks for newer lists and keeps them. A relay that does not answer is done
// without.
func (w *Web) fetch(ctx context.Context, of []timmy.PubKey) error {
	f := nostr.Filter{Kinds: []int{nostr.KindFollowList}, Limit: len(of)}
	for _, k := range of {
		f.Authors = append(f.Authors, k.String())
	}
	own, _, err := w.store.query(ctx, f, reader{})
	if err != nil {
		return err
	}
	ahead := nostr.Timestamp(w.cfg.Now().Add(maxFuture).Unix())
	newest := map[string]*nostr.Event{}
	note := func(ev *nostr.Event) {
		old := newest[ev.PubKey]
		// A list from the future would stay for ever.
		if ev.CreatedAt <= ahead && (old == nil || ev.CreatedAt > old.CreatedAt) {
			newest[ev.PubKey] = ev
		}
	}
	for _, x := range own {
		note(x.ev)
	}
	for _, url := range w.cfg.Relays[:min(len(w.cfg.Relays), webRelays)] {
		if w.cfg.Client == nil {
			break
		}
		events, err := w.cfg.Client.Fetch(ctx, url, f)
		if err != nil {
			w.cfg.Log.Debug("a relay has no follow lists for us", "relay", url, "error", err)
		}
		for _, ev := range events {
			note(ev)
		}
	}
	return w.keep(ctx, newest)
}

func (w *Web) keep(ctx context.Context, newest map[string]*nostr.Event) error {
	if len(newest) == 0 {
		return nil
	}
	return w.cfg.DB.Write(ctx, func(tx *db.Tx) error {
		for _, ev := range newest {
			k, err := timmy.ParsePubKey(ev.PubKey)
			if err != nil {
				return err // it was verified
			}
			var keys []byte
			for _, f := range nip.Follows(ev) {
				keys = append(keys, f[:]...)
			}
			_, err = tx.Exec(`INSERT INTO follow (pubkey, created_at, keys) VALUES (?, ?, ?)
				ON CONFLICT (pubkey) DO UPDATE SET created_at = excluded.created_at, keys = excluded.keys
				WHERE excluded.created_at > follow.created_at`, k[:], int64(ev.CreatedAt), keys)
			if err != nil {
				return fmt.Errorf("keeping a follow list: %w", err)
			}
		}
		return nil
	})
}

// forgetOthers deletes the lists of those who are no longer near.
func (w *Web) forgetOthers(ctx context.Context, near []timmy.PubKey) error {
	wanted := map[timmy.PubKey]bool{}
	for _, k := range near {
		wanted[k] = true
	}
	var kept [][]byte
	err := w.cfg.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Select(&kept, `SELECT pubkey FROM follow LIMIT ?`, 4*webLists)
	})
	if err != nil {
		return fmt.Errorf("listing follow lists: %w", err)
	}
	kept = slices.DeleteFunc(kept, func(k []byte) bool { return len(k) == 32 && wanted[timmy.PubKey(k)] })
	if len(kept) == 0 {
		return nil
	}
	return w.cfg.DB.Write(ctx, func(tx *db.Tx) error {
		for _, k := range kept {
			if _, err := tx.Exec(`DELETE FROM follow WHERE pubkey = ?`, k); err != nil {
				return fmt.Errorf("forgetting a follow list: %w", err)
			}
		}
		return nil
	})
}
