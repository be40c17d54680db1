package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/mdp/qrterminal/v3"

	"github.com/timmy-tower/timmy/nip"
)

// newLogger writes to stderr, as the settings say.
func newLogger(env Env, c *Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the settings allow no other word
	}
	return loggerAt(env, c, level)
}

// commandLogger is the log of a command that prints something else: unless more is
// asked for, only what went wrong.
func commandLogger(env Env, c *Config) *slog.Logger {
	if c.Log.Level == "debug" {
		return newLogger(env, c)
	}
	return loggerAt(env, c, slog.LevelWarn)
}

func loggerAt(env Env, c *Config, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(env.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(env.Stderr, o))
}

// banner says who the tower is, where, and what to type next.
func (p *parts) banner() {
	w, c := p.env.Stdout, p.cfg
	profile := nip.Nprofile(p.key.Public(), []string{c.RelayURL})
	qr(w, "nostr:"+profile)
	fmt.Fprintf(w, "%s is up.\n\n", c.Tower.Name)
	rows := [][]string{
		{"  key", p.key.Npub()},
		{"  profile", "nostr:" + profile},
		{"  relay", c.RelayURL},
		{"  lightning address", address(c)},
		{"  HTTP API", c.PublicURL + "/sessions"},
		{"  page", c.PublicURL + "/"},
	}
	table(w, rows)
	fmt.Fprintln(w, "\nTry it, in another terminal:")
	fmt.Fprintf(w, "\n  %s ask \"What is 15%% of 2400?\"%s%s\n", p.program(), p.dirFlag(), p.listenFlag())
	if p.wallet.fake != nil {
		fmt.Fprintf(w, "  %s pay <the invoice it shows>%s\n", p.program(), p.dirFlag())
		fmt.Fprintln(w, "\nDEMO: the wallet is a fake one on regtest. No real sats are worth anything here; see TIMMY_WALLET.")
	}
	if c.Model.Kind != modelOpenAI {
		fmt.Fprintln(w, "The model is the built-in one: sums, conversions, decoding. See TIMMY_MODEL for a language model.")
	}
	if c.MadeUpRate {
		fmt.Fprintf(w, "The bitcoin price is made up: %.0f USD. See TIMMY_BTC_USD.\n", c.StaticRate.Float())
	}
	fmt.Fprintln(w)
}

// program is what to type: the way this one was called works for the next, too.
func (p *parts) program() string {
	if p.env.Program == "" {
		return "timmy"
	}
	return p.env.Program
}

// dirFlag repeats the data directory for the commands, if it is not the usual.
func (p *parts) dirFlag() string {
	if dir := p.cfg.Tower.DataDir; dir != "./timmy-data" {
		return " --data-dir " + dir
	}
	return ""
}

// listenFlag repeats the address for a command that connects, if it is not the usual.
func (p *parts) listenFlag() string {
	if l := p.cfg.Tower.Listen; l != "127.0.0.1:8080" {
		return " --listen " + l
	}
	return ""
}

// qr draws a text as a QR code of half blocks, small enough for a terminal.
func qr(w io.Writer, text string) {
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.L, Writer: w, HalfBlocks: true, QuietZone: 1,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}
