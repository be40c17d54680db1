package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// newChain is newFix with the chain's tables: where the migrations of the dialect
// do not make them, the file for SQLite does, whose text is for both.
func newChain(t *testing.T) *fix {
	t.Helper()
	f := newFix(t)
	text, err := migrations.ReadFile("migrations/sqlite/00002_chain.sql")
	f.ok(err)
	f.ok(f.write(t.Context(), "tampering", func(t *txn) error {
		if t.Dialect() == db.SQLite {
			return nil
		}
		for _, statement := range strings.Split(regexp.MustCompile("--.*").ReplaceAllString(string(text), ""), ";") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := t.Exec(strings.Replace(statement, "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)); err != nil {
				return err
			}
		}
		return nil
	}))
	return f
}

// sealAll seals until nothing is left.
func (f *fix) sealAll() (n int) {
	f.t.Helper()
	for {
		m, err := f.Seal(f.t.Context())
		f.ok(err)
		if n += m; m == 0 {
			return n
		}
	}
}

func (f *fix) breaks(check func(context.Context) ([]Break, error)) []Break {
	f.t.Helper()
	bs, err := check(f.t.Context())
	f.ok(err)
	return bs
}

// forge changes the books behind the back of their triggers.
func (f *fix) forge(statement string) {
	f.t.Helper()
	f.ok(f.write(f.t.Context(), "tampering", func(t *txn) error {
		for _, name := range []string{"postings_no_update", "postings_no_delete"} {
			drop := "DROP TRIGGER IF EXISTS " + name
			if t.Dialect() == db.Postgres {
				drop += " ON postings"
			}
			if _, err := t.Exec(drop); err != nil {
				return err
			}
		}
		_, err := t.Exec(statement)
		return err
	}))
}

// Excludes a posting that is never sealed, or twice.
func TestEveryPostingGetsItsPlaceOnce(t *testing.T) {
	f := newChain(t)
	for n := range 2*sealBatch + 10 {
		f.ok(f.write(t.Context(), "tampering", func(t *txn) error {
			return t.post(fmt.Sprint("k", n), timmy.HouseOperator, timmy.HousePool, sat)
		}))
	}
	if n := f.sealAll(); n != 2*sealBatch+10 {
		t.Errorf("sealed %d", n)
	}
	if n := f.sealAll(); n != 0 {
		t.Errorf("sealed %d again", n)
	}
	if bs := f.breaks(f.VerifyChain); len(bs) != 0 {
		t.Error(bs)
	}
}

// Excludes an old posting that is changed or removed without anybody noticing:
// the balances may be made to fit, the chain may not.
func TestTamperingWithAnOldPostingIsNamed(t *testing.T) {
	for _, forgery := range []string{
		"UPDATE postings SET amount = amount + 1 WHERE key = 'k1'",
		"UPDATE postings SET destination = 'user:other' WHERE key = 'k1'",
		"UPDATE postings SET at = at - 1 WHERE key = 'k1'",
		"DELETE FROM postings WHERE key = 'k1'",
	} {
		f := newChain(t)
		for n := range 4 {
			f.ok(f.write(t.Context(), "tampering", func(t *txn) error {
				return t.post(fmt.Sprint("k", n), timmy.HouseOperator, timmy.HousePool, sat)
			}))
		}
		f.sealAll()
		f.forge(forgery)
		bs := f.breaks(f.VerifyChain)
		if len(bs) != 1 || bs[0].Place != 2 || bs[0].Posting != 2 {
			t.Errorf("%s: %v", forgery, bs)
		}
	}
}

// Excludes a start that reads the whole life of the books, and one that misses
// what happened since the last.
func TestStartChecksFromTheLastCheckpoint(t *testing.T) {
	f := newChain(t)
	f.give(timmy.UserAccount(key(1)), 100*sat)
	f.sealAll()
	if bs := f.breaks(f.VerifyTail); len(bs) != 0 {
		t.Fatal(bs)
	}
	f.give(timmy.UserAccount(key(1)), 200*sat)
	f.sealAll()
	f.forge("UPDATE postings SET amount = amount + 1 WHERE seq = 1")
	if bs := f.breaks(f.VerifyTail); len(bs) != 0 {
		t.Errorf("the tail alone: %v", bs)
	}
	f.forge("UPDATE postings SET amount = amount + 1 WHERE seq = 2")
	f.forge("UPDATE chain SET hash = '" + strings.Repeat("0", 64) + "' WHERE place = 2")
	if bs := f.breaks(f.VerifyTail); len(bs) == 0 {
		t.Error("a checkpoint that was changed was believed")
	}
	if bs := f.breaks(f.VerifyChain); len(bs) != 2 {
		t.Errorf("in full: %v", bs)
	}
}

// The vector of docs/money.md: others compute the same.
func TestChainVector(t *testing.T) {
	first := link(Link{}, timmy.Posting{Seq: 1, Key: "fund:pool", Source: timmy.HouseOperator, Destination: timmy.HousePool, Amount: 1000, At: 1_700_000_000_000})
	second := link(first, timmy.Posting{Seq: 3, Key: "settle:ü", Source: timmy.HouseLightning, Destination: "user:a", Amount: 1, At: 0})
	got := hex.EncodeToString(first.Hash[:]) + " " + hex.EncodeToString(second.Hash[:])
	if want := vector(t, "chain"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
