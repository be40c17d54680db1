package agent

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// Decoder makes a readable text of one kind of data (an invoice, an npub, an
// event); ok is false if the text is not of that kind.
type Decoder func(text string) (readable string, ok bool)

// BuiltinConfig is what [NewBuiltin] needs. All may be zero: then there are no
// prices to tell, no bitcoin price to convert by, and nothing foreign to decode.
type BuiltinConfig struct {
	Name      string                                    // of the tower; empty: Timmy
	PriceLine func() string                             // one line: what an answer costs
	Rate      func(context.Context) (timmy.Rate, error) // the bitcoin price
	RateNote  string                                    // shown with it, as in "static price"
	Decoders  []Decoder
	Now       func() time.Time
}

// Builtin is a model without a language model: it computes, converts and
// decodes, and says plainly that it cannot do the rest. The same question at the
// same time gets the same answer. It may be used by several goroutines.
type Builtin struct {
	cfg    BuiltinConfig
	skills []func(context.Context, string) (string, bool)
}

// NewBuiltin makes one; it cannot fail.
func NewBuiltin(cfg BuiltinConfig) *Builtin {
	fill(&cfg.Name, "Timmy")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Builtin{cfg: cfg}
	b.skills = []func(context.Context, string) (string, bool){
		b.help, b.price, b.textTools, b.decode, b.dates, b.convert, pure(arithmetic), pure(guessEncoding),
	}
	return b
}

// pure makes a skill of a function of the text alone.
func pure(f func(string) (string, bool)) func(context.Context, string) (string, bool) {
	return func(_ context.Context, s string) (string, bool) { return f(s) }
}

// Evaluate accepts whatever is not empty: nothing it can be asked is dangerous.
func (b *Builtin) Evaluate(ctx context.Context, j timmy.Job) (timmy.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return timmy.Verdict{}, err
	}
	v := timmy.Verdict{Accepted: true, Usage: timmy.Usage{In: max(1, timmy.Tokens(j.Text)), Out: 1, Estimated: true}}
	if strings.TrimSpace(clean(j.Text)) == "" {
		v.Accepted, v.Reason = false, "there is no question in your message"
	}
	return v, nil
}

// Work answers, in pieces of a few words. delta may be nil.
func (b *Builtin) Work(ctx context.Context, j timmy.Job, outputMax int64, delta func(string)) (timmy.Answer, error) {
	if outputMax <= 0 {
		return timmy.Answer{}, timmy.Errorf(timmy.Invalid, "no room for an answer")
	}
	text := b.Answer(ctx, j.Text)
	text = shorten(text, int(max(4, min(4*outputMax, maxText))))
	for rest := text; rest != "" && delta != nil; {
		if err := ctx.Err(); err != nil {
			return timmy.Answer{}, err
		}
		n := cutAt(rest, piece)
		delta(rest[:n])
		rest = rest[n:]
	}
	return timmy.Answer{Text: text, Usage: timmy.Usage{
		In: max(1, timmy.Tokens(j.Text)), Out: max(1, min(timmy.Tokens(text), outputMax)), Estimated: true,
	}}, ctx.Err()
}

// cutAt is where to cut after about n bytes: behind a space if there is one,
// never inside a character.
func cutAt(s string, n int) int {
	if len(s) <= n {
		return len(s)
	}
	if i := strings.IndexAny(s[n:], " \n"); i >= 0 && i < n {
		return n + i + 1
	}
	for !utf8.RuneStart(s[n]) {
		n++
		if n == len(s) {
			break
		}
	}
	return n
}

// Answer is the answer to a question, without pieces and counting.
func (b *Builtin) Answer(ctx context.Context, question string) string {
	q := strings.TrimSpace(clean(question))
	for _, skill := range b.skills {
		if answer, ok := skill(ctx, q); ok && answer != "" {
			return clean(answer)
		}
	}
	return "No language model is configured on this tower, so I can't answer that. " + abilities
}

// abilities is what the builtin model can do, by example.
const abilities = `What I can do without one:
- arithmetic: (3 + 4) * 2^10, 15% of 80
- bitcoin: 21000 sats in usd, 50 usd in sats, 0.5 btc in sats
- units: 10 miles in km, 72 f in c, 3 GiB in MB, 90 min in h
- decoding: paste a Lightning invoice, npub, note, nevent, nprofile, event JSON, hex or base64
- dates: now, what day is 2026-01-31, days between 2026-01-01 and 2026-12-25, unix 1700000000
- text: count, upper, lower, reverse, sha256, base64, hex followed by a text
- help, price`

// help answers a call for it.
func (b *Builtin) help(_ context.Context, q string) (string, bool) {
	switch plain(q) {
	case "help", "/help", "hi", "hello", "hey", "start", "what can you do", "who are you", "commands", "":
		out := "Hi! I'm " + b.cfg.Name + ", running the builtin model: no language model is configured on this tower. " + abilities
		if line := b.priceLine(); line != "" {
			out += "\n" + line
		}
		return out, true
	}
	return "", false
}

// price tells what an answer costs.
func (b *Builtin) price(ctx context.Context, q string) (string, bool) {
	switch plain(q) {
	case "price", "prices", "cost", "costs", "/price", "what does it cost", "what do you cost", "how much does it cost", "how much do you cost":
		line := b.priceLine()
		if line == "" {
			line = "The price of an answer depends on its length; you are shown the most it can cost before anything is spent."
		}
		return line, true
	case "bitcoin price", "btc price", "price of bitcoin", "what is the bitcoin price", "what is the price of bitcoin":
		return b.rateLine(ctx), true
	}
	return "", false
}

func (b *Builtin) priceLine() string {
	if b.cfg.PriceLine == nil {
		return ""
	}
	return b.cfg.PriceLine()
}

// plain is a question in lower case without its punctuation, for comparing.
func plain(q string) string {
	q = strings.Trim(strings.ToLower(q), " \t\n?!.")
	return strings.Join(strings.Fields(strings.ReplaceAll(q, "what's", "what is")), " ")
}
