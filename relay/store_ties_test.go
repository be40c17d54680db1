package relay

import (
	"slices"
	"testing"

	"github.com/nbd-wtf/go-nostr"
)

// Excludes: a limit that cuts between equally old events and keeps others of them than
// those with the lowest ids (NIP-01), whatever index the filter is answered from.
func TestALimitKeepsTheLowestIDsOfASecond(t *testing.T) {
	s, _ := newStore(t)
	author := nostr.GeneratePrivateKey()
	key, err := nostr.GetPublicKey(author)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 24 {
		ev := &nostr.Event{Kind: 1, CreatedAt: nostr.Timestamp(1_000 + i%2), Tags: nostr.Tags{{"p", key}, {"t", string(rune('a' + i))}}}
		if err := ev.Sign(author); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveEvent(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ev.ID)
	}
	var want []string // the later second first
	for _, odd := range []int{1, 0} {
		var second []string
		for i, id := range ids {
			if i%2 == odd {
				second = append(second, id)
			}
		}
		slices.Sort(second)
		want = append(want, second...)
	}
	for name, f := range map[string]nostr.Filter{
		"kind": {Kinds: []int{1}}, "author and kind": {Kinds: []int{1}, Authors: []string{key}},
		"tag and kind": {Kinds: []int{1}, Tags: nostr.TagMap{"p": {key}}}, "author": {Authors: []string{key}},
		"two kinds": {Kinds: []int{1, 7}}, "ids": {IDs: ids},
	} {
		for limit := 1; limit <= len(want)+1; limit++ {
			f.Limit = limit
			list, whole, err := s.query(t.Context(), f, reader{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range list {
				got = append(got, x.ev.ID)
			}
			if n := min(limit, len(want)); !slices.Equal(got, want[:n]) || whole != (limit >= len(want)) {
				t.Errorf("%s: of limit %d came %d, whole %v:\n%v\nwant\n%v", name, limit, len(got), whole, got, want[:n])
			}
		}
	}
}
