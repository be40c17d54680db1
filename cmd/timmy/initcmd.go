package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/timmy-tower/timmy/nip"
)

func initCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write timmy.toml and make the keys",
		Long:  "Write a commented timmy.toml (mode 0600) from the flags and make the keys, in the data directory.\nOn a terminal and without flags it asks. Nothing that exists is overwritten.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runInit(env, cmd) },
	}
	addSettingFlags(cmd)
	return cmd
}

type initView struct {
	File   string `json:"file"`
	Npub   string `json:"npub"`
	Pubkey string `json:"pubkey"`
}

func runInit(env Env, cmd *cobra.Command) error {
	dir := dataDir(env, cmd)
	path := cmp.Or(flagText(cmd, "config"), filepath.Join(dir, settingsFile))
	if _, err := os.Lstat(path); err == nil {
		return &exitError{exit: exitConflict, err: fmt.Errorf("%s exists", path), hint: "edit it, or choose another --data-dir"}
	}
	if cmd.Flags().NFlag() == 0 && isTerminal(env.Stdin) && isTerminal(env.Stdout) {
		if err := ask(env, cmd); err != nil {
			return err
		}
	}
	text, err := initialFile(env, cmd)
	if err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(path)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return pathError("creating", err)
		}
	}
	key, err := towerKey(dir, env.Rand)
	if err != nil {
		return err
	}
	if _, err := serverKey(dir, env.Rand); err != nil {
		return err
	}
	if err := createFile(path, text); err != nil {
		return existsError(err)
	}
	return printInit(env, cmd, path, key)
}

// initialFile is the text of the new settings file. All settings together are
// judged first, so that what is written works.
func initialFile(env Env, cmd *cobra.Command) ([]byte, error) {
	c := &Config{}
	c.fields = fieldsOf(&c.Settings)
	for _, f := range c.fields {
		if err := f.set(f.Default, FromDefault); err != nil {
			return nil, f.error("", err)
		}
	}
	if err := c.readEnv(env); err != nil {
		return nil, err
	}
	if err := c.readFlags(cmd); err != nil {
		return nil, err
	}
	written := exampleFields()
	given := map[string]bool{}
	for i, f := range c.fields {
		// A file in the data directory does not say where that is.
		if f.Source == FromFlag && (f.Flag != "data-dir" || flagText(cmd, "config") != "") {
			given[f.Key] = true
			written[i].value.Set(f.value)
		}
	}
	absolutePaths(written, given)
	if err := c.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	writeTOML(&b, written, given)
	return b.Bytes(), nil
}

// absolutePaths keeps the meaning of paths that were relative to where init ran.
func absolutePaths(fields []*field, given map[string]bool) {
	for _, f := range fields {
		if !given[f.Key] || (!strings.HasSuffix(f.Key, "_file") && f.Flag != "data-dir") {
			continue
		}
		if abs, err := filepath.Abs(f.value.String()); err == nil {
			f.value.SetString(abs)
		}
	}
}

func printInit(env Env, cmd *cobra.Command, path string, key nip.Key) error {
	v := initView{File: path, Npub: key.Npub(), Pubkey: key.Public().String()}
	return emit(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "wrote %s\nthe tower is %s\n", v.File, v.Npub)
		if isTerminal(env.Stdout) {
			qrterminal.GenerateHalfBlock("nostr:"+v.Npub, qrterminal.L, w)
		}
		fmt.Fprintln(w, "start it with: timmy run")
	})
}

// questions are what init asks for, by flag. What is secret is not asked for: it
// goes into a file or the environment.
var questions = []struct{ flag, text string }{
	{"name", "Name"},
	{"public-url", "Public URL (empty: only this machine)"},
	{"operators", "Your npub (empty: none)"},
	{"wallet", "Wallet (fake, lnbits)"},
	{"lnbits-url", "  URL of LNbits"},
	{"lnbits-key-file", "  File that holds its invoice key"},
	{"model", "Model (builtin, openai)"},
	{"openai-base-url", "  URL of the OpenAI-compatible server"},
	{"openai-api-key-file", "  File that holds its API key (empty: none)"},
	{"work-model", "  Name of the model"},
}

// ask fills the flags from answers; an empty answer keeps the default. The
// indented questions belong to the choice above them and are skipped with it.
func ask(env Env, cmd *cobra.Command) error {
	lines := bufio.NewScanner(env.Stdin)
	skip := false
	for _, q := range questions {
		if indented := strings.HasPrefix(q.text, " "); indented && skip {
			continue
		} else if !indented {
			skip = false
		}
		flag := cmd.Flags().Lookup(q.flag)
		fmt.Fprintf(env.Stdout, "%s: ", q.text)
		if !lines.Scan() {
			return fmt.Errorf("reading answers: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
		}
		answer := strings.TrimSpace(lines.Text())
		if q.flag == "wallet" || q.flag == "model" {
			skip = answer == "" || answer == "fake" || answer == "builtin"
		}
		if answer == "" {
			continue
		}
		if err := cmd.Flags().Set(flag.Name, answer); err != nil {
			return err
		}
	}
	return nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
