package wallet

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
)

// The prices of one bitcoin that are believed at all, in millionths of a US
// dollar: 1,000 to 10,000,000 USD.
const (
	MinRate timmy.Rate = 1_000 * 1_000_000
	MaxRate timmy.Rate = 10_000_000 * 1_000_000
)

// Static is a price that the operator set: for regtest, and for machines without
// the internet.
type Static struct{ rate timmy.Rate }

// NewStatic refuses a price outside [MinRate] and [MaxRate].
func NewStatic(rate timmy.Rate) (*Static, error) {
	if rate < MinRate || rate > MaxRate {
		return nil, timmy.Errorf(timmy.Invalid, "bitcoin price: want 1000 to 10000000 USD")
	}
	return &Static{rate: rate}, nil
}

// Rate is the price, always.
func (s *Static) Rate(context.Context) (timmy.Rate, error) { return s.rate, nil }

// ParseUSD reads a decimal number of US dollars, as in "91234.50", into
// millionths, cutting further digits. No sign, no exponent, no floats.
func ParseUSD(s string) (timmy.Rate, error) {
	bad := errors.New("price: want a decimal number")
	whole, fraction, point := strings.Cut(s, ".")
	if len(s) > maxDecimal || !digits(whole) || point && !digits(fraction) {
		return 0, bad
	}
	fraction = (fraction + "000000")[:6]
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return 0, bad
	}
	return timmy.Rate(n), nil
}

// digits: at least one, and nothing else.
func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
