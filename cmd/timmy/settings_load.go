package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
)

const (
	settingsFile = "timmy.toml"
	// maxSettingsBytes bounds what is read as a settings or secret file: a slip
	// such as --config /dev/zero must end in an error.
	maxSettingsBytes = 1 << 20
)

// Config is the effective settings: the layers merged, judged, and what follows
// from them.
type Config struct {
	Settings
	Derived
	File   string // the settings file that was read; empty: none
	fields []*field
}

// loadSettings merges defaults, timmy.toml, the environment and the flags of
// cmd, and judges the result. The error is one line that names the variable.
func loadSettings(env Env, cmd *cobra.Command) (*Config, error) {
	c := &Config{}
	c.fields = fieldsOf(&c.Settings)
	for _, f := range c.fields {
		if err := f.set(f.Default, FromDefault); err != nil {
			return nil, f.error("", err)
		}
	}
	if err := c.readFile(env, cmd); err != nil {
		return nil, err
	}
	if err := c.readEnv(env); err != nil {
		return nil, err
	}
	if err := c.readFlags(cmd); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// settingsPath finds the settings file. It is wanted if it was named, and only
// looked for if it was not.
func settingsPath(env Env, cmd *cobra.Command) (path string, wanted bool) {
	if p := flagText(cmd, "config"); p != "" {
		return p, true
	}
	if p := env.Getenv("TIMMY_CONFIG"); p != "" {
		return p, true
	}
	return filepath.Join(dataDir(env, cmd), settingsFile), false
}

// dataDir is the data directory before a settings file is read.
func dataDir(env Env, cmd *cobra.Command) string {
	if d := flagText(cmd, "data-dir"); d != "" {
		return d
	}
	if d := env.Getenv("TIMMY_DATA_DIR"); d != "" {
		return d
	}
	return "./timmy-data"
}

func flagText(cmd *cobra.Command, name string) string {
	if cmd == nil || cmd.Flags().Lookup(name) == nil {
		return ""
	}
	return cmd.Flags().Lookup(name).Value.String()
}

func (c *Config) readFile(env Env, cmd *cobra.Command) error {
	path, wanted := settingsPath(env, cmd)
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) && !wanted {
		return nil
	}
	if err != nil {
		return pathError("reading settings", err)
	}
	c.File = path
	var given map[string]any
	if err := decodeTOML(path, text, &c.Settings, &given); err != nil {
		return err
	}
	for _, f := range c.fields {
		if err := c.noteFile(f, given); err != nil {
			return err
		}
	}
	if dir := dataDir(env, cmd); !wanted && c.Tower.DataDir != "./timmy-data" && filepath.Clean(c.Tower.DataDir) != filepath.Clean(dir) {
		return fmt.Errorf("TIMMY_DATA_DIR: %s lies in the data directory %s and cannot name another; use --config", path, dir)
	}
	return nil
}

// noteFile notes that f was given in the file. Whole numbers reach decimals
// here, because the decoder takes them for a count of millionths.
func (c *Config) noteFile(f *field, given map[string]any) error {
	v, ok := lookup(given, f.Key)
	if !ok {
		return nil
	}
	f.Source = FromFile
	if f.value.Type() == reflect.TypeFor[Micro]() {
		if n, whole := v.(int64); whole {
			if err := f.set(fmt.Sprint(n), FromFile); err != nil {
				return f.error(c.where(f), err)
			}
		}
	}
	if strings.HasSuffix(f.Key, "_file") && f.value.String() != "" && !filepath.IsAbs(f.value.String()) {
		f.value.SetString(filepath.Join(filepath.Dir(c.File), f.value.String()))
	}
	return nil
}

// decodeTOML decodes text strictly, and once more to learn what was given.
func decodeTOML(path string, text []byte, into *Settings, given *map[string]any) error {
	err := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields().Decode(into)
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		e := unknown.Errors[0]
		line, _ := e.Position()
		return unknownKey(fmt.Sprintf("%s:%d", path, line), strings.Join(e.Key(), "."))
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		return fmt.Errorf("%s:%d: %s", path, line, keyedError(e))
	}
	if wrong := toml.Unmarshal(text, given); wrong != nil {
		return fmt.Errorf("%s: %w", path, wrong)
	}
	if err != nil { // of a decimal; the decoder does not say which
		return fmt.Errorf("%s: %s%w", path, wrongDecimal(*given), err)
	}
	return nil
}

// wrongDecimal names the first decimal that was given and cannot be read.
func wrongDecimal(given map[string]any) string {
	for _, f := range fieldsOf(&Settings{}) {
		v, ok := lookup(given, f.Key)
		if !ok || f.value.Type() != reflect.TypeFor[Micro]() {
			continue
		}
		text := fmt.Sprint(v)
		if x, isFloat := v.(float64); isFloat {
			text = strconv.FormatFloat(x, 'f', -1, 64)
		}
		if f.setMicro(new(Micro), text) != nil {
			return fmt.Sprintf("%s (%s): ", f.Key, f.Env)
		}
	}
	return ""
}

func lookup(given map[string]any, key string) (any, bool) {
	table, key, _ := strings.Cut(key, ".")
	group, _ := given[table].(map[string]any)
	v, ok := group[key]
	return v, ok
}

// keyedError names the setting and its variable, not Go's types.
func keyedError(e *toml.DecodeError) string {
	key := strings.Join(e.Key(), ".")
	for _, f := range fieldsOf(&Settings{}) {
		if f.Key != key {
			continue
		}
		want := "want text in quotes"
		switch f.value.Interface().(type) {
		case int64:
			want = errNotWhole.Error()
		case Micro:
			want = errNotDecimal.Error()
		case bool:
			want = errNotBool.Error()
		case []string:
			want = `want a list such as ["a", "b"]`
		}
		return fmt.Sprintf("%s (%s): %s", key, f.Env, want)
	}
	return e.Error()
}

// readEnv reads the variables. An empty one counts as not given, as container
// files often pass them; only the metrics address has a meaning when empty.
func (c *Config) readEnv(env Env) error {
	if err := checkNames(env, c.fields); err != nil {
		return err
	}
	for _, f := range c.fields {
		text := env.Getenv(f.Env)
		if text == "" && !(f.Env == "TIMMY_METRICS_LISTEN" && isGiven(env, f.Env)) {
			continue
		}
		if err := f.set(text, FromEnv); err != nil {
			return f.error(c.where(f.from(FromEnv)), shown(err, text))
		}
	}
	return nil
}

func isGiven(env Env, name string) bool {
	if env.Environ == nil {
		return false
	}
	for _, kv := range env.Environ() {
		if strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

func (c *Config) readFlags(cmd *cobra.Command) error {
	if cmd == nil {
		return nil
	}
	for _, f := range c.fields {
		if f.Flag == "" || !cmd.Flags().Changed(f.Flag) {
			continue
		}
		text := flagText(cmd, f.Flag)
		if err := f.set(text, FromFlag); err != nil {
			return f.error(c.where(f.from(FromFlag)), shown(err, text))
		}
	}
	return nil
}

// readSmall reads a file of bounded size.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSettingsBytes {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("want a regular file of at most %d bytes", maxSettingsBytes)}
	}
	return os.ReadFile(path)
}
