package tower

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// Texts is what answers to commands say of this tower.
type Texts struct {
	Name               string // empty: Timmy
	Address            string // the lightning address to zap; empty: none
	PublicURL          string // empty: none
	Demo               bool   // no real sats anywhere
	MinTopUp, MaxTopUp timmy.Msat
	Admission          timmy.Msat                 // what writing on the relay costs, once; 0: nothing is sold
	PayPage            func(timmy.Invoice) string // the page with an invoice's QR code; nil: none
}

func (t Texts) name() string {
	if t.Name == "" {
		return "Timmy"
	}
	return t.Name
}

// What a front sends as text instead of a question that it could not read.
const (
	CommandEmpty   = "/!empty"    // an empty message
	CommandTooLong = "/!too-long" // more than [TextMax] bytes
	CommandFiles   = "/!files"    // a file
)

// TextMax is the longest question in bytes.
const TextMax = textBytesMax

// IsCommand reports whether a text is for the tower itself and never for a model:
// anything that starts with a slash, and the bare words "help" and "?".
func IsCommand(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "/") || text == "?" || strings.EqualFold(text, "help")
}

// answerer answers one command. args are its words, the name left out.
type answerer func(d *Desk, ctx context.Context, j timmy.Job, args []string) (string, error)

type command struct {
	name, usage, about string
	answer             answerer
}

// commands is the table behind /help and the suggestions.
func commands() []command {
	return []command{
		{"help", "/help [command]", "what I can do", (*Desk).help},
		{"price", "/price", "what questions cost", (*Desk).price},
		{"balance", "/balance", "your sats, what is reserved, and your free questions", (*Desk).balance},
		{"topup", "/topup [sats]", "an invoice to fill your balance (1000 sats unless you say)", (*Desk).topUp},
		{"claim", "/claim", "a code that lets an anonymous zap, or a wallet without Nostr, fill your balance", (*Desk).claimCode},
		{"refund", "/refund [sats] <address or invoice>", "sends what you have not spent back to you", (*Desk).refund},
		{"history", "/history [n]", "your last questions; /history money: your last payments and charges", (*Desk).history},
		{"receipt", "/receipt <#req>", "the signed receipt of a question, as JSON (numbers: /history)", (*Desk).receipt},
		{"proof", "/proof", "the proof that your balance is in my daily published root, as JSON", (*Desk).proof},
		{"join", "/join", "the right to write on my relay, if that costs something", (*Desk).join},
		{"new", "/new", "a new conversation: I forget what we talked about", (*Desk).fresh},
		{"stop", "/stop", "stops what is running or waiting; you are not charged for it", (*Desk).stop},
		{"forget", "/forget", "deletes the conversation and your questions; lines of the books stay", (*Desk).forget},
	}
}

// command answers a command. It costs nothing and no model sees it; when it fails,
// the asker is told so.
func (d *Desk) command(ctx context.Context, j timmy.Job) timmy.Outcome {
	text, err := d.answer(ctx, j)
	if err != nil {
		if timmy.CodeOf(err) == timmy.Internal {
			d.cfg.Log.Error("answering a command", "request", j.ID.Short(), "error", err)
			text = "Sorry, that did not work. Please try again later."
		} else {
			text = timmy.MessageOf(err)
		}
	}
	return timmy.Outcome{State: timmy.StateComplete, Text: text}
}

func (d *Desk) answer(ctx context.Context, j timmy.Job) (string, error) {
	switch strings.TrimSpace(j.Text) {
	case CommandEmpty, "":
		return "Your message was empty. Just ask a question, or send /help.", nil
	case CommandTooLong:
		return fmt.Sprintf("Your message is too long: I read up to %d KiB of text. You were not charged.", textBytesMax>>10), nil
	case CommandFiles:
		return "Files are not supported, text only. You were not charged.", nil
	}
	if j.From.IsZero() {
		return "", timmy.Errorf(timmy.Unauthorized, "Commands need a key: I do not know who you are.")
	}
	words := strings.Fields(strings.ToLower(j.Text))
	name := strings.TrimPrefix(words[0], "/")
	if name == "?" {
		name = "help"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.answer(d, ctx, j, words[1:])
		}
	}
	return unknown(name), nil
}

// unknown names the nearest command, if one is near.
func unknown(name string) string {
	best, least := "", 3 // further away is another word
	for _, c := range commands() {
		if n := distance(clip(name, 32), c.name); n < least && 2*n < len(c.name) {
			best, least = c.name, n
		}
	}
	shown := "/" + clip(name, 32)
	if best == "" {
		return fmt.Sprintf("I do not know %s. Send /help for what I can do. You were not charged.", shown)
	}
	return fmt.Sprintf("I do not know %s. Did you mean /%s? You were not charged.", shown, best)
}

// clip cuts s to n runes at most.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// distance counts the letters that were mistyped between two short words: added,
// left out, replaced, or swapped with their neighbour.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for k := range rows[0] {
		rows[0][k] = k
	}
	for i := 1; i <= len(x); i++ {
		for k := 1; k <= len(y); k++ {
			cost := 1
			if x[i-1] == y[k-1] {
				cost = 0
			}
			n := min(rows[i-1][k-1]+cost, rows[i-1][k]+1, rows[i][k-1]+1)
			if i > 1 && k > 1 && x[i-1] == y[k-2] && x[i-2] == y[k-1] {
				n = min(n, rows[i-2][k-2]+1)
			}
			rows[i][k] = n
		}
	}
	return rows[len(x)][len(y)]
}

// fresh, stop and forget are the commands that change something.

func (d *Desk) fresh(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	if _, err := d.cfg.Records.Forget(ctx, j.Thread, timmy.PubKey{}); err != nil {
		return "", fmt.Errorf("starting a new conversation: %w", err)
	}
	return "A new conversation. I have forgotten what we talked about.", nil
}

func (d *Desk) forget(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	n, err := d.cfg.Records.Forget(ctx, j.Thread, j.From)
	if err != nil {
		return "", fmt.Errorf("forgetting: %w", err)
	}
	return fmt.Sprintf("Deleted: this conversation and the texts of your questions and answers (%s). "+
		"What you paid and were charged stays in the books.", count(n, "entry", "entries")), nil
}

func (d *Desk) stop(ctx context.Context, j timmy.Job, _ []string) (string, error) {
	running := d.stopRunning(j.From)
	waiting, err := d.cfg.Records.Cancel(ctx, j.From, j.ID)
	if err != nil {
		return "", fmt.Errorf("stopping: %w", err)
	}
	if running+waiting == 0 {
		return "Nothing is running or waiting.", nil
	}
	return fmt.Sprintf("Stopped %s. You are not charged for it.", count(running+waiting, "question", "questions")), nil
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func sats(m timmy.Msat) string {
	if m.Sats() == 1 {
		return "1 sat"
	}
	return strconv.FormatInt(m.Sats(), 10) + " sats"
}

// minutes writes how long an invoice can be paid.
func minutes(d time.Duration) string {
	return count(int(max(0, d.Round(time.Minute)/time.Minute)), "minute", "minutes")
}
