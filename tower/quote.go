package tower

import (
	"math/big"
	"time"

	"github.com/timmy-tower/timmy"
)

// What a call is assumed to use. The worst case reserves generously, for what is
// not used is released; the floor is the least that a question needs.
const (
	systemTokensMax = 2000 // our own instructions and the wrapping of messages, worst case
	systemTokens    = 800  // the same, as it is
	turnTokens      = 16   // what a provider adds per message
	evalOutputMax   = 1000 // a verdict, worst case
	evalOutput      = 300  // a verdict, as it is limited
	outputMin       = 64   // an answer shorter than this is none

	typicalInput  = 1200 // a typical question with our instructions
	typicalOutput = 400  // a typical answer
	typicalEval   = 80   // a typical verdict
)

// Worst is the most a job may cost: every byte a token, our instructions and the
// verdict at their longest, and an answer of OutputMax.
func (p Prices) Worst(j timmy.Job, rate timmy.Rate) timmy.Msat {
	in := systemTokensMax + inputTokens(j)
	c, _ := p.Price(timmy.Usage{In: in, Out: evalOutputMax}, timmy.Usage{In: in, Out: p.OutputMax}, rate)
	return c.Total
}

// Floor is the least hold with which a job is run: the evaluation, the input at a
// token a byte, and a minimum output.
func (p Prices) Floor(j timmy.Job, rate timmy.Rate) timmy.Msat {
	in := systemTokens + inputTokens(j)
	c, _ := p.Price(timmy.Usage{In: in, Out: evalOutput}, timmy.Usage{In: in, Out: min(outputMin, p.OutputMax)}, rate)
	return min(c.Total, p.Worst(j, rate))
}

// Typical is what a typical question costs.
func (p Prices) Typical(rate timmy.Rate) timmy.Msat {
	c, _ := p.Price(timmy.Usage{In: typicalInput, Out: typicalEval},
		timmy.Usage{In: typicalInput, Out: min(typicalOutput, p.OutputMax)}, rate)
	return c.Total
}

// inputTokens is a text's most tokens: one a byte, which no tokenizer exceeds.
func inputTokens(j timmy.Job) int64 {
	n := int64(len(j.Text)) + turnTokens
	for _, t := range j.History {
		n += max(int64(len(t.Text)), t.Tokens) + turnTokens
	}
	return n
}

// Quote says what to reserve for a job: the worst case, or as much of it as there
// is, in whole sats, the free pool first. An asker's own limit caps it.
//
// Unpaid: there is less than [Prices.Floor]; the message says the sats. Invalid:
// the asker's own limit is below the floor. Unavailable: no rate.
func (p Prices) Quote(j timmy.Job, rate timmy.Rate, now time.Time) (timmy.Quote, error) {
	if j.Command {
		return timmy.Quote{}, nil
	}
	if rate <= 0 {
		return timmy.Quote{}, timmy.Errorf(timmy.Unavailable, "the bitcoin price is not known right now")
	}
	worst, floor := p.Worst(j, rate), p.Floor(j, rate)
	if j.PriceMax > 0 {
		if wholeSats(j.PriceMax) < floor {
			return timmy.Quote{}, timmy.Errorf(timmy.Invalid, "That costs at least %d sats, above your limit of %d sats.",
				floor.Sats(), j.PriceMax.Sats())
		}
		worst = min(worst, wholeSats(j.PriceMax))
	}
	var q timmy.Quote
	q.Pool = p.subsidy(j, worst, rate, now)
	q.Payer = min(worst-q.Pool, wholeSats(j.PayerMax))
	if q.Total() < floor {
		return timmy.Quote{}, timmy.Errorf(timmy.Unpaid, "That will cost at most %d sats (you have %d).",
			worst.Sats(), max(0, j.PayerMax).Sats())
	}
	return q, nil
}

func (p Prices) subsidy(j timmy.Job, worst timmy.Msat, rate timmy.Rate, now time.Time) timmy.Msat {
	return Subsidy(Grant{
		Standing: j.Standing, Tier: TierOf(j.Standing, now),
		Pool: j.PoolMax, Worst: worst, Typical: p.Typical(rate),
	}, now)
}

// Shortfall is what an asker who was answered Unpaid lacks for the worst case: so
// much is asked for, or else the answer would be cut short, or the next change of
// the bitcoin price would leave it unpaid again.
func (p Prices) Shortfall(j timmy.Job, rate timmy.Rate, now time.Time) timmy.Msat {
	worst := p.Worst(j, rate)
	if j.PriceMax > 0 {
		worst = min(worst, wholeSats(j.PriceMax))
	}
	return max(timmy.Sat, worst-p.subsidy(j, worst, rate, now)-wholeSats(j.PayerMax))
}

// Output is how many tokens the answer may have, so that the cost stays within
// j.Hold. It is never above OutputMax.
func (p Prices) Output(j timmy.Job, rate timmy.Rate) int64 {
	hold := j.Hold.Total()
	if p.WorkOut <= 0 || hold >= p.Worst(j, rate) {
		return p.OutputMax
	}
	in := systemTokens + inputTokens(j)
	left := p.affords(hold, rate)
	left.Sub(left, p.infra())
	left.Sub(left, tokens(in, p.EvalIn)).Sub(left, tokens(evalOutput, p.EvalOut))
	left.Sub(left, tokens(in, p.WorkIn))
	left.Quo(left, big.NewInt(p.WorkOut))
	least := min(outputMin, p.OutputMax)
	if left.Sign() < 0 || !left.IsInt64() {
		return least
	}
	return max(least, min(left.Int64(), p.OutputMax))
}
