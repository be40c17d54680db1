package tower

import (
	"context"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// fakeAdmissions charges the fake book once for each key.
type fakeAdmissions struct {
	book *fakeBook
	in   map[timmy.PubKey]bool
}

func (f *fakeAdmissions) Admit(_ context.Context, k timmy.PubKey, price timmy.Msat) (bool, error) {
	if f.in[k] {
		return false, nil
	}
	a := timmy.UserAccount(k)
	if f.book.balance(a).Posted < price {
		return false, timmy.Errorf(timmy.Unpaid, "short")
	}
	f.in[k] = true
	f.book.mu.Lock()
	defer f.book.mu.Unlock()
	f.book.move(a, -price)
	return true, nil
}

// Excludes a /join that charges twice, and one that leaves a key without the money
// without a way to pay.
func TestJoin(t *testing.T) {
	admissions := &fakeAdmissions{in: map[timmy.PubKey]bool{}}
	runRig(t, func(t *testing.T, r *rig) {
		admissions.book = r.book
		join := func(id, want string) {
			t.Helper()
			submit(t, r, dm(id, "/join"))
			if o := answer(t, r, timmy.RequestID(id)).Outcome; o.State != timmy.StateComplete || !strings.Contains(o.Text, want) || o.Cost != (timmy.Cost{}) {
				t.Errorf("%s: %+v, want %q", id, o, want)
			}
		}
		join("poor", "costs 500 sats, once. Pay this, and it is open to you at once:\n\nlnbcrt1\n\n")
		want := AdmissionTopUp(alice, 500*timmy.Sat, "Timmy")
		if top := r.book.only(t).top; top.Account != want.Account || top.Purpose != want.Purpose || top.Amount != want.Amount || top.Memo != want.Memo {
			t.Errorf("invoice for %+v, want %+v", top, want)
		}
		r.book.set(timmy.UserAccount(alice), 800*timmy.Sat)
		join("rich", "Welcome! 500 sats were taken from your balance")
		join("twice", "already. You were not charged")
		if b := r.book.balance(timmy.UserAccount(alice)); b.Posted != 300*timmy.Sat {
			t.Errorf("balance %+v", b)
		}
	}, func(c *DeskConfig) {
		c.Admissions, c.Texts.Admission = admissions, 500*timmy.Sat
	})
	runRig(t, func(t *testing.T, r *rig) {
		submit(t, r, dm("free", "/join"))
		if o := answer(t, r, "free").Outcome; !strings.Contains(o.Text, "sells no admission") {
			t.Errorf("%+v", o)
		}
	})
}
