package ledger

import (
	"testing"

	"github.com/timmy-tower/timmy"
)

// Excludes: a payment without the proof that its wallet owes, credited or
// forgotten: it is quarantined, also where it is reported before its invoice is
// known, and credited once the proof is shown (B3).
func TestAPaymentWithoutProofIsQuarantined(t *testing.T) {
	f := newFix(t)
	a := timmy.UserAccount(key(1))
	const times = 20
	for range times {
		p := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 10 * sat}, timmy.Lease{})
		p.Preimage, p.Unproven = [32]byte{}, true
		for range 2 {
			if c, err := f.Credit(t.Context(), p, ""); err != nil || c != timmy.CreditRefused {
				t.Fatalf("unproven: %s, %v", c, err)
			}
		}
	}
	f.posted(a, 0)
	f.posted(timmy.HouseSuspense, times*10*sat)
	p := f.invoice(timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: 10 * sat}, timmy.Lease{})
	proven := p
	p.Preimage, p.Unproven = [32]byte{}, true
	if c, err := f.Credit(t.Context(), p, ""); err != nil || c != timmy.CreditRefused {
		t.Fatalf("unproven: %s, %v", c, err)
	}
	if c, err := f.Credit(t.Context(), proven, ""); err != nil || c != timmy.CreditApplied {
		t.Fatalf("proven afterwards: %s, %v", c, err)
	}
	f.posted(a, 10*sat)
	f.posted(timmy.HouseSuspense, times*10*sat)
	f.verify()
}

// Excludes: a place in one wallet's stream that is taken for one in another's, which
// would skip what was paid there; and one that is lost while another is used.
func TestEachWalletHasACursorOfItsOwn(t *testing.T) {
	f := newFix(t)
	for _, step := range []struct{ wallet, want, next string }{
		{"lnd one", "", "700"}, {"nwc two", "", "1790000000000"}, {"lnd one", "700", "701"}, {"nwc two", "1790000000000", ""}, {"lnd one", "701", ""},
	} {
		f.o.Wallet = step.wallet
		c, err := f.Cursor(t.Context())
		if err != nil || string(c) != step.want {
			t.Fatalf("%s: %q, %v; want %q", step.wallet, c, err, step.want)
		}
		if _, err := f.Credit(t.Context(), timmy.Payment{}, timmy.Cursor(step.next)); err != nil {
			t.Fatal(err)
		}
	}
}
