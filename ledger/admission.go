package ledger

import (
	"context"
	"errors"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// admissionKey is the key of the one posting that admits a key to the relay. The
// posting is all there is to remember: who paid, how much, and that it is once.
func admissionKey(k timmy.PubKey) string { return "admission:" + k.String() }

// Admit moves the price of the relay's admission from a key's account to the
// house's revenue, at most once in the life of the books. fresh is false if the
// key was admitted before, at whatever price: nothing moves then. Unpaid: the
// account has less than that available.
func (l *Ledger) Admit(ctx context.Context, k timmy.PubKey, price timmy.Msat) (fresh bool, err error) {
	if k.IsZero() || price <= 0 || price > timmy.MaxMsat {
		return false, timmy.Errorf(timmy.Invalid, "admitting %s for %s makes no sense", k, price)
	}
	err = l.write(ctx, failpoint.LedgerAdmit, func(t *txn) error {
		fresh, err = t.enrol(timmy.UserAccount(k), price)
		return err
	})
	if err != nil {
		return false, err
	}
	return fresh, nil
}

// enrol is Admit within a transaction; of an account that is no key's it does
// nothing. The key is looked for first, for a posting that is refused rolls the
// whole transaction back.
func (t *txn) enrol(a timmy.Account, price timmy.Msat) (fresh bool, err error) {
	k, ok := a.User()
	if !ok {
		return false, nil
	}
	if known, err := admitted(t.Tx, k); err != nil || known {
		return false, err
	}
	err = t.post(admissionKey(k), a, timmy.HouseRevenue, price)
	if errors.Is(err, errPosted) {
		return false, nil
	}
	return err == nil, err
}

// admissionOf says how often a key has paid its admission.
const admissionOf = `SELECT COUNT(*) FROM postings WHERE key = ? AND ` + otherKeys

func admitted(q *db.Tx, k timmy.PubKey) (bool, error) {
	var n int
	err := q.Get(&n, admissionOf, admissionKey(k))
	return n > 0, err
}

// Admitted reports whether a key has paid the relay's admission.
func (l *Ledger) Admitted(ctx context.Context, k timmy.PubKey) (ok bool, err error) {
	err = l.read(ctx, func(q *db.Tx) error { ok, err = admitted(q, k); return err })
	return ok, err
}
