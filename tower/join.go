package tower

import (
	"context"
	"fmt"
	"strings"

	"github.com/timmy-tower/timmy"
)

// Admissions sells the right to write on the relay.
type Admissions interface {
	// Admit charges a key's account once; fresh is false if it was admitted before.
	// Unpaid: the account has less than that.
	Admit(ctx context.Context, k timmy.PubKey, price timmy.Msat) (fresh bool, err error)
}

// AdmissionTopUp is what the invoice for a key's admission is made from. When it is
// paid the book charges the admission by itself.
func AdmissionTopUp(k timmy.PubKey, price timmy.Msat, name string) timmy.TopUp {
	return timmy.TopUp{Account: timmy.UserAccount(k), Purpose: timmy.ForEntry, Amount: price, Memo: name + " relay admission"}
}

// join is /join: the admission from the balance, or an invoice for it.
func (d *Desk) join(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	price := d.cfg.Texts.Admission
	if price <= 0 || d.cfg.Admissions == nil {
		return "My relay sells no admission: there is nothing to pay.", nil
	}
	fresh, err := d.cfg.Admissions.Admit(ctx, j.From, price)
	switch {
	case err == nil && fresh:
		return fmt.Sprintf("Welcome! %s were taken from your balance, and from now on you may write on my relay.", sats(price)) + d.demo(), nil
	case err == nil:
		return "You may write on my relay already. You were not charged.", nil
	case timmy.CodeOf(err) != timmy.Unpaid || d.cfg.Till == nil:
		return "", err
	}
	inv, err := d.cfg.Till.Invoice(ctx, AdmissionTopUp(j.From, price, d.cfg.Texts.name()))
	if err != nil && (timmy.CodeOf(err) != timmy.Conflict || inv.Bolt11 == "") {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Writing on my relay costs %s, once. Pay this, and it is open to you at once:\n\n%s\n\n", sats(price), inv.Bolt11)
	if page := d.cfg.Texts.PayPage; page != nil {
		fmt.Fprintf(&b, "Page with a QR code: %s\n", page(inv))
	}
	fmt.Fprintf(&b, "It can be paid for %s.", minutes(inv.Expires.Sub(d.cfg.Now())))
	b.WriteString(d.demo())
	return b.String(), nil
}
