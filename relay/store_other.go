package relay

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fiatjaf/eventstore"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/db"
)

// other is an eventstore.Store that keeps the events instead of our own table. It is
// believed in nothing: what it gives is checked against the filter, the rights, the
// expiration and what was deleted, which our own database remembers; and it is used by one
// writer at a time, for few of them bear two.
type other struct {
	eventstore.Store
	own *Store
	mu  sync.RWMutex
}

// all reads what it has of a filter, at most what it gives at once.
func (o *other) all(ctx context.Context, f nostr.Filter) ([]*nostr.Event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, errSlow)
	defer cancel()
	ch, err := o.QueryEvents(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("asking the event store: %w", err)
	}
	var list []*nostr.Event
	for {
		select {
		case ev, open := <-ch:
			if !open {
				return list, nil
			}
			if ev != nil {
				list = append(list, ev)
			}
		case <-ctx.Done(): // some stores forget to close
			return nil, context.Cause(ctx)
		}
	}
}

// save stores an event, after what it deletes is remembered: a tower that dies in between
// shows neither.
func (o *other) save(ctx context.Context, r *row) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	same, err := o.all(ctx, nostr.Filter{IDs: []string{r.ev.ID}, Limit: 1})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(same, func(ev *nostr.Event) bool { return ev.ID == r.ev.ID }) {
		return eventstore.ErrDupEvent
	}
	older, err := o.versions(ctx, r)
	if err != nil {
		return err
	}
	for _, ev := range older {
		if newestFirst(found{ev: ev}, found{ev: r.ev}) < 0 {
			return errNewer
		}
	}
	if err := o.own.db.Write(ctx, r.remember); err != nil {
		return err
	}
	if err := o.SaveEvent(ctx, r.ev); err != nil {
		return fmt.Errorf("storing event: %w", err)
	}
	gone, err := o.deleted(ctx, r)
	if err != nil {
		return err
	}
	return o.drop(ctx, append(older, gone...))
}

// remember is what of an event belongs into our own database.
func (r *row) remember(tx *db.Tx) error {
	if err := r.refuseDeleted(tx); err != nil {
		return err
	}
	switch {
	case r.ev.Kind == nostr.KindDeletion:
		return r.delete(tx)
	case r.vanish:
		return r.forget(tx)
	}
	return nil
}

// versions are the other events at the address of a replaceable one.
func (o *other) versions(ctx context.Context, r *row) ([]*nostr.Event, error) {
	if r.d == nil {
		return nil, nil
	}
	f := nostr.Filter{Authors: []string{r.ev.PubKey}, Kinds: []int{r.ev.Kind}, Limit: maxLimit}
	if len(r.d) > 0 {
		f.Tags = nostr.TagMap{"d": {string(r.d)}}
	}
	list, err := o.all(ctx, f)
	return slices.DeleteFunc(list, func(ev *nostr.Event) bool { return address(ev) != address(r.ev) }), err
}

// address is what replaceable events have in common; "" of others.
func address(ev *nostr.Event) string {
	switch {
	case nostr.IsReplaceableKind(ev.Kind):
		return fmt.Sprintf("%d:%s:", ev.Kind, ev.PubKey)
	case nostr.IsAddressableKind(ev.Kind):
		return fmt.Sprintf("%d:%s:%s", ev.Kind, ev.PubKey, firstValue(ev, "d"))
	}
	return ""
}

// deleted are the events that a kind 5 names and our database does not show any more.
func (o *other) deleted(ctx context.Context, r *row) (gone []*nostr.Event, err error) {
	if r.ev.Kind != nostr.KindDeletion {
		return nil, nil
	}
	for _, t := range r.tags {
		f := nostr.Filter{Limit: maxLimit}
		switch t.name {
		case "e":
			f.IDs = []string{t.value}
		case "a":
			kind, d, ok := r.ownAddress(t.value)
			if !ok {
				continue
			}
			f.Authors, f.Kinds = []string{r.ev.PubKey}, []int{kind}
			if d != "" {
				f.Tags = nostr.TagMap{"d": {d}}
			}
		default:
			continue
		}
		found, err := o.all(ctx, f)
		if err != nil {
			return nil, err
		}
		gone = append(gone, found...)
	}
	shown, err := o.undeleted(ctx, gone)
	return slices.DeleteFunc(gone, func(ev *nostr.Event) bool { return slices.Contains(shown, ev) }), err
}

// undeleted leaves out what somebody deleted who may.
func (o *other) undeleted(ctx context.Context, list []*nostr.Event) (shown []*nostr.Event, err error) {
	err = o.own.db.Read(ctx, func(tx *db.Tx) error {
		shown = nil
		for _, ev := range list {
			r, err := newRow(ev, nil)
			if err != nil {
				continue // no event that we would have taken
			}
			if err := r.refuseDeleted(tx); err == nil {
				shown = append(shown, ev)
			} else if !errors.Is(err, errDeleted) {
				return err
			}
		}
		return nil
	})
	return shown, err
}

func (o *other) drop(ctx context.Context, list []*nostr.Event) error {
	for _, ev := range list {
		if err := o.DeleteEvent(ctx, ev); err != nil {
			return fmt.Errorf("deleting event: %w", err)
		}
	}
	return nil
}

// query reads page by page, for a store may give fewer than it is asked for, until there
// are enough that may be shown, or no more.
func (o *other) query(ctx context.Context, f nostr.Filter, who reader) (list []found, whole bool, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	page, seen, best := f, map[string]bool{}, map[string]*nostr.Event{}
	page.Limit = maxLimit
	for range otherPages {
		got, err := o.all(ctx, page)
		if err != nil {
			return nil, false, err
		}
		fresh := slices.DeleteFunc(slices.Clone(got), func(ev *nostr.Event) bool {
			known := seen[ev.ID]
			seen[ev.ID] = true
			return known
		})
		if whole = len(fresh) == 0; whole {
			break
		}
		oldest := slices.MinFunc(got, func(a, b *nostr.Event) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) }).CreatedAt
		if list, err = o.keep(ctx, list, fresh, f, who, best); err != nil {
			return nil, false, err
		}
		if len(list) > f.Limit || page.Until != nil && oldest >= *page.Until {
			break // enough, or a second that has more events than one page
		}
		page.Until = &oldest
	}
	slices.SortFunc(list, newestFirst)
	if len(list) > f.Limit {
		return list[:f.Limit], false, nil
	}
	return list, whole, nil
}

// keep adds what of a page may be shown: of an address the newest alone.
func (o *other) keep(ctx context.Context, list []found, page []*nostr.Event, f nostr.Filter, who reader, best map[string]*nostr.Event) ([]found, error) {
	now := o.own.now().Unix()
	page = slices.DeleteFunc(page, func(ev *nostr.Event) bool {
		e := expiration(ev)
		return !matches(f, ev) || who.strict && !mayRead(ev, who.keys) || e != nil && *e <= now || o.own.hides(ev)
	})
	shown, err := o.undeleted(ctx, page)
	if err != nil {
		return nil, err
	}
	for _, ev := range shown {
		if a := address(ev); a != "" {
			old := best[a]
			if old != nil && newestFirst(found{ev: old}, found{ev: ev}) < 0 {
				continue
			}
			best[a] = ev
			list = slices.DeleteFunc(list, func(x found) bool { return old != nil && x.ev.ID == old.ID })
		}
		raw, err := ev.MarshalJSON()
		if err != nil {
			continue
		}
		list = append(list, found{ev, raw})
	}
	return list, nil
}

// has reports whether it has an event.
func (o *other) has(ctx context.Context, id string) (bool, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	list, err := o.all(ctx, nostr.Filter{IDs: []string{id}, Limit: 1})
	return slices.ContainsFunc(list, func(ev *nostr.Event) bool { return ev.ID == id }), err
}

// sweep deletes a batch of what a filter finds and is doomed, and says how many those were.
func (o *other) sweep(ctx context.Context, f nostr.Filter, doomed func(*nostr.Event) bool) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.Limit = sweepBatch
	list, err := o.all(ctx, f)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(ev *nostr.Event) bool { return !matches(f, ev) || !doomed(ev) })
	return len(list), o.drop(ctx, list)
}

// forget deletes a batch of what is left of a key that vanished.
func (o *other) forget(ctx context.Context, pubkey []byte, until int64) (int, error) {
	who, last := hex.EncodeToString(pubkey), nostr.Timestamp(until)
	n, err := o.sweep(ctx, nostr.Filter{Authors: []string{who}, Until: &last}, func(ev *nostr.Event) bool { return ev.Kind != kindVanish })
	if err != nil || n > 0 {
		return n, err
	}
	f := nostr.Filter{Kinds: []int{nostr.KindGiftWrap}, Tags: nostr.TagMap{"p": {who}}, Until: &last}
	return o.sweep(ctx, f, func(*nostr.Event) bool { return true })
}
