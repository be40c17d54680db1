package relay

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// TextConfig is what the texts for people need to know of the tower. Empty
// fields leave their words out.
type TextConfig struct {
	Name      string        // of the tower; empty: Timmy
	Address   string        // its lightning address
	PublicURL string        // https://…, where /pay/<hash> shows an invoice with its QR code
	Demo      bool          // no real sats: said in every text that mentions money
	Typical   func() string // what a usual answer costs now, as in "8–40 sats"
	Free      func() int    // free questions that a new key has today; 0: not mentioned

	// Low is the balance below which an answer says so; nil or 0: never.
	Low func() timmy.Msat
}

// demoLine stands under everything that mentions money on a tower that has none.
const demoLine = "demo: no real sats"

// nip04Line tells who writes over NIP-04 what it does not hide.
const nip04Line = "This chat uses old-style messages (NIP-04): relays can see who writes to whom and when. An app with NIP-17 messages hides that."

// about is said in the greeting and, by the tower itself, in the answer to /help.
const about = "an AI you pay per question in sats."

// Reply is the text of a reply (people's words for an outcome), in plain text as
// kind 14 asks. The answer to a command is the tower's own words, verbatim.
// Whatever a model wrote is defanged: a payable string in it must not become a
// payment card in our chat. now is for the minutes that an invoice has left.
func (t TextConfig) Reply(r timmy.Reply, scheme nip.Scheme, now time.Time) string {
	blocks := t.hello(r, scheme)
	switch o := r.Outcome; {
	case r.Command && o.Text != "": // one that failed has none
		blocks = append(blocks, o.Text)
	case o.State == timmy.StateParked:
		blocks = append(blocks, t.ask(r, now)...)
	case o.State == timmy.StateComplete:
		blocks = append(blocks, modelText(o.Text), t.footer(r))
		blocks = append(blocks, t.low(r, now)...)
	case o.State == timmy.StateRejected:
		blocks = append(blocks, rejection(o.Reason), t.footer(r))
	case o.State == timmy.StateUnpaid:
		blocks = append(blocks, lapsed(o.Reason)+" "+requestTag(r), t.demo())
	default:
		blocks = append(blocks, failure(o.Reason)+" You were not charged. "+requestTag(r))
	}
	return joinBlocks(blocks)
}

// Notice is the text for money that arrived.
func (t TextConfig) Notice(n timmy.Notice) string {
	s := fmt.Sprintf("✓ %s received (balance %d).", inSats(n.Amount.Sats()), n.Balance.Sats())
	if n.Working {
		s += " Working on it…"
	}
	return joinBlocks([]string{s, t.demo()})
}

// Alert is the text for operators.
func (t TextConfig) Alert(what string) string { return "⚠ " + cmp.Or(t.Name, "Timmy") + ": " + what }

// hello opens the first text that a key gets. A bill has said it already, and /help
// says it itself.
func (t TextConfig) hello(r timmy.Reply, scheme nip.Scheme) []string {
	switch {
	case !r.First, r.Tries > 1, r.Command && strings.Contains(r.Outcome.Text, about):
		return nil
	case scheme == nip.NIP04:
		return []string{t.greeting(), nip04Line}
	}
	return []string{t.greeting()}
}

// greeting is what somebody sees above the first reply.
func (t TextConfig) greeting() string {
	s := "Hi! I'm " + cmp.Or(t.Name, "Timmy") + ", " + about
	if t.Typical != nil {
		if price := t.Typical(); price != "" {
			s += " A typical answer costs " + price + "."
		}
	}
	if t.Free != nil {
		if n := t.Free(); n > 0 {
			s += fmt.Sprintf("\nYou have %s today.", plural(n, "free question"))
		}
	}
	return s + " Just ask, or send /help."
}

// ask is the request for money: the invoice stands alone on its line, bare, so
// that every client shows it as something to tap.
func (t TextConfig) ask(r timmy.Reply, now time.Time) []string {
	if r.Invoice == nil {
		return []string{"This question waits for sats. Send /topup for an invoice. " + requestTag(r), t.demo()}
	}
	need := r.Invoice.Amount.CeilSat().Sats()
	first := fmt.Sprintf("I need %s for this (you have %d).", inSats(need), r.Balance.Sats())
	if r.Outcome.Reason != "" {
		first = r.Outcome.Reason // the desk says the most it can cost
	}
	after := t.otherWays(r.Invoice)
	after += "Expires in " + inMinutes(r.Invoice.Expires.Sub(now)) + ". Unspent sats stay yours: /balance. " + requestTag(r)
	return []string{
		fmt.Sprintf("%s Pay %s, I answer as soon as it lands:", first, inSats(need)),
		r.Invoice.Bolt11,
		after,
		t.demo(),
	}
}

// otherWays are how to pay besides tapping the invoice: a line, or nothing.
func (t TextConfig) otherWays(inv *timmy.Invoice) string {
	var ways []string
	if t.Address != "" {
		ways = append(ways, "zap me ⚡ "+t.Address)
	}
	if t.PublicURL != "" && !inv.Hash.IsZero() {
		ways = append(ways, "pay page with QR: "+strings.TrimRight(t.PublicURL, "/")+"/pay/"+inv.Hash.String())
	}
	if len(ways) == 0 {
		return ""
	}
	return "Or " + strings.Join(ways, " · ") + "\n"
}

// footer says what it cost and what is left.
func (t TextConfig) footer(r timmy.Reply) string {
	cost := inSats(r.Outcome.Cost.Charged.CeilSat().Sats())
	if r.Outcome.Cost.Charged == 0 {
		cost = "free"
	}
	s := fmt.Sprintf("— %s · %d left · %s", cost, r.Balance.Sats(), requestTag(r))
	if t.Demo {
		s += " · " + demoLine
	}
	return s
}

// RunsLow reports whether the balance runs out with this answer: true once each
// time, and not for every answer that follows.
func (t TextConfig) RunsLow(r timmy.Reply) bool {
	if t.Low == nil || r.Command || r.Outcome.State != timmy.StateComplete || r.Outcome.Cost.Charged == 0 {
		return false
	}
	below := t.Low()
	return r.Balance < below && r.Balance+r.Outcome.Cost.Charged >= below
}

// low says so, with an invoice where one could be made.
func (t TextConfig) low(r timmy.Reply, now time.Time) []string {
	switch {
	case !t.RunsLow(r):
		return nil
	case r.Invoice != nil:
		inv := r.Invoice
		return []string{
			fmt.Sprintf("Your balance runs low. This invoice adds %s:", inSats(inv.Amount.CeilSat().Sats())),
			inv.Bolt11,
			t.otherWays(inv) + "Expires in " + inMinutes(inv.Expires.Sub(now)) + ".",
		}
	}
	s := "Your balance runs low. Send /topup for an invoice"
	if t.Address != "" {
		s += ", or zap me ⚡ " + t.Address
	}
	return []string{s + "."}
}

func (t TextConfig) demo() string {
	if t.Demo {
		return demoLine
	}
	return ""
}

// rejection is the evaluation's reason, which a model wrote.
func rejection(reason string) string {
	if reason = modelText(reason); reason == "" {
		return "Sorry, I can't take this one."
	}
	return "Sorry, I can't take this one: " + reason
}

// lapsed closes what was never paid for.
func lapsed(reason string) string {
	if reason = modelText(reason); reason != "" && !strings.Contains(reason, "expired") {
		return sentence(reason) + " You were not charged."
	}
	return "The invoice for this question has expired, so I did not answer it and nothing was charged. " +
		"Ask again any time; sats that still arrive are added to your balance."
}

// failure is the desk's reason as an apology; "Stopped." was the asker's wish.
func failure(reason string) string {
	reason = sentence(modelText(reason))
	switch rest, the := strings.CutPrefix(reason, "The "); {
	case reason == "":
		return "Sorry, the model failed."
	case the:
		return "Sorry, the " + rest
	}
	return reason
}

// sentence ends a text with a full stop if it has no end.
func sentence(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// requestTag names the request, as people quote it.
func requestTag(r timmy.Reply) string { return "#req " + r.Request.Short() }

// modelText makes a model's text fit to be shown.
func modelText(s string) string { return nip.Defang(strings.TrimSpace(s)) }

// joinBlocks sets the blocks apart by an empty line and leaves empty ones out.
func joinBlocks(blocks []string) string {
	kept := blocks[:0:0]
	for _, b := range blocks {
		if b != "" {
			kept = append(kept, b)
		}
	}
	return strings.Join(kept, "\n\n")
}

func inSats(n int64) string { return plural(int(n), "sat") }

func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// inMinutes is how long an invoice lives, in whole minutes, at least one.
func inMinutes(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Minute-1)/time.Minute)), 10) + " min"
}
