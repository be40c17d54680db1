package timmy

import "strconv"

// Msat is an amount in millisatoshi, the only money type. Sats exist only in
// what people and HTTP callers are shown.
type Msat int64

// Sat is one satoshi.
const Sat Msat = 1000

// MaxMsat is all the bitcoin there can ever be. A larger amount is nobody's
// money: it is a mistake or an attack, and refused wherever bytes come in.
const MaxMsat Msat = 21_000_000 * 100_000_000 * 1000

// Sats returns the amount in whole satoshi, rounded down: what may be shown as
// owned.
func (m Msat) Sats() int64 {
	if m < 0 {
		return -(-m).CeilSat().Sats()
	}
	return int64(m / Sat)
}

// CeilSat rounds up to a whole satoshi: what a debit comes to. Negative
// amounts are returned as zero, for nobody is charged less than nothing.
func (m Msat) CeilSat() Msat {
	if m <= 0 {
		return 0
	}
	if r := m % Sat; r != 0 {
		return m - r + Sat
	}
	return m
}

// FromSats converts whole satoshi. Amounts beyond [MaxMsat], of either sign,
// are cut to it, so that the product cannot overflow.
func FromSats(sats int64) Msat {
	const most = int64(MaxMsat / Sat)
	return Msat(max(-most, min(most, sats))) * Sat
}

// String writes the amount with its unit, as in "21000 msat".
func (m Msat) String() string { return strconv.FormatInt(int64(m), 10) + " msat" }

// Rate is the price of one bitcoin in millionths of a US dollar. Zero: unknown.
type Rate int64

// Float is for display and for the documented JSON number only.
func (r Rate) Float() float64 { return float64(r) / 1e6 }
