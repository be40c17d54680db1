package tower

import (
	"math/big"

	"github.com/timmy-tower/timmy"
)

// Prices is what the models cost the house and what it earns, in integers.
type Prices struct {
	EvalIn, EvalOut int64 // micro-USD per million tokens of the evaluation
	WorkIn, WorkOut int64 // micro-USD per million tokens of the work
	Infra           int64 // micro-USD per request
	Margin          int64 // millionths on top: 400000 is 40 %
	OutputMax       int64 // the longest answer, in tokens
}

const (
	// millionth is the unit of margins and token prices.
	millionth = 1_000_000
	// usageMax is more than any model reads or writes; a provider that reports more
	// reports nonsense.
	usageMax = 1_000_000_000
	// msatScale turns (millionths of a micro-USD) × (millionths of margin) at a rate
	// in micro-USD per bitcoin into msat: 10⁻¹² USD × 10⁻⁶ × 10⁶ × 10¹¹ = 1/10.
	msatScale = 10
)

// Price says what a request costs at rate, in full: Eval, Work and Total are set.
// It is (tokens × price + infrastructure) × (1 + margin), rounded up to a whole
// sat once; Eval is the same formula on the evaluation alone, and Work is the
// rest, so that the parts add up. exact is Total before that rounding, to the
// msat, rounded up: what it says less is [timmy.Cost.Dust].
//
// Negative usage counts as none. Without a rate everything costs all there is,
// so that nothing runs by mistake.
func (p Prices) Price(eval, work timmy.Usage, rate timmy.Rate) (cost timmy.Cost, exact timmy.Msat) {
	e := p.infra()
	e.Add(e, tokens(eval.In, p.EvalIn))
	e.Add(e, tokens(eval.Out, p.EvalOut))
	w := new(big.Int).Add(e, tokens(work.In, p.WorkIn))
	w.Add(w, tokens(work.Out, p.WorkOut))

	cost.Eval, _ = p.convert(e, rate)
	cost.Total, exact = p.convert(w, rate)
	cost.Work = cost.Total - cost.Eval
	return cost, exact
}

// Settle decides who pays cost. The pool's part of the hold goes first, then the
// payer's; what is above the hold is waived. A state that costs nothing waives
// everything. exact is what [Prices.Price] said.
func Settle(cost timmy.Cost, exact timmy.Msat, hold timmy.Quote, state timmy.State) timmy.Cost {
	cost.Absorbed, cost.Charged, cost.Dust = 0, 0, 0
	if state == timmy.StateComplete || state == timmy.StateRejected {
		cost.Absorbed = min(cost.Total, wholeSats(hold.Pool))
		cost.Charged = min(cost.Total-cost.Absorbed, wholeSats(hold.Payer))
	}
	paid := cost.Absorbed + cost.Charged
	cost.Waived = cost.Total - paid
	cost.Dust = max(0, paid-exact)
	return cost
}

// infra is the infrastructure's price in millionths of a micro-USD.
func (p Prices) infra() *big.Int { return tokens(millionth, p.Infra) }

// tokens is the price of n tokens in millionths of a micro-USD.
func tokens(n, price int64) *big.Int {
	n = max(0, min(n, usageMax))
	return new(big.Int).Mul(big.NewInt(n), big.NewInt(max(0, price)))
}

// convert adds the margin and converts millionths of a micro-USD: up to a whole
// sat, and up to the msat.
func (p Prices) convert(picoUSD *big.Int, rate timmy.Rate) (sats, exact timmy.Msat) {
	num := new(big.Int).Mul(picoUSD, big.NewInt(millionth+max(0, p.Margin)))
	if num.Sign() == 0 {
		return 0, 0
	}
	if rate <= 0 {
		return timmy.MaxMsat, timmy.MaxMsat
	}
	den := new(big.Int).Mul(big.NewInt(msatScale), big.NewInt(int64(rate)))
	num.Add(num, den).Sub(num, big.NewInt(1))
	num.Quo(num, den)
	if !num.IsInt64() || num.Int64() > int64(timmy.MaxMsat) {
		return timmy.MaxMsat, timmy.MaxMsat
	}
	exact = timmy.Msat(num.Int64())
	return exact.CeilSat(), exact
}

// affords is the inverse of convert: the most millionths of a micro-USD whose
// price, rounded up, is not above hold.
func (p Prices) affords(hold timmy.Msat, rate timmy.Rate) *big.Int {
	n := new(big.Int).Mul(big.NewInt(int64(wholeSats(hold))), big.NewInt(msatScale))
	n.Mul(n, big.NewInt(int64(max(0, rate))))
	return n.Quo(n, big.NewInt(millionth+max(0, p.Margin)))
}

// wholeSats rounds down to a whole sat: what can be reserved or spent.
func wholeSats(m timmy.Msat) timmy.Msat { return timmy.FromSats(max(0, m).Sats()) }
