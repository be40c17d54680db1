package agent

import (
	"errors"
	"math/big"
	"regexp"
	"strings"
)

var (
	errFormula  = errors.New("not a formula")
	errZero     = errors.New("division by zero")
	errTooBig   = errors.New("the numbers get too big for me")
	errFraction = errors.New("only whole powers can be raised to")
)

var (
	asking    = regexp.MustCompile(`(?i)^(what is|what's|how much is|calculate|calc|compute|evaluate|solve)\s+`)
	thousands = regexp.MustCompile(`\d{1,3}(,\d{3})+`)
	percentOf = regexp.MustCompile(`(?i)%\s*of\b`)
	looksLike = regexp.MustCompile(`^[0-9.+*/^%() \t×÷·−-]+$`)
	signs     = strings.NewReplacer("×", "*", "÷", "/", "·", "*", "−", "-", "**", "^")
	operator  = regexp.MustCompile(`[0-9).%]\s*([-+*/^%×÷·−]|$)`)
)

// arithmetic answers a formula exactly, with rational numbers.
func arithmetic(q string) (string, bool) {
	if len(q) > maxQuestion {
		return "", false
	}
	f := strings.Trim(asking.ReplaceAllString(q, ""), " \t\n?=!")
	f = strings.TrimSuffix(f, ".")
	f = thousands.ReplaceAllStringFunc(f, func(s string) string { return strings.ReplaceAll(s, ",", "") })
	f = percentOf.ReplaceAllString(f, "% *")
	f = signs.Replace(f)
	if !looksLike.MatchString(f) || !operator.MatchString(f) || isNumber(f) || isDate(f) {
		return "", false
	}
	v, err := calculate(f)
	if errors.Is(err, errFormula) {
		return "", false
	}
	if err != nil {
		return "I can't compute that: " + err.Error() + ".", true
	}
	return strings.TrimSpace(f) + " = " + decimal(v), true
}

// isNumber: a number alone asks nothing.
func isNumber(s string) bool { return strings.Trim(s, "0123456789. ") == "" }

// isDate: 2026-01-31 is no subtraction.
func isDate(s string) bool { return isoDate.FindString(s) == s }

// calculate reads + - * / ^ % and parentheses.
func calculate(f string) (*big.Rat, error) {
	p := &formula{in: strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, f)}
	// Two numbers with only a space between are no number.
	if gapInNumber.MatchString(f) {
		return nil, errFormula
	}
	v, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.at != len(p.in) {
		return nil, errFormula
	}
	return v, nil
}

var gapInNumber = regexp.MustCompile(`[0-9.]\s+[0-9.]`)

// formula is a recursive-descent parser; depth bounds the recursion.
type formula struct {
	in    string
	at    int
	depth int
}

// next consumes one of the characters, or returns 0.
func (p *formula) next(of string) byte {
	if p.at < len(p.in) && strings.IndexByte(of, p.in[p.at]) >= 0 {
		p.at++
		return p.in[p.at-1]
	}
	return 0
}

// sum adds and subtracts. As on a calculator, 50 + 10% is 55.
func (p *formula) sum() (*big.Rat, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errTooBig
	}
	defer func() { p.depth-- }()
	left, _, err := p.product()
	if err != nil {
		return nil, err
	}
	for {
		op := p.next("+-")
		if op == 0 {
			return left, nil
		}
		right, percent, err := p.product()
		if err != nil {
			return nil, err
		}
		if percent {
			right = new(big.Rat).Mul(left, right)
		}
		if op == '+' {
			left = new(big.Rat).Add(left, right)
		} else {
			left = new(big.Rat).Sub(left, right)
		}
		if err := bounded(left); err != nil {
			return nil, err
		}
	}
}

// product multiplies and divides; percent says that it is a bare percentage.
func (p *formula) product() (v *big.Rat, percent bool, err error) {
	left, percent, err := p.unary()
	if err != nil {
		return nil, false, err
	}
	for {
		op := p.next("*/")
		if op == 0 {
			return left, percent, nil
		}
		right, _, err := p.unary()
		if err != nil {
			return nil, false, err
		}
		percent = false
		if op == '*' {
			left = new(big.Rat).Mul(left, right)
		} else if right.Sign() == 0 {
			return nil, false, errZero
		} else {
			left = new(big.Rat).Quo(left, right)
		}
		if err := bounded(left); err != nil {
			return nil, false, err
		}
	}
}

// unary is a sign before a power: -2^2 is -4.
func (p *formula) unary() (*big.Rat, bool, error) {
	negative := false
	for {
		sign := p.next("+-")
		if sign == 0 {
			break
		}
		negative = negative != (sign == '-')
	}
	v, percent, err := p.power()
	if err == nil && negative {
		v = new(big.Rat).Neg(v)
	}
	return v, percent, err
}

// power binds to the right: 2^3^2 is 2^9.
func (p *formula) power() (*big.Rat, bool, error) {
	base, percent, err := p.number()
	if err != nil || p.next("^") == 0 {
		return base, percent, err
	}
	if p.depth++; p.depth > maxDepth {
		return nil, false, errTooBig
	}
	defer func() { p.depth-- }()
	exponent, _, err := p.unary()
	if err != nil {
		return nil, false, err
	}
	v, err := raise(base, exponent)
	return v, false, err
}

// raise computes whole powers, refusing what would be too large before it is.
func raise(base, exponent *big.Rat) (*big.Rat, error) {
	if !exponent.IsInt() {
		return nil, errFraction
	}
	if !exponent.Num().IsInt64() {
		return nil, errTooBig
	}
	e := exponent.Num().Int64()
	if e < 0 {
		if base.Sign() == 0 {
			return nil, errZero
		}
		base, e = new(big.Rat).Inv(base), -e
	}
	size := int64(max(base.Num().BitLen(), base.Denom().BitLen()))
	if e > maxExponent || size > 1 && size*e > maxBits {
		return nil, errTooBig
	}
	n := big.NewInt(e)
	return new(big.Rat).SetFrac(new(big.Int).Exp(base.Num(), n, nil), new(big.Int).Exp(base.Denom(), n, nil)), nil
}

// number is digits with at most one point, or parentheses, and perhaps percent
// signs behind.
func (p *formula) number() (*big.Rat, bool, error) {
	v, err := p.primary()
	if err != nil {
		return nil, false, err
	}
	percent := false
	for p.next("%") != 0 {
		v, percent = new(big.Rat).Quo(v, big.NewRat(100, 1)), true
		if err := bounded(v); err != nil {
			return nil, false, err
		}
	}
	return v, percent, nil
}

func (p *formula) primary() (*big.Rat, error) {
	if p.next("(") != 0 {
		v, err := p.sum()
		if err == nil && p.next(")") == 0 {
			err = errFormula
		}
		return v, err
	}
	start := p.at
	for p.next("0123456789.") != 0 {
		continue
	}
	text := p.in[start:p.at]
	if strings.Count(text, ".") > 1 || strings.Trim(text, ".") == "" {
		return nil, errFormula
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, errFormula
	}
	return v, bounded(v)
}

// bounded refuses numbers that grow too large.
func bounded(v *big.Rat) error {
	if v.Num().BitLen() > maxBits || v.Denom().BitLen() > maxBits {
		return errTooBig
	}
	return nil
}

// decimal writes a number: exactly if it has at most [maxDigits] places, else
// rounded, and so marked.
func decimal(v *big.Rat) string {
	if v.IsInt() {
		return v.Num().String()
	}
	places, exact := v.FloatPrec()
	if exact && places <= maxDigits {
		return v.FloatString(places)
	}
	s := strings.TrimRight(strings.TrimRight(v.FloatString(maxDigits), "0"), ".")
	if strings.Trim(s, "-0.") == "" {
		return "about " + v.Num().String() + "/" + v.Denom().String()
	}
	if text := v.RatString(); len(text) <= 24 {
		return "about " + s + " (exactly " + text + ")"
	}
	return "about " + s
}
