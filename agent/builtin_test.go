package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

func newBuiltin() *Builtin {
	return NewBuiltin(BuiltinConfig{
		PriceLine: func() string { return "A typical answer costs 8-40 sats." },
		Rate:      func(context.Context) (timmy.Rate, error) { return 100_000_000_000, nil },
		RateNote:  "static price",
		Now:       func() time.Time { return time.Date(2026, 11, 24, 3, 4, 5, 0, time.UTC) },
		Decoders: []Decoder{func(s string) (string, bool) {
			return "an npub", strings.HasPrefix(s, "npub1")
		}},
	})
}

// TestBuiltinAnswers is the golden table: the first command on a fresh machine
// gets a real answer.
func TestBuiltinAnswers(t *testing.T) {
	b := newBuiltin()
	for q, want := range map[string]string{
		// arithmetic, exact
		"2+2":                      "2+2 = 4",
		"What is 2 + 2?":           "2 + 2 = 4",
		"calculate (3 + 4) * 2^10": "(3 + 4) * 2^10 = 7168",
		"0.1 + 0.2":                "0.1 + 0.2 = 0.3",
		"15% of 80":                "15% * 80 = 12",
		"50 + 10%":                 "50 + 10% = 55",
		"1/3":                      "1/3 = about 0.333333333333 (exactly 1/3)",
		"-2^2":                     "-2^2 = -4",
		"2^3^2":                    "2^3^2 = 512",
		"2^-2":                     "2^-2 = 0.25",
		"1,000,000 * 3":            "1000000 * 3 = 3000000",
		"7 × 6":                    "7 * 6 = 42",
		"10/4=":                    "10/4 = 2.5",
		"2^64":                     "2^64 = 18446744073709551616",
		"21000000 * 100000000":     "21000000 * 100000000 = 2100000000000000",
		"1/0":                      "division by zero",
		"9^9^9":                    "too big",
		"2^0.5":                    "whole powers",
		"(((1)))+1":                "(((1)))+1 = 2",
		"what is 12 - 20":          "12 - 20 = -8",
		// money
		"21000 sats in usd":       "21000 sats = 21 USD",
		"$50 in sats":             "50 USD = 50000 sats",
		"50 usd to btc":           "50 USD = 0.0005 BTC",
		"0.5 btc in sats":         "0.5 BTC = 50000000 sats",
		"1 btc":                   "1 BTC = 100000 USD",
		"how many sats is 1 usd?": "1 USD = 1000 sats",
		"100 sats":                "static price",
		"1500 msat in sats":       "1500 msat = 1.5 sats",
		"bitcoin price":           "1 BTC = 100000.00 USD (static price)",
		// units
		"10 miles in km":           "10 mi = 16.09344 km",
		"72 f in c":                "72 °F = about 22.222222 °C",
		"100 c in f":               "100 °C = 212 °F",
		"0 K in C":                 "0 K = -273.15 °C",
		"-40 c to f":               "-40 °C = -40 °F",
		"1 lb in g":                "1 lb = 453.59237 g",
		"3 GiB in MB":              "3 GiB = 3221.225472 MB",
		"90 min in h":              "90 min = 1.5 h",
		"10 in in cm":              "10 in = 25.4 cm",
		"convert 5 feet to meters": "5 ft = 1.524 m",
		"1 nm in km":               "No language model",
		"5 miles in kg":            "No language model",
		// decoding
		"npub1xyz":                 "an npub",
		"what is nostr:npub1xyz ?": "an npub",
		"decode npub1xyz":          "an npub",
		"68656c6c6f20776f726c64":   "text: hello world",
		"decode hex 68656c6c6f":    "text: hello",
		"base64 decode aGVsbG8=":   "text: hello",
		"aGVsbG8gd29ybGQ=":         "text: hello world",
		"base64 hello":             "aGVsbG8=",
		"hex hello":                "68656c6c6f",
		"hex decode zz":            "not valid hex",
		"ffffffffff":               "hex of 5 bytes",
		// dates
		"now":                                    "Tuesday, 24 November 2026, 03:04:05 UTC (unix 1795489445)",
		"What time is it?":                       "03:04:05",
		"what day is 2026-01-31":                 "2026-01-31 is a Saturday",
		"days between 2026-01-01 and 2026-12-25": "358 days (51 weeks and 1 days)",
		"days until 2026-12-25":                  "31 days",
		"days since 2026-11-23":                  "1 day",
		"unix 1700000000":                        "Tuesday, 14 November 2023, 22:13:20",
		"timestamp of 2026-01-01":                "unix 1767225600",
		"2026-02-30":                             "not a date that exists",
		"2026-01-31 + 30 days":                   "2026-03-02",
		// text
		"count one two three": "3 words, 13 characters, 13 bytes, 1 lines",
		"upper hello":         "HELLO",
		"lower HELLO":         "hello",
		"reverse añb":         "bña",
		"sha256 abc":          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		// the rest
		"help":            "A typical answer costs 8-40 sats.",
		"Hello!":          "no language model is configured",
		"price":           "A typical answer costs 8-40 sats.",
		"Write me a poem": "No language model is configured on this tower",
		"42":              "No language model",
		"":                "no language model",
	} {
		got := b.Answer(t.Context(), q)
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", q, got, want)
		}
	}
}

// TestBuiltinBoundsItsSums excludes a formula that eats the machine.
func TestBuiltinBoundsItsSums(t *testing.T) {
	b := newBuiltin()
	start := time.Now()
	for _, q := range []string{
		strings.Repeat("(", 400) + "1" + strings.Repeat(")", 400) + "+1", "9^9999999999", "9^-4096", "(9^1000)^1000",
		"1/3" + strings.Repeat("*1/3", 100), "2" + strings.Repeat("^2", 200), strings.Repeat("9", 490) + "^9",
		strings.Repeat("-", 400) + "1+1", "0^-1", "0^0", "1" + strings.Repeat("%", 400) + "+1",
		"9999999999999999999999 btc in usd", strings.Repeat("1,111", 90) + " sats",
	} {
		if got := b.Answer(t.Context(), q); len(got) > 8<<10 {
			t.Errorf("%.30q: %d bytes", q, len(got))
		}
	}
	if time.Since(start) > 20*time.Second {
		t.Errorf("took %v", time.Since(start))
	}
}

// TestBuiltinStreamsItsAnswer excludes pieces that are not the answer, cut
// characters, and an answer longer than was paid for.
func TestBuiltinStreamsItsAnswer(t *testing.T) {
	b := newBuiltin()
	for _, q := range []string{"help", "upper " + strings.Repeat("ñandú", 400), "2+2"} {
		for _, most := range []int64{1, 10, 1000} {
			var pieces []string
			a, err := b.Work(t.Context(), timmy.Job{Request: timmy.Request{Text: q}}, most, func(s string) { pieces = append(pieces, s) })
			if err != nil || strings.Join(pieces, "") != a.Text || a.Usage.Out > most || a.Usage.Out < 1 || int64(len(a.Text)) > 4*most {
				t.Fatalf("%.20q within %d: %+v, %v", q, most, a.Usage, err)
			}
			for _, p := range pieces {
				if !utf8.ValidString(p) || p == "" {
					t.Fatalf("piece %q", p)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Work(ctx, timmy.Job{Request: timmy.Request{Text: "2+2"}}, 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := b.Work(t.Context(), timmy.Job{}, 0, nil); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("no room: %v", err)
	}
}

// TestBuiltinRefusesOnlyNothing excludes charging for an empty message, and
// refusing anything else.
func TestBuiltinRefusesOnlyNothing(t *testing.T) {
	b := newBuiltin()
	for text, want := range map[string]bool{"": false, " \n\t": false, "\x00\x1b[0m": false, "x": true, "🙂": true} {
		v, err := b.Evaluate(t.Context(), timmy.Job{Request: timmy.Request{Text: text}})
		if err != nil || v.Accepted != want || v.Usage.In < 1 || !v.Usage.Estimated || want == (v.Reason != "") {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
}

// TestBuiltinWithoutAPrice excludes converting at a price of zero.
func TestBuiltinWithoutAPrice(t *testing.T) {
	for _, b := range []*Builtin{
		NewBuiltin(BuiltinConfig{}),
		NewBuiltin(BuiltinConfig{Rate: func(context.Context) (timmy.Rate, error) { return 0, errors.New("down") }}),
	} {
		for _, q := range []string{"1 btc in usd", "bitcoin price", "5 usd"} {
			if got := b.Answer(t.Context(), q); !strings.Contains(got, "don't know the bitcoin price") {
				t.Errorf("%q: %q", q, got)
			}
		}
		if got := b.Answer(t.Context(), "price"); !strings.Contains(got, "before anything is spent") {
			t.Errorf("price: %q", got)
		}
	}
}

// FuzzBuiltin holds that any text gets an answer without control characters.
func FuzzBuiltin(f *testing.F) {
	for _, s := range []string{"2+2", "1e9", "((", "%", "10 miles in km", "$", "2026-99-99", "hex decode \x1b[31m", "base64 decode AAAA", "1/3*", "\xff"} {
		f.Add(s)
	}
	b := newBuiltin()
	f.Fuzz(func(t *testing.T, q string) {
		got := b.Answer(t.Context(), q)
		if got == "" || clean(got) != got || !utf8.ValidString(got) {
			t.Fatalf("%q: %q", q, got)
		}
	})
}
