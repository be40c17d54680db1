package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
)

const (
	askTimeout = 5 * time.Minute    // somebody has to find their wallet
	lookBack   = 3 * 24 * time.Hour // wraps are dated back by up to two days
	askKeyFile = "ask.key"
)

// asking is one question to a tower over Nostr.
type asking struct {
	to       timmy.PubKey
	relay    string
	key      nip.Key
	scheme   nip.Scheme
	text     string
	json     bool
	out      io.Writer
	hints    io.Writer
	now      func() time.Time
	rand     io.Reader
	parts    map[int]string
	lastBill string
}

// asked is what `ask --json` prints.
type asked struct {
	ID      string `json:"id"`
	From    string `json:"from"`
	Tower   string `json:"tower"`
	Invoice string `json:"invoice,omitempty"`
	Answer  string `json:"answer"`
}

func askCommand(env Env) *cobra.Command {
	var to, url, keyFile string
	var throwAway, legacy bool
	timeout := askTimeout
	cmd := &cobra.Command{
		Use:   "ask TEXT…",
		Short: "Ask a tower by direct message",
		Long: "Ask a tower by direct message (NIP-17), show the invoice if it wants one, wait, and print the answer.\n" +
			"Without --to it asks the tower of this data directory. The key that asks is kept in the data directory, so that what is left of a payment is there for the next question.",
		Example: "  timmy ask \"What is 15% of 2400?\"\n  timmy ask --to nprofile1… /help",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			a := &asking{
				scheme: nip.NIP17, text: strings.Join(args, " "), out: cmd.OutOrStdout(), hints: cmd.ErrOrStderr(),
				now: env.Now, rand: env.Rand, parts: map[int]string{},
			}
			a.json, _ = cmd.Flags().GetBool("json")
			if legacy {
				a.scheme = nip.NIP04
			}
			if a.to, a.relay, err = whomToAsk(c, to, url); err != nil {
				return err
			}
			if a.key, err = askingKey(env, c, keyFile, throwAway); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return a.run(ctx, cmd)
		},
	}
	addSettingFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "tower to ask: npub, nprofile or hex; default: the one of this data directory")
	f.StringVar(&url, "relay", "", "relay to ask through (ws:// or wss://); default: the tower's own")
	f.StringVar(&keyFile, "key", "", "file with the key that asks (made if missing); default: ask.key in the data directory")
	f.BoolVar(&throwAway, "throw-away", false, "ask with a new key that is forgotten afterwards, with what it paid")
	f.BoolVar(&legacy, "nip04", false, "ask by NIP-04, as old clients do")
	f.DurationVar(&timeout, "timeout", askTimeout, "how long to wait for the answer")
	return cmd
}

// whomToAsk finds the tower and a relay where it reads.
func whomToAsk(c *Config, to, url string) (timmy.PubKey, string, error) {
	if to == "" {
		text, err := readKeyFile(filepath.Join(c.Tower.DataDir, towerKeyFile))
		if errors.Is(err, fs.ErrNotExist) {
			return timmy.PubKey{}, "", &exitError{
				exit: exitUnreachable, err: fmt.Errorf("no tower was ever started on %s", c.Tower.DataDir),
				hint: "start one with timmy run, or name another with --to",
			}
		}
		if err != nil {
			return timmy.PubKey{}, "", err
		}
		key, err := nip.ParseSecret(strings.TrimSpace(text))
		if err != nil {
			return timmy.PubKey{}, "", err
		}
		if url == "" {
			url = "ws://" + reachable(c.Tower.Listen)
		}
		return key.Public(), url, nil
	}
	k, relays, err := nip.ParseNpub(to)
	if err != nil {
		return k, "", usageError(err)
	}
	if url == "" && len(relays) > 0 {
		url = relays[0]
	}
	if url == "" {
		return k, "", usageError(errors.New("an npub does not say where its owner reads: give --relay, or an nprofile"))
	}
	return k, url, nil
}

// askingKey is the key that asks.
func askingKey(env Env, c *Config, file string, throwAway bool) (nip.Key, error) {
	if _, err := os.Stat(c.Tower.DataDir); throwAway || (file == "" && err != nil) {
		return nip.GenerateKey(env.Rand)
	}
	if file == "" {
		file = filepath.Join(c.Tower.DataDir, askKeyFile)
	}
	text, err := readOrMakeKey(file, func() (string, error) {
		k, err := nip.GenerateKey(env.Rand)
		return k.Secret(), err
	})
	if err != nil {
		return nip.Key{}, err
	}
	return nip.ParseSecret(strings.TrimSpace(text))
}

func (a *asking) run(ctx context.Context, cmd *cobra.Command) error {
	conn, err := relay.Dial(ctx, a.relay, relay.DialOptions{AllowPrivate: true, Now: a.now, Auth: func(url, challenge string) (*nostr.Event, error) {
		return nip.Auth(a.key, url, challenge, a.now())
	}})
	if err != nil {
		return &exitError{exit: exitUnreachable, err: fmt.Errorf("reaching the tower: %w", err), hint: "is it running? timmy run"}
	}
	defer conn.Close()
	if err := conn.Auth(ctx); err != nil {
		return fmt.Errorf("saying who asks: %w", err)
	}
	events, id, err := a.seal()
	if err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintf(a.hints, "asking %s at %s\n", nip.Npub(a.to), a.relay)
	}
	if err := conn.Publish(ctx, events[0]); err != nil {
		return fmt.Errorf("sending the question: %w", err)
	}
	answer, err := a.await(ctx, conn, id)
	if errors.Is(err, context.DeadlineExceeded) {
		return &exitError{exit: exitTimeout, err: errors.New("no answer in time"), hint: "it is not lost: the answer waits on the tower's relay for this key"}
	}
	if err != nil {
		return err
	}
	return emit(cmd, asked{ID: id, From: a.key.Public().String(), Tower: a.to.String(), Invoice: a.lastBill, Answer: answer},
		func(w io.Writer) { fmt.Fprintln(w, answer) })
}

func (a *asking) seal() ([]*nostr.Event, string, error) {
	l := nip.Letter{To: a.to, Scheme: a.scheme, Text: a.text, At: a.now()}
	events, err := nip.Seal(a.key, l, a.rand)
	if err != nil {
		return nil, "", err
	}
	if a.scheme == nip.NIP04 {
		return events, events[0].ID, nil
	}
	return events, l.RumorID(a.key.Public()), nil
}

// await reads what the tower says to this question until it has said all of the
// answer.
func (a *asking) await(ctx context.Context, conn *relay.Conn, id string) (answer string, err error) {
	ctx, done := context.WithCancelCause(ctx)
	defer done(nil)
	answered := errors.New("answered")
	since := nostr.Timestamp(a.now().Add(-lookBack).Unix())
	f := nostr.Filter{Kinds: []int{1059, 4}, Tags: nostr.TagMap{"p": {a.key.Public().String()}}, Since: &since}
	err = conn.Subscribe(ctx, f, func(ev *nostr.Event) {
		m, err := nip.Open(a.key, ev, a.now())
		if err != nil || m.From != a.to || m.Parent != id {
			return
		}
		if text, whole := a.hear(m.Text); whole {
			answer = text
			done(answered)
		}
	})
	if errors.Is(context.Cause(ctx), answered) {
		return answer, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return "", cause
	}
	return "", fmt.Errorf("waiting for the answer: %w", err)
}

// bill is a line that is an invoice and nothing else; part the head of a long
// answer's piece.
var (
	bill = regexp.MustCompile(`(?m)^ln(?:bc|tb|tbs|bcrt|sb)[0-9]*[munp]?1[02-9ac-hj-np-z]+$`)
	part = regexp.MustCompile(`^\((\d{1,3})/(\d{1,3})\) ?`)
)

// hear takes one message to the question: an invoice is shown and waited on, a
// piece of the answer kept, and the last piece ends it.
func (a *asking) hear(text string) (answer string, whole bool) {
	if invoice := bill.FindString(text); invoice != "" && !strings.HasPrefix(a.text, "/topup") {
		if invoice != a.lastBill && !a.json {
			fmt.Fprintln(a.out, text)
			qr(a.hints, strings.ToUpper("lightning:"+invoice))
		}
		a.lastBill = invoice
		return "", false
	}
	if strings.HasPrefix(text, "✓ ") {
		if !a.json {
			fmt.Fprintln(a.hints, text)
		}
		return "", false
	}
	var n, of int
	if m := part.FindStringSubmatch(text); m != nil {
		fmt.Sscan(m[1], &n)
		fmt.Sscan(m[2], &of)
		a.parts[n] = text[len(m[0]):]
		if len(a.parts) < of {
			return "", false
		}
		var b strings.Builder
		for i := 1; i <= of; i++ {
			b.WriteString(a.parts[i])
		}
		return b.String(), true
	}
	return text, true
}
