package tower

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

func (d *Desk) balance(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	bal, err := d.cfg.Records.Balance(ctx, timmy.UserAccount(j.From))
	if err != nil {
		return "", fmt.Errorf("reading a balance: %w", err)
	}
	standing, err := d.cfg.Records.Standing(ctx, j.From)
	if err != nil {
		return "", fmt.Errorf("reading a standing: %w", err)
	}
	standing.Key = j.From
	j.Standing = standing
	var b strings.Builder
	fmt.Fprintf(&b, "Balance: %s\n", sats(bal.Posted))
	if bal.Held > 0 {
		fmt.Fprintf(&b, "Reserved by running questions: %s\n", sats(bal.Held.CeilSat()))
	}
	if rate, err := d.cfg.Rates.Rate(ctx); err == nil && rate > 0 {
		n, err := d.freeToday(ctx, j, rate)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "Free left today: %s\n", count(n, "question", "questions"))
	}
	fmt.Fprintf(&b, "Tier: %s", TierOf(j.Standing, d.cfg.Now()))
	for _, also := range []answerer{(*Desk).sessions, (*Desk).unpaid} {
		text, err := also(d, ctx, j, nil)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	b.WriteString(d.demo())
	return b.String(), nil
}

// sessions are the HTTP sessions bound to the key. An id is a key to its session,
// so only its beginning is shown.
func (d *Desk) sessions(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	owned, err := d.cfg.Records.Owned(ctx, j.From, sessionsShown)
	if err != nil {
		return "", fmt.Errorf("reading sessions: %w", err)
	}
	var b strings.Builder
	for _, s := range owned {
		fmt.Fprintf(&b, "\nSession %s: %s, %s until %s", clip(s.ID, 8), sats(s.Balance), s.State, stamp(s.Expires))
	}
	return b.String(), nil
}

// unpaid is the newest invoice that waits, bare on its line, and how many others do.
func (d *Desk) unpaid(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	open, err := d.cfg.Records.Unpaid(ctx, timmy.UserAccount(j.From), unpaidShown)
	if err != nil {
		return "", fmt.Errorf("reading invoices: %w", err)
	}
	if len(open) == 0 {
		return "", nil
	}
	inv := open[0]
	text := fmt.Sprintf("\n\nAn invoice of %s waits for you, for %s more:\n\n%s", sats(inv.Amount), minutes(inv.Expires.Sub(d.cfg.Now())), inv.Bolt11)
	if n := len(open) - 1; n > 0 {
		text += fmt.Sprintf("\n\n%s open, too; you need not pay any of them.", count(n, "older one is", "older ones are"))
	}
	return text, nil
}

// movement is a line of /history money. What a request cost is several postings,
// and one movement.
type movement struct {
	at      time.Time
	in, out timmy.Msat
	why     string
}

// money lists what came in and what was charged.
func (d *Desk) money(ctx context.Context, j timmy.Job, n int) (string, error) {
	account := timmy.UserAccount(j.From)
	postings, err := d.cfg.Records.Postings(ctx, account, postingsPerCharge*n)
	if err != nil {
		return "", fmt.Errorf("reading postings: %w", err)
	}
	if len(postings) == 0 {
		return "No money has moved yet.", nil
	}
	moved := movements(account, postings)
	var b strings.Builder
	for _, m := range moved[:min(n, len(moved))] {
		sign, amount := "+", m.in
		if m.out > 0 {
			sign, amount = "-", m.out
		}
		fmt.Fprintf(&b, "%s  %s%s sats  %s\n", stamp(m.at), sign, decimal(int64(amount), int64(timmy.Sat)), m.why)
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

// movements sums up the postings of an account, newest first: those that say the
// same of the same request are one.
func movements(account timmy.Account, postings []timmy.Posting) (out []movement) {
	at := map[string]int{}
	for _, p := range postings {
		m := movement{at: time.UnixMilli(p.At), why: purpose(account, p)}
		if p.Destination == account {
			m.in = p.Amount
		} else {
			m.out = p.Amount
		}
		group := p.Key
		if id, ok := chargedFor(p.Key); ok && m.out > 0 {
			group, m.why = string(id), "charged for #req "+id.Short()
		}
		if i, known := at[group]; known {
			out[i].out += m.out
			continue
		}
		at[group] = len(out)
		out = append(out, m)
	}
	return out
}

// chargedFor is the request that a posting is part of the price of.
func chargedFor(key string) (timmy.RequestID, bool) {
	rest, ok := strings.CutPrefix(key, "finish:")
	id, _, _ := strings.Cut(rest, ":")
	return timmy.RequestID(id), ok && id != ""
}

func purpose(account timmy.Account, p timmy.Posting) string {
	switch {
	case p.Destination == account && p.Source == timmy.HouseLightning:
		return "paid in"
	case p.Destination == account:
		return "credited"
	case p.Destination == timmy.HouseLightning:
		return "paid out"
	case p.Destination == timmy.HouseFees:
		return "routing"
	case p.Destination == timmy.HouseDust:
		return "rounding"
	}
	return "charged"
}
