package tower

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/timmy-tower/timmy"
)

var testNow = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// The documented formula, worked by hand: a bug in a unit is off by powers of ten.
func TestPriceIsTheDocumentedFormula(t *testing.T) {
	// (500·1 + 20·5 + 1000·3 + 100·15)/1e6 USD + 0.001 USD = 0.0061 USD, ×1.4 = 0.00854
	// USD, at 100,000 USD = 8.54 sats; the evaluation alone (0.0016×1.4) = 2.24 sats.
	cost, exact := testPrices.Price(timmy.Usage{In: 500, Out: 20}, fakeUsage, rate100k)
	if cost.Total != 9*timmy.Sat || cost.Eval != 3*timmy.Sat || cost.Work != 6*timmy.Sat || exact != 8540 {
		t.Errorf("got %+v, exact %d", cost, exact)
	}
	if c, _ := (Prices{}).Price(fakeUsage, fakeUsage, rate100k); c.Total != 0 {
		t.Errorf("free models cost %v", c.Total)
	}
	if c, _ := testPrices.Price(fakeUsage, fakeUsage, 0); c.Total != timmy.MaxMsat {
		t.Errorf("without a rate it costs %v", c.Total)
	}
}

func drawPrices(t *rapid.T) Prices {
	price := rapid.Int64Range(0, 1_000_000_000)
	return Prices{
		EvalIn: price.Draw(t, "evalIn"), EvalOut: price.Draw(t, "evalOut"), WorkIn: price.Draw(t, "workIn"),
		WorkOut: price.Draw(t, "workOut"), Infra: rapid.Int64Range(0, 1_000_000).Draw(t, "infra"),
		Margin: rapid.Int64Range(0, 10_000_000).Draw(t, "margin"), OutputMax: rapid.Int64Range(1, 20_000).Draw(t, "outputMax"),
	}
}

func drawUsage(t *rapid.T, name string) timmy.Usage {
	n := rapid.OneOf(rapid.Int64Range(0, 100_000), rapid.Int64())
	return timmy.Usage{In: n.Draw(t, name+".in"), Out: n.Draw(t, name+".out")}
}

func drawRate(t *rapid.T) timmy.Rate {
	return timmy.Rate(rapid.Int64Range(1_000_000_000, 10_000_000_000_000).Draw(t, "rate"))
}

// Excludes negative prices, parts that do not add up, prices that fall with use,
// and more than one rounding.
func TestPriceIsMonotoneAndAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rate := drawPrices(t), drawRate(t)
		eval, work := drawUsage(t, "eval"), drawUsage(t, "work")
		c, exact := p.Price(eval, work, rate)
		switch {
		case c.Eval < 0 || c.Work < 0 || c.Total < 0 || c.Total > timmy.MaxMsat:
			t.Fatalf("out of range: %+v", c)
		case c.Eval+c.Work != c.Total:
			t.Fatalf("parts do not add up: %+v", c)
		case c.Total%timmy.Sat != 0 || c.Eval%timmy.Sat != 0:
			t.Fatalf("not whole sats: %+v", c)
		case c.Total-exact < 0 || c.Total-exact >= timmy.Sat:
			t.Fatalf("rounding of %d", c.Total-exact)
		}
		more := work
		more.Out = max(work.Out, work.Out+rapid.Int64Range(0, 10_000).Draw(t, "more"))
		if d, _ := p.Price(eval, more, rate); d.Total < c.Total {
			t.Fatalf("more output costs less: %v < %v", d.Total, c.Total)
		}
		if d, _ := p.Price(eval, work, rate/2+1); rate > 2 && d.Total < c.Total {
			t.Fatalf("a cheaper bitcoin costs fewer sats")
		}
	})
}

// The same formula in rationals: excludes an error of one sat at a boundary.
func TestPriceMatchesRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rate := drawPrices(t), drawRate(t)
		u := timmy.Usage{In: rapid.Int64Range(0, 100_000).Draw(t, "in"), Out: rapid.Int64Range(0, 100_000).Draw(t, "out")}
		c, _ := p.Price(timmy.Usage{}, u, rate)
		usd := big.NewRat(u.In*p.WorkIn+u.Out*p.WorkOut, millionth*millionth)
		usd.Add(usd, big.NewRat(p.Infra, millionth)).Mul(usd, big.NewRat(millionth+p.Margin, millionth))
		sats := usd.Mul(usd, big.NewRat(100_000_000*millionth, int64(rate)))
		up := new(big.Int).Add(sats.Num(), new(big.Int).Sub(sats.Denom(), big.NewInt(1)))
		if want := up.Quo(up, sats.Denom()); want.Int64() != c.Total.Sats() {
			t.Fatalf("%d sats, want %d", c.Total.Sats(), want)
		}
	})
}

// Excludes a charge above the hold, money from nowhere, and a charge for failures.
func TestSettleStaysWithinTheHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rate := drawPrices(t), drawRate(t)
		cost, exact := p.Price(drawUsage(t, "eval"), drawUsage(t, "work"), rate)
		amount := rapid.Int64Range(0, 200_000_000)
		hold := timmy.Quote{Payer: timmy.Msat(amount.Draw(t, "payer")), Pool: timmy.Msat(amount.Draw(t, "pool"))}
		state := rapid.SampledFrom([]timmy.State{timmy.StateComplete, timmy.StateRejected, timmy.StateFailed, timmy.StateUnpaid}).Draw(t, "state")
		c := Settle(cost, exact, hold, state)
		paid := c.Charged + c.Absorbed
		switch {
		case paid+c.Waived != c.Total || c.Waived < 0:
			t.Fatalf("does not add up: %+v", c)
		case c.Charged > hold.Payer || c.Absorbed > hold.Pool:
			t.Fatalf("above the hold %+v: %+v", hold, c)
		case c.Dust < 0 || c.Dust >= timmy.Sat || c.Dust > paid:
			t.Fatalf("dust: %+v", c)
		case (state == timmy.StateFailed || state == timmy.StateUnpaid) && paid != 0:
			t.Fatalf("%s is charged: %+v", state, c)
		case c.Charged > 0 && c.Absorbed < min(c.Total, wholeSats(hold.Pool)):
			t.Fatalf("the asker pays before the pool: %+v", c)
		}
	})
}

func drawJob(t *rapid.T) timmy.Job {
	j := timmy.Job{Request: timmy.Request{Text: strings.Repeat("x", rapid.IntRange(0, 16<<10).Draw(t, "text"))}}
	for range rapid.IntRange(0, 8).Draw(t, "turns") {
		j.History = append(j.History, timmy.Turn{Text: strings.Repeat("語", rapid.IntRange(0, 1000).Draw(t, "turn"))})
	}
	amount := rapid.Int64Range(0, 100_000_000)
	j.PayerMax, j.PoolMax = timmy.Msat(amount.Draw(t, "payerMax")), timmy.Msat(amount.Draw(t, "poolMax"))
	if rapid.Bool().Draw(t, "keyed") {
		j.From, j.Standing.Key = alice, alice
		j.Standing.Score = rapid.Int64Range(0, scoreMax).Draw(t, "score")
	}
	if rapid.Bool().Draw(t, "limited") {
		j.PriceMax = timmy.Msat(amount.Draw(t, "priceMax"))
	}
	return j
}

// The promise behind the hold: a job that uses what it may use costs no more than
// was reserved, and nothing is reserved that is not there.
func TestHoldCoversTheCost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rate, j := drawPrices(t), drawRate(t), drawJob(t)
		q, err := p.Quote(j, rate, testNow)
		if err != nil {
			if c := timmy.CodeOf(err); c != timmy.Unpaid && (c != timmy.Invalid || j.PriceMax == 0) {
				t.Fatalf("refused as %s: %v", c, err)
			}
			if s := p.Shortfall(j, rate, testNow); s <= 0 || s%timmy.Sat != 0 {
				t.Fatalf("shortfall %v", s)
			}
			return
		}
		switch {
		case q.Payer < 0 || q.Pool < 0 || q.Payer > j.PayerMax || q.Pool > j.PoolMax:
			t.Fatalf("quote %+v of %v and %v", q, j.PayerMax, j.PoolMax)
		case j.PriceMax > 0 && q.Total() > j.PriceMax:
			t.Fatalf("quote %+v above the asker's limit %v", q, j.PriceMax)
		case q.Pool > 0 && j.Standing.Key.IsZero():
			t.Fatal("nobody is subsidised")
		}
		j.Hold = q
		out := p.Output(j, rate)
		if out < min(outputMin, p.OutputMax) || out > p.OutputMax {
			t.Fatalf("%d tokens of output", out)
		}
		in := rapid.Int64Range(0, systemTokens+inputTokens(j)).Draw(t, "in")
		c, _ := p.Price(timmy.Usage{In: in, Out: evalOutput}, timmy.Usage{In: in, Out: out}, rate)
		if c.Total > q.Total() {
			t.Fatalf("cost %v above the hold %v with %d tokens", c.Total, q.Total(), out)
		}
	})
}

// Excludes that paying what was asked for leaves the question unpaid.
func TestPayingTheShortfallIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rate, j := drawPrices(t), drawRate(t), drawJob(t)
		if _, err := p.Quote(j, rate, testNow); timmy.CodeOf(err) != timmy.Unpaid {
			return
		}
		j.PayerMax += p.Shortfall(j, rate, testNow)
		if _, err := p.Quote(j, rate, testNow); err != nil {
			t.Fatalf("still refused: %v", err)
		}
	})
}

// Excludes a clipped bill: with enough balance, usage like a real model's is
// charged in full.
func TestWorstCaseIsGenerous(t *testing.T) {
	j := timmy.Job{Request: timmy.Request{Text: "hi"}, PayerMax: 10_000 * timmy.Sat}
	q, err := testPrices.Quote(j, rate100k, testNow)
	if err != nil {
		t.Fatal(err)
	}
	c, exact := testPrices.Price(timmy.Usage{In: 2000, Out: 900}, timmy.Usage{In: 2000, Out: testPrices.OutputMax}, rate100k)
	if s := Settle(c, exact, q, timmy.StateComplete); s.Charged != c.Total {
		t.Errorf("charged %v of %v", s.Charged, c.Total)
	}
	if s := FreeLeft(timmy.Standing{Day: Day(testNow), Granted: timmy.Sat}, timmy.TierAnonymous, timmy.Sat, testNow); s != 0 {
		t.Errorf("nobody has %v free", s)
	}
}

// Excludes a drained pool and a second allowance on the same day (A14).
func TestSubsidyStaysWithinAllowanceAndPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, 1_000_000)
		g := Grant{
			Standing: timmy.Standing{Key: alice, Granted: timmy.Msat(amount.Draw(t, "granted")), Day: Day(testNow) - rapid.Int64Range(0, 1).Draw(t, "ago")},
			Tier:     rapid.SampledFrom([]timmy.Tier{timmy.TierAnonymous, timmy.TierNew, timmy.TierElite}).Draw(t, "tier"),
			Pool:     timmy.Msat(amount.Draw(t, "pool")), Worst: timmy.Msat(amount.Draw(t, "worst")), Typical: timmy.Msat(amount.Draw(t, "typical")),
		}
		s := Subsidy(g, testNow)
		left := Allowance(g.Tier, g.Typical)
		if g.Standing.Day == Day(testNow) {
			left -= g.Standing.Granted
		}
		if s < 0 || s%timmy.Sat != 0 || s > 0 && (s > g.Pool || s > g.Worst || s > left) {
			t.Fatalf("%v of %+v", s, g)
		}
	})
	if s := Subsidy(Grant{Standing: timmy.Standing{Key: alice}, Tier: timmy.TierNew, Worst: 40 * timmy.Sat, Typical: 10 * timmy.Sat}, testNow); s != 0 {
		t.Errorf("an empty pool gives %v", s)
	}
}
