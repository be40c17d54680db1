package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func configCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every setting, its value and where that comes from",
		Long:  "Show every setting, its value and where that comes from. Secrets are hidden.\nIt fails as \"timmy run\" would when a setting is wrong.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			return emit(cmd, c.view(), c.printTable)
		},
	}
	addSettingFlags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use:   "example",
		Short: "Print a timmy.toml with every setting explained",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			writeTOML(cmd.OutOrStdout(), exampleFields(), nil)
			return nil
		},
	})
	return cmd
}

// settingView is one setting in JSON. Value has the form of the environment
// variable.
type settingView struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source Source `json:"source"`
	Env    string `json:"env"`
	Doc    string `json:"doc"`
}

type configView struct {
	File      string        `json:"file,omitempty"`
	PublicURL string        `json:"public_url"`
	RelayURL  string        `json:"relay_url"`
	Settings  []settingView `json:"settings"`
}

func (c *Config) view() configView {
	v := configView{File: c.File, PublicURL: c.PublicURL, RelayURL: c.RelayURL}
	for _, f := range c.fields {
		v.Settings = append(v.Settings, settingView{f.Key, f.text(), f.Source, f.Env, f.Doc})
	}
	return v
}

func (c *Config) printTable(w io.Writer) {
	rows := [][]string{{"SETTING", "VALUE", "SOURCE", "VARIABLE"}}
	for _, f := range c.fields {
		rows = append(rows, []string{f.Key, cmp.Or(f.text(), "-"), string(f.Source), f.Env})
	}
	table(w, rows)
	fmt.Fprintf(w, "\nfile:   %s\npublic: %s\nrelay:  %s\n", cmp.Or(c.File, "none"), c.PublicURL, c.RelayURL)
	if c.MadeUpRate {
		fmt.Fprintf(w, "note:   the bitcoin price, %s USD, is made up; neither wallet nor model are real\n", Micro(c.StaticRate))
	}
}

// exampleFields are all settings at their defaults.
func exampleFields() []*field {
	list := fieldsOf(&Settings{})
	for _, f := range list {
		_ = f.set(f.Default, FromDefault) // the defaults are tested
	}
	return list
}

// writeTOML writes a settings file: what is in given with its value, everything
// else as a comment with its default.
func writeTOML(w io.Writer, fields []*field, given map[string]bool) {
	fmt.Fprintln(w, "# Settings of Timmy Tower. Environment variables and flags win over this file.")
	last := ""
	for _, f := range fields {
		name, key, _ := strings.Cut(f.Key, ".")
		if name != last {
			fmt.Fprintf(w, "\n[%s]\n", name)
			last = name
		}
		fmt.Fprintf(w, "\n# %s\n# Variable: %s", f.Doc, f.Env)
		if len(f.OneOf) > 0 {
			fmt.Fprintf(w, "; one of: %s", strings.Join(f.OneOf, ", "))
		}
		fmt.Fprintln(w)
		if f.secret() {
			fmt.Fprintf(w, "# Not to be set in this file: use the variable, or %s_file.\n", key)
			continue
		}
		mark := "#"
		if given[f.Key] {
			mark = ""
		}
		fmt.Fprintf(w, "%s%s = %s\n", mark, key, f.toml())
	}
}

// toml is the value as it is written in a settings file.
func (f *field) toml() string {
	switch v := f.value.Interface().(type) {
	case string:
		return tomlString(v)
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = tomlString(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case Micro:
		if v == 0 && f.Default == "" {
			return strconv.Itoa(int(exampleBTC))
		}
		return v.String()
	default:
		return f.text()
	}
}

// exampleBTC stands in the example for the one price that has no default.
const exampleBTC = offlineRate / 1_000_000

// tomlString quotes s; TOML's escapes are those of JSON.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
