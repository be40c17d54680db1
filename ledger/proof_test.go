package ledger

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/timmy-tower/timmy"
)

// Excludes an account that cannot prove its balance, and a proof that still leads
// to the root after a balance, a sum or the account in it was changed.
func TestProofHoldsForEveryAccountAndNoOtherBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []owed
		var sum timmy.Msat
		for i := range rapid.IntRange(1, 70).Draw(t, "accounts") {
			o := owed{timmy.Account(fmt.Sprint("user:", i)), timmy.Msat(rapid.Int64Range(1, 1e15).Draw(t, "balance"))}
			list, sum = append(list, o), sum+o.Balance
		}
		tr := newTree([32]byte{7}, list)
		if tr.root().Sum != sum {
			t.Fatalf("root has %d, want %d", tr.root().Sum, sum)
		}
		leads := func(p Proof) bool { n, err := p.Top(); return err == nil && n == tr.root() }
		for _, o := range list {
			if p, ok := tr.prove(o.Account); !ok || p.Balance != o.Balance || !leads(p) {
				t.Fatalf("%s: %v, %+v", o.Account, ok, p)
			}
		}
		p, _ := tr.prove(list[rapid.IntRange(0, len(list)-1).Draw(t, "whose")].Account)
		delta := timmy.Msat(rapid.Int64Range(1, 1000).Draw(t, "delta"))
		i := rapid.IntRange(0, len(p.Siblings)-1).Draw(t, "sibling")
		more := p
		more.Balance += delta
		moved := p
		moved.Siblings = append([]Sibling(nil), p.Siblings...)
		moved.Siblings[i].Sum += delta
		evened := moved
		evened.Balance -= delta
		other := p
		other.Account += "x"
		for _, bad := range []Proof{more, moved, evened, other} {
			if leads(bad) {
				t.Fatalf("believed: %+v", bad)
			}
		}
	})
}

// The vector of docs/money.md: others compute the same.
func TestRootVector(t *testing.T) {
	var salt [32]byte
	for i := range salt {
		salt[i] = byte(i)
	}
	n := newTree(salt, []owed{
		{timmy.Account("user:" + strings.Repeat("a", 64)), 1000},
		{timmy.Account("user:" + strings.Repeat("b", 64)), 2500},
		{"session:00000000-0000-4000-8000-000000000000", 7},
	}).root()
	if got, want := fmt.Sprintf("%s %d", hex.EncodeToString(n.Hash[:]), n.Sum), vector(t, "root"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever a file holds, reading it does not panic, and nothing overflows.
func FuzzProof(f *testing.F) {
	p, _ := newTree([32]byte{}, []owed{{"user:a", 5}}).prove("user:a")
	p.Root = json.RawMessage("{}")
	good, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `"sum":0`, `"sum":9223372036854775807`, 1)))
	f.Add([]byte(`{"siblings":[{"side":"up"}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParseProof(raw)
		if err != nil {
			return
		}
		if n, err := p.Top(); err == nil && (n.Sum < p.Balance || n.Sum > timmy.MaxMsat) {
			t.Errorf("a sum of %d over a balance of %d", n.Sum, p.Balance)
		}
	})
}
