package ledger

import (
	"testing"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
)

// Excludes: a charge of which a part was booked before, and the rest again or not.
func TestAChargeIsBookedWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		known []string
		want  timmy.Code
	}{
		"none of it is known": {nil, ""},
		"a part is":           {[]string{"finish:a:user:pool"}, timmy.Internal},
		"all of it is":        {[]string{"finish:a:user:dust", "finish:a:user:pool", "finish:a:user:revenue"}, timmy.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFix(t)
			ctx, k := t.Context(), key(1)
			f.give(timmy.UserAccount(k), 1000*sat)
			f.accept(dm("a", k))
			j := f.start(quote(300*sat, 0))
			for _, key := range c.known {
				f.ok(f.write(ctx, failpoint.LedgerFund, func(t *txn) error {
					return t.post(key, timmy.HouseOperator, timmy.HouseRevenue, 1)
				}))
			}
			o := complete(200*sat, 0)
			o.Cost.Dust = 400
			_, err := f.Finish(ctx, j, o)
			if timmy.CodeOf(err) != c.want {
				t.Errorf("finish: %v", err)
			}
			left, held := 1000*sat, 300*sat
			if c.want == "" {
				left, held = 800*sat, 0
			}
			if b, err := f.Balance(ctx, timmy.UserAccount(k)); err != nil || b.Posted != left || b.Held != held {
				t.Errorf("the account has %+v, %v", b, err)
			}
			if c.known == nil {
				f.verify() // it calls the others a drift, which they are
			}
		})
	}
}

// Excludes: a cost whose parts do not add up, whoever pays how much of it.
func TestAChargeIsItsPostings(t *testing.T) {
	for session := range timmy.Msat(4) {
		for user := range timmy.Msat(4) {
			for absorbed := range timmy.Msat(4) {
				for dust := range session + user + absorbed + 1 {
					payers := []leg{{"session", "session:s", session}, {"user", "user:u", user}}
					got := map[timmy.Account]timmy.Msat{}
					keys := map[string]bool{}
					for _, e := range charges("r", payers, absorbed, dust, 500_000) {
						got[e.from] -= e.amount
						got[e.to] += e.amount
						keys[e.key] = true
						if e.amount <= 0 {
							t.Fatalf("a posting of %d", e.amount)
						}
					}
					share := (session + user - min(dust, session+user)) / 2
					want := map[timmy.Account]timmy.Msat{
						"session:s": -session, "user:u": -user, timmy.HousePool: share - absorbed, timmy.HouseDust: dust,
						timmy.HouseRevenue: session + user + absorbed - share - dust,
					}
					for a, n := range want {
						if got[a] != n {
							t.Fatalf("%d, %d and %d with %d of dust: %s moves by %d, want %d", session, user, absorbed, dust, a, got[a], n)
						}
					}
				}
			}
		}
	}
}
