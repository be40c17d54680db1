package tower

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

func (d *Desk) help(ctx context.Context, j timmy.Job, args []string) (string, error) {
	if len(args) > 0 {
		name := strings.TrimPrefix(args[0], "/")
		for _, c := range commands() {
			if c.name == name {
				return c.usage + ": " + c.about, nil
			}
		}
		return unknown(name), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "I'm %s, an AI you pay per question in sats. Just ask.", d.cfg.Texts.name())
	if rate, err := d.cfg.Rates.Rate(ctx); err == nil {
		fmt.Fprintf(&b, " A typical question costs %s.", sats(d.cfg.Prices.Typical(rate)))
		if n, err := d.freeToday(ctx, j, rate); err == nil && n > 0 {
			fmt.Fprintf(&b, " You have %s today.", count(n, "free question", "free questions"))
		}
	}
	b.WriteString("\n\n")
	for _, c := range commands() {
		if c.name != "refund" || d.cfg.Payouts != nil {
			fmt.Fprintf(&b, "%s: %s\n", c.usage, c.about)
		}
	}
	b.WriteString("\nCommands are free. Your questions and answers are kept until you send /forget; the operator of this tower can read them.")
	b.WriteString(d.demo())
	return b.String(), nil
}

func (d *Desk) demo() string {
	if d.cfg.Texts.Demo {
		return "\n\nThis tower is a demo: its sats are not real."
	}
	return ""
}

// Questions as /price shows them, in tokens.
type example struct {
	name    string
	in, out int64
}

func (d *Desk) price(ctx context.Context, _ timmy.Job, _ []string) (string, error) {
	rate, err := d.cfg.Rates.Rate(ctx)
	if err != nil || rate <= 0 {
		return "The bitcoin price is not known right now, so I cannot say what a question costs.", nil
	}
	p := d.cfg.Prices
	var b strings.Builder
	for _, e := range []example{{"A short question", typicalInput, typicalOutput / 4}, {"A typical one", typicalInput, typicalOutput}, {"A long one", 4 * typicalInput, p.OutputMax}} {
		c, _ := p.Price(timmy.Usage{In: e.in, Out: typicalEval}, timmy.Usage{In: e.in, Out: min(e.out, p.OutputMax)}, rate)
		fmt.Fprintf(&b, "%s: about %s\n", e.name, sats(c.Total))
	}
	fmt.Fprintf(&b, "\nPer million tokens: %s in, %s out; checking a question first: %s in, %s out; plus %s per question; plus %s %%.\n",
		usd(p.WorkIn), usd(p.WorkOut), usd(p.EvalIn), usd(p.EvalOut), usd(p.Infra), decimal(p.Margin, millionth/100))
	fmt.Fprintf(&b, "One bitcoin: %s. A refused question costs its check alone; a failure of ours costs nothing.", usd(int64(rate)))
	b.WriteString(d.demo())
	return b.String(), nil
}

// usd writes micro-USD.
func usd(micro int64) string { return decimal(micro, millionth) + " USD" }

// decimal writes n/unit, unit a power of ten, without trailing zeros.
func decimal(n, unit int64) string {
	s := strconv.FormatInt(n/unit, 10)
	rest := n % unit
	if rest == 0 {
		return s
	}
	digits := len(strconv.FormatInt(unit, 10)) - 1
	return s + "." + strings.TrimRight(fmt.Sprintf("%0*d", digits, rest), "0")
}

// freeToday is how many typical questions the pool still pays a key today.
func (d *Desk) freeToday(ctx context.Context, j timmy.Job, rate timmy.Rate) (int, error) {
	pool, err := d.cfg.Records.Balance(ctx, timmy.HousePool)
	if err != nil {
		return 0, fmt.Errorf("reading the pool: %w", err)
	}
	typical, now := d.cfg.Prices.Typical(rate), d.cfg.Now()
	if typical <= 0 {
		return 0, nil
	}
	left := FreeLeft(j.Standing, TierOf(j.Standing, now), typical, now)
	return int(max(0, min(left, pool.Available())) / typical), nil
}

// FreeForNew is how many typical questions the pool pays a new key today; 0 when
// that cannot be told.
func (d *Desk) FreeForNew() int {
	ctx, cancel := context.WithTimeout(context.Background(), bookTime)
	defer cancel()
	rate, err := d.cfg.Rates.Rate(ctx)
	if err != nil {
		return 0
	}
	n, err := d.freeToday(ctx, timmy.Job{Standing: timmy.Standing{Key: timmy.PubKey{1}}}, rate)
	if err != nil {
		return 0
	}
	return n
}

func (d *Desk) topUp(ctx context.Context, j timmy.Job, args []string) (string, error) {
	if d.cfg.Till == nil {
		return "", timmy.Errorf(timmy.Unavailable, "This tower takes no money.")
	}
	amount, err := d.topUpAmount(args)
	if err != nil {
		return "", err
	}
	inv, err := d.topUpInvoice(ctx, timmy.UserAccount(j.From), amount)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Pay this to add %s to your balance:\n\n%s\n\n", sats(inv.Amount), inv.Bolt11)
	if page := d.cfg.Texts.PayPage; page != nil {
		fmt.Fprintf(&b, "Page with a QR code: %s\n", page(inv))
	}
	if a := d.cfg.Texts.Address; a != "" {
		fmt.Fprintf(&b, "Or zap %s.\n", a)
	}
	fmt.Fprintf(&b, "It can be paid for %s.", minutes(inv.Expires.Sub(d.cfg.Now())))
	b.WriteString(d.demo())
	return b.String(), nil
}

// TopUp makes the invoice of /topup for an account, of the usual amount.
// Unavailable: the tower takes no money, or its wallet is away.
func (d *Desk) TopUp(ctx context.Context, a timmy.Account) (timmy.Invoice, error) {
	if d.cfg.Till == nil {
		return timmy.Invoice{}, timmy.Errorf(timmy.Unavailable, "This tower takes no money.")
	}
	amount, err := d.topUpAmount(nil)
	if err != nil {
		return timmy.Invoice{}, err
	}
	return d.topUpInvoice(ctx, a, amount)
}

func (d *Desk) topUpInvoice(ctx context.Context, a timmy.Account, amount timmy.Msat) (timmy.Invoice, error) {
	return d.cfg.Till.Invoice(ctx, timmy.TopUp{Account: a, Purpose: timmy.ForPay, Amount: amount, Memo: d.cfg.Texts.name() + " top-up"})
}

func (d *Desk) claimCode(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	code, err := d.cfg.Records.ClaimCode(ctx, j.From)
	if err != nil {
		return "", err
	}
	to := "my lightning address"
	if a := d.cfg.Texts.Address; a != "" {
		to = a
	}
	return fmt.Sprintf("Your claim code:\n\n%s\n\nWrite it into the comment of an anonymous zap, or of any payment to %s, and the sats are yours. "+
		"It names your balance without saying who you are, and stays the same.", code, to) + d.demo(), nil
}

func (d *Desk) topUpAmount(args []string) (timmy.Msat, error) {
	least, most := max(timmy.Sat, d.cfg.Texts.MinTopUp), d.cfg.Texts.MaxTopUp
	if most < least {
		most = timmy.MaxMsat
	}
	if len(args) == 0 {
		return max(least, min(timmy.FromSats(topUpDefaultSats), most)), nil
	}
	n, err := strconv.ParseInt(strings.NewReplacer(",", "", "_", "", "sats", "", "sat", "").Replace(args[0]), 10, 64)
	if amount := timmy.FromSats(n); err == nil && amount >= least && amount <= most {
		return amount, nil
	}
	return 0, timmy.Errorf(timmy.Invalid, "Say how many sats, a whole number from %d to %d, as in: /topup %d",
		least.CeilSat().Sats(), most.Sats(), max(least, min(timmy.FromSats(topUpDefaultSats), most)).Sats())
}

func (d *Desk) history(ctx context.Context, j timmy.Job, args []string) (string, error) {
	n := historyDefault
	if len(args) > 0 && args[0] == "money" {
		return d.money(ctx, j, historyMax)
	}
	if len(args) > 0 {
		v, err := strconv.Atoi(args[0])
		if err != nil || v < 1 {
			return "Say how many, as in: /history 5. Or: /history money", nil
		}
		n = min(v, historyMax)
	}
	replies, err := d.cfg.Records.Requests(ctx, j.From, n)
	if err != nil {
		return "", fmt.Errorf("reading requests: %w", err)
	}
	if len(replies) == 0 {
		return "You have not asked anything yet.", nil
	}
	var b strings.Builder
	for _, r := range replies {
		fmt.Fprintf(&b, "%s  #req %s  %s  %s", stamp(r.At), r.Request.Short(), r.Outcome.State, sats(r.Outcome.Cost.Charged))
		if free := r.Outcome.Cost.Absorbed; free > 0 {
			fmt.Fprintf(&b, " (%s free)", sats(free))
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") }
