package agent

import (
	"context"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/timmy-tower/timmy"
)

// unit is a measure: value * Scale + Offset is in its kind's base unit. The
// scale is a decimal or a fraction, as text, so that it is exact.
type unit struct {
	kind   string
	name   string // as it is written in answers
	scale  string
	offset string // of temperatures only
	names  string // in questions, lower case, separated by spaces
}

// units are the measures known. Money is converted by the bitcoin price.
var units = []unit{
	{"length", "mm", "0.001", "", "mm millimeter millimeters millimetre millimetres"},
	{"length", "cm", "0.01", "", "cm centimeter centimeters centimetre centimetres"},
	{"length", "m", "1", "", "m meter meters metre metres"},
	{"length", "km", "1000", "", "km kilometer kilometers kilometre kilometres"},
	{"length", "in", "0.0254", "", "in inch inches \""},
	{"length", "ft", "0.3048", "", "ft foot feet '"},
	{"length", "yd", "0.9144", "", "yd yard yards"},
	{"length", "mi", "1609.344", "", "mi mile miles"},
	{"length", "nmi", "1852", "", "nmi"},
	{"weight", "mg", "0.000001", "", "mg milligram milligrams"},
	{"weight", "g", "0.001", "", "g gram grams"},
	{"weight", "kg", "1", "", "kg kilo kilos kilogram kilograms"},
	{"weight", "t", "1000", "", "t ton tons tonne tonnes"},
	{"weight", "oz", "0.028349523125", "", "oz ounce ounces"},
	{"weight", "lb", "0.45359237", "", "lb lbs pound pounds"},
	{"weight", "st", "6.35029318", "", "st stone stones"},
	{"volume", "ml", "0.001", "", "ml milliliter milliliters millilitre millilitres"},
	{"volume", "l", "1", "", "l liter liters litre litres"},
	{"volume", "gal", "3.785411784", "", "gal gallon gallons"},
	{"speed", "km/h", "5/18", "", "km/h kmh kph"},
	{"speed", "m/s", "1", "", "m/s"},
	{"speed", "mph", "0.44704", "", "mph"},
	{"temperature", "°C", "1", "273.15", "c °c celsius"},
	{"temperature", "°F", "5/9", "45967/180", "f °f fahrenheit"},
	{"temperature", "K", "1", "0", "k kelvin"},
	{"data", "bit", "1/8", "", "bit bits"},
	{"data", "B", "1", "", "b byte bytes"},
	{"data", "kB", "1000", "", "kb kilobyte kilobytes"},
	{"data", "MB", "1000000", "", "mb megabyte megabytes"},
	{"data", "GB", "1000000000", "", "gb gigabyte gigabytes"},
	{"data", "TB", "1000000000000", "", "tb terabyte terabytes"},
	{"data", "KiB", "1024", "", "kib"},
	{"data", "MiB", "1048576", "", "mib"},
	{"data", "GiB", "1073741824", "", "gib"},
	{"data", "TiB", "1099511627776", "", "tib"},
	{"time", "ms", "0.001", "", "ms millisecond milliseconds"},
	{"time", "s", "1", "", "s sec secs second seconds"},
	{"time", "min", "60", "", "min mins minute minutes"},
	{"time", "h", "3600", "", "h hr hrs hour hours"},
	{"time", "d", "86400", "", "d day days"},
	{"time", "weeks", "604800", "", "week weeks"},
	{"time", "blocks", "600", "", "block blocks"},
	{"money", "msat", "0.001", "", "msat msats millisat millisats"},
	{"money", "sats", "1", "", "sat sats satoshi satoshis"},
	{"money", "BTC", "100000000", "", "btc bitcoin bitcoins ₿"},
	{"money", "USD", "", "", "usd dollar dollars $"},
}

// findUnit knows a unit by any of its names.
func findUnit(name string) (unit, bool) {
	name = strings.ToLower(name)
	for _, u := range units {
		for n := range strings.FieldsSeq(u.names) {
			if n == name {
				return u, true
			}
		}
	}
	return unit{}, false
}

var conversion = regexp.MustCompile(`(?i)^(?:convert\s+|how (?:many|much) (\S+) (?:is|are|in)\s+|what is\s+|what's\s+|how much is\s+)?` +
	`(\$)?\s*(-?[0-9][0-9,]*\.?[0-9]*|-?\.[0-9]+)\s*([^\s\d]+)?(?:\s+(?:in|to|into|as|=)\s+(\S+))?$`)

// convert answers "10 miles in km" and its like.
func (b *Builtin) convert(ctx context.Context, q string) (string, bool) {
	if len(q) > maxQuestion {
		return "", false
	}
	m := conversion.FindStringSubmatch(strings.TrimRight(q, " ?=.!"))
	if m == nil {
		return "", false
	}
	target, source := m[5], m[4]
	if target == "" {
		target = m[1]
	}
	if m[2] != "" {
		source = "$"
	}
	from, ok := findUnit(source)
	if !ok {
		return "", false
	}
	to, ok := findUnit(target)
	if !ok || from.kind != to.kind {
		if to, ok = other(from, target); !ok {
			return "", false
		}
	}
	value, ok := new(big.Rat).SetString(strings.ReplaceAll(m[3], ",", ""))
	if !ok {
		return "", false
	}
	return b.converted(ctx, value, from, to), true
}

// other is the unit that money is converted to when none is named.
func other(from unit, target string) (unit, bool) {
	if from.kind != "money" || target != "" {
		return unit{}, false
	}
	if from.name == "USD" {
		return findUnit("sats")
	}
	return findUnit("usd")
}

// converted does the sum and names the price that it was done at.
func (b *Builtin) converted(ctx context.Context, value *big.Rat, from, to unit) string {
	note := ""
	scaleFrom, scaleTo := rat(from.scale), rat(to.scale)
	if from.kind == "money" && (from.scale == "" || to.scale == "") {
		perDollar, line, ok := b.satsPerDollar(ctx)
		if !ok {
			return line
		}
		note = "\n" + line
		if from.scale == "" {
			scaleFrom = perDollar
		}
		if to.scale == "" {
			scaleTo = perDollar
		}
	}
	base := new(big.Rat).Mul(value, scaleFrom)
	base.Add(base, rat(from.offset))
	base.Sub(base, rat(to.offset))
	base.Quo(base, scaleTo)
	return fmt.Sprintf("%s %s = %s %s%s", decimal(value), from.name, rounded(base, to), to.name, note)
}

// rounded writes money with the places it has, and everything else with six
// significant ones.
func rounded(v *big.Rat, to unit) string {
	places := 6
	switch to.name {
	case "USD":
		places = 2
		if v.Cmp(big.NewRat(1, 1)) < 0 {
			places = 6
		}
	case "sats":
		places = 3
	case "BTC":
		places = 11
	}
	if small := new(big.Rat).Abs(v); small.Sign() > 0 && small.Cmp(big.NewRat(1, 1000)) < 0 {
		places = maxDigits
	}
	s := v.FloatString(places)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if exact, ok := new(big.Rat).SetString(s); ok && exact.Cmp(v) != 0 {
		return "about " + s
	}
	return s
}

// rat reads a scale of the table; empty is zero.
func rat(s string) *big.Rat {
	v := new(big.Rat)
	if s != "" {
		v.SetString(s)
	}
	return v
}

// satsPerDollar is 10^14 sat-microdollars over the price; line is the price, or
// why there is none.
func (b *Builtin) satsPerDollar(ctx context.Context) (v *big.Rat, line string, ok bool) {
	rate, line, ok := b.rate(ctx)
	if !ok {
		return nil, line, false
	}
	return new(big.Rat).SetFrac(big.NewInt(100_000_000*1_000_000), big.NewInt(int64(rate))), line, true
}

// rate asks for the price and puts it in words.
func (b *Builtin) rate(ctx context.Context) (timmy.Rate, string, bool) {
	const unknown = "I don't know the bitcoin price right now."
	if b.cfg.Rate == nil {
		return 0, unknown, false
	}
	rate, err := b.cfg.Rate(ctx)
	if err != nil || rate <= 0 {
		return 0, unknown, false
	}
	line := "1 BTC = " + big.NewRat(int64(rate), 1_000_000).FloatString(2) + " USD"
	if b.cfg.RateNote != "" {
		line += " (" + b.cfg.RateNote + ")"
	}
	return rate, line, true
}

func (b *Builtin) rateLine(ctx context.Context) string {
	_, line, _ := b.rate(ctx)
	return line
}
