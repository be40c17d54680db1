package nip

import (
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

func booksKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey([32]byte{31: 7})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func receipt() ChargeReceipt {
	return NewReceipt(timmy.Reply{
		Request: "ab12", Payer: "user:x", Balance: 80_000, At: time.Unix(1_700_000_000, 0),
		Outcome: timmy.Outcome{State: timmy.StateComplete, Cost: timmy.Cost{Eval: 1000, Work: 19_000, Total: 20_000, Charged: 20_000}},
	}, []ReceiptPosting{{Key: "finish:ab12:user:revenue", Amount: 20_000, Place: 3, Hash: strings.Repeat("0", 64)}})
}

// Excludes a receipt that is believed though its sums are wrong, or though somebody
// changed it after it was signed.
func TestReceiptIsCheckedToTheLastSum(t *testing.T) {
	k := booksKey(t)
	ev, err := SignReceipt(k, receipt())
	if err != nil {
		t.Fatal(err)
	}
	got, by, err := ParseReceipt([]byte(ev.String()))
	if err != nil || by != k.Public() || got.Charged != 20_000 {
		t.Fatalf("%+v, %v", got, err)
	}
	if again, _ := SignReceipt(k, receipt()); again.ID != ev.ID {
		t.Error("the same receipt under two ids")
	}
	if _, _, err := ParseReceipt([]byte(strings.Replace(ev.String(), "20000", "10000", 1))); err == nil {
		t.Error("changed, and believed")
	}
	for name, spoil := range map[string]func(*ChargeReceipt){
		"charged": func(r *ChargeReceipt) { r.Charged -= 1000 },
		"eval":    func(r *ChargeReceipt) { r.Eval++ },
		"posting": func(r *ChargeReceipt) { r.Postings[0].Amount++ },
		"other":   func(r *ChargeReceipt) { r.Postings[0].Key = "finish:ab13:user:revenue" },
		"place":   func(r *ChargeReceipt) { r.Postings[0].Place = 0 },
		"dust":    func(r *ChargeReceipt) { r.Dust = 20_001 },
		"huge":    func(r *ChargeReceipt) { r.Eval, r.Work = 1<<62, -(1 << 62) },
		"type":    func(r *ChargeReceipt) { r.Type = "x" },
	} {
		r := receipt()
		spoil(&r)
		ev, err := SignReceipt(k, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ParseReceipt([]byte(ev.String())); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// Excludes a root that reads differently than it was signed.
func TestRootIsReadAsItWasSigned(t *testing.T) {
	k, want := booksKey(t), Root{"2026-11-24", [32]byte{1}, 5_000, 9, [32]byte{2}}
	ev, err := SignRoot(k, want, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, by, err := ParseRoot([]byte(ev.String()))
	if err != nil || got != want || by != k.Public() {
		t.Fatalf("%+v, %v", got, err)
	}
	ev, _ = SignReceipt(k, receipt())
	if _, _, err := ParseRoot([]byte(ev.String())); err == nil {
		t.Error("a receipt passed as a root")
	}
}

// A file may hold anything: nothing in it may end in a panic.
func FuzzBooks(f *testing.F) {
	k := booksKey(f)
	root, _ := SignRoot(k, Root{Day: "2026-11-24"}, time.Unix(1, 0))
	paper, _ := SignReceipt(k, receipt())
	f.Add([]byte(root.String()))
	f.Add([]byte(paper.String()))
	f.Add([]byte(`{"tags":[["d"]]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, _, err := ParseReceipt(raw); err == nil && r.Charged > r.Total {
			t.Errorf("%+v", r)
		}
		if r, _, err := ParseRoot(raw); err == nil && r.Sum < 0 {
			t.Errorf("%+v", r)
		}
	})
}
