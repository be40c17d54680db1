package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// book is a sealer whose events are the roots as JSON.
func (f *fix) sealer(published *[]string) *Sealer {
	return NewSealer(f.Ledger, SealerConfig{
		Sign: func(r Root, _ time.Time) ([]byte, error) { return json.Marshal(r) },
		Publish: func(_ context.Context, event []byte) error {
			if published == nil {
				return errors.New("no relay")
			}
			*published = append(*published, string(event))
			return nil
		},
	})
}

// Excludes a second root of a day, a root that is lost because it could not be
// published at once, and a customer who is not in it.
func TestDailyRootIsMadeOnceAndHoldsEveryBalance(t *testing.T) {
	f := newChain(t)
	f.give(timmy.UserAccount(key(1)), 100*sat)
	f.session("s1", timmy.PubKey{}, 200*sat)
	if err := f.sealer(nil).Daily(t.Context(), "2026-11-24"); err == nil {
		t.Fatal("published nowhere, and no error")
	}
	f.give(timmy.UserAccount(key(2)), 400*sat)
	var out []string
	s := f.sealer(&out)
	f.ok(s.Daily(t.Context(), "2026-11-24"))
	f.ok(s.Daily(t.Context(), "2026-11-24"))
	f.ok(s.Daily(t.Context(), "2026-11-23"))
	if len(out) != 1 {
		t.Fatalf("published %d times", len(out))
	}
	var r Root
	f.ok(json.Unmarshal([]byte(out[0]), &r))
	for a, want := range map[timmy.Account]timmy.Msat{timmy.UserAccount(key(1)): 100 * sat, timmy.SessionAccount("s1"): 200 * sat} {
		p, err := s.Proof(t.Context(), a)
		f.ok(err)
		top, err := p.Top()
		if err != nil || p.Balance != want || top != (Node{r.Hash, r.Sum}) || p.Day != "2026-11-24" || string(p.Root) != out[0] {
			t.Errorf("%s: %+v, %v", a, p, err)
		}
	}
	_, err := s.Proof(t.Context(), timmy.UserAccount(key(2)))
	f.is(err, timmy.NotFound)
	f.ok(s.Daily(t.Context(), "2026-11-25"))
	if p, err := s.Proof(t.Context(), timmy.UserAccount(key(2))); err != nil || p.Balance != 400*sat {
		t.Errorf("the next day: %+v, %v", p, err)
	}
}

// Excludes a sealer that sees a broken chain and tells nobody.
func TestSealerTellsWhatItFinds(t *testing.T) {
	f := newChain(t)
	f.give(timmy.UserAccount(key(1)), 100*sat)
	f.sealAll()
	f.forge("UPDATE postings SET amount = amount + 1 WHERE seq = 1")
	var out []string
	told := 0
	s := f.sealer(&out)
	s.cfg.Broken = func(bs []Break) { told += len(bs) }
	f.ok(s.round(t.Context()))
	if told == 0 || len(out) != 1 {
		t.Errorf("told %d, published %d", told, len(out))
	}
}

// Excludes postings without their place, and lists that read all that is new, for as long
// as no relay takes the root of the day; and a publisher that is asked each second.
func TestARootThatNobodyTakesHoldsUpNothing(t *testing.T) {
	f := newChain(t)
	tries := 0
	s := f.sealer(nil)
	s.cfg.Publish = func(context.Context, []byte) error { tries++; return errors.New("no relay") }
	if s.round(t.Context()) == nil {
		t.Fatal("published nowhere, and no error")
	}
	for range 2 {
		f.give(timmy.UserAccount(key(1)), 100*sat)
		f.clock.add(sealRetry / 3)
		f.ok(s.round(t.Context()))
		if n := f.sealAll(); n != 0 {
			t.Errorf("%d postings were left without a place", n)
		}
		if n, err := f.File(t.Context()); err != nil || n != 0 {
			t.Errorf("%d numbers were left to file, %v", n, err)
		}
	}
	f.clock.add(-time.Hour)
	if s.round(t.Context()) == nil || tries != 2 {
		t.Errorf("tried %d times after the clock was set back, want 2", tries)
	}
}

// Excludes a tower that looks at what it sealed only when it starts, so that a break stays
// unseen for a day, and a start checks what was sealed since the last.
func TestTheTailIsCheckedWhileTheTowerRuns(t *testing.T) {
	f := newChain(t)
	var out []string
	told := 0
	s := f.sealer(&out)
	s.cfg.Broken = func(bs []Break) { told += len(bs) }
	f.ok(s.round(t.Context()))
	f.give(timmy.UserAccount(key(1)), 100*sat)
	f.clock.add(tailEvery)
	f.ok(s.round(t.Context())) // seals
	f.clock.add(tailEvery)
	f.ok(s.round(t.Context())) // checks
	at, err := f.checkpoint(t.Context())
	if f.ok(err); at.Place == 0 {
		t.Error("no checkpoint was left")
	}
	f.give(timmy.UserAccount(key(1)), 100*sat)
	f.ok(s.round(t.Context()))
	f.forge("UPDATE postings SET amount = amount + 1 WHERE seq = (SELECT MAX(seq) FROM postings)")
	f.clock.add(tailEvery - time.Second)
	if f.ok(s.round(t.Context())); told != 0 {
		t.Error("the chain was checked in between")
	}
	f.clock.add(time.Second)
	if f.ok(s.round(t.Context())); told == 0 {
		t.Error("a break was not seen")
	}
}

// Excludes a receipt that does not say what was charged, one for what cost nothing,
// and one of somebody else's request.
func TestReceiptSaysWhatWasCharged(t *testing.T) {
	f := newChain(t)
	f.give(timmy.UserAccount(key(1)), 100*sat)
	id := strings.Repeat("ab", 32)
	f.accept(dm(id, key(1)))
	_, err := f.Receipt(t.Context(), timmy.RequestID(id))
	f.is(err, timmy.Conflict)
	j := f.start(quote(50*sat, 0))
	_, err = f.Finish(t.Context(), j, complete(20*sat, 0))
	f.ok(err)
	r, err := f.Receipt(t.Context(), timmy.RequestID(id))
	f.ok(err)
	var sum timmy.Msat
	for _, e := range r.Entries {
		sum += e.Amount
		if e.Place < 1 || len(e.Hash) != 64 {
			t.Errorf("entry %+v", e)
		}
	}
	if sum != 20*sat || r.Reply.Outcome.Cost.Charged != sum || r.Reply.Balance != 80*sat {
		t.Errorf("receipt %+v", r)
	}
	for prefix, want := range map[string]int{"abab": 1, id: 1, "ac": 0, "%": 0, "": 1, "ABAB": 0} {
		if ids, err := f.Find(t.Context(), key(1), prefix); err != nil || len(ids) != want {
			t.Errorf("%q: %v, %v", prefix, ids, err)
		}
	}
	if ids, _ := f.Find(t.Context(), key(2), id); len(ids) != 0 {
		t.Error("somebody else's")
	}
	_, err = f.Receipt(t.Context(), "unknown")
	f.is(err, timmy.NotFound)
}
