package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Source is where the value of a setting came from.
type Source string

// The sources, each over the one before.
const (
	FromDefault Source = "default"
	FromFile    Source = "file"
	FromEnv     Source = "environment"
	FromFlag    Source = "flag"
)

var (
	errNotDecimal = errors.New("want a decimal such as 0.25, with at most six digits after the point")
	errNotWhole   = errors.New("want a whole number")
	errNotBool    = errors.New("want true or false")
)

// field is one setting: its tags, and the place of its value in a [Settings].
type field struct {
	Key, Env, Flag, Doc, Default string
	OneOf                        []string
	Min, Max                     string
	Source                       Source
	value                        reflect.Value
}

// fieldsOf lists the settings of s in their order.
func fieldsOf(s *Settings) []*field {
	var list []*field
	tables := reflect.ValueOf(s).Elem()
	for i := range tables.NumField() {
		table := tables.Type().Field(i).Tag.Get("toml")
		group := tables.Field(i)
		for j := range group.NumField() {
			tag := group.Type().Field(j).Tag
			list = append(list, &field{
				Key: table + "." + keyOf(tag), Env: tag.Get("env"), Flag: tag.Get("flag"),
				Doc: tag.Get("doc"), Default: tag.Get("default"), OneOf: strings.Fields(tag.Get("oneof")),
				Min: tag.Get("min"), Max: tag.Get("max"), Source: FromDefault, value: group.Field(j),
			})
		}
	}
	return list
}

// keyOf is the TOML key; a secret has none and is shown under its variable's
// name.
func keyOf(tag reflect.StructTag) string {
	if k := tag.Get("toml"); k != "-" {
		return k
	}
	return strings.ToLower(strings.TrimPrefix(tag.Get("env"), "TIMMY_"))
}

func (f *field) secret() bool { return f.value.Type() == reflect.TypeFor[Secret]() }

// set gives the field a value from text. A rejected text is the caller's to
// show: it is never part of the error, for it may be a secret in the wrong place.
func (f *field) set(text string, from Source) error {
	switch p := f.value.Addr().Interface().(type) {
	case *Secret:
		*p = NewSecret(text)
	case *Micro:
		if err := f.setMicro(p, text); err != nil {
			return err
		}
	case *string:
		*p = strings.TrimSpace(text)
	case *[]string:
		*p = splitList(text)
	case *int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errNotWhole
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errNotBool
		}
		*p = b
	default:
		return fmt.Errorf("setting %s has a type that cannot be set", f.Key)
	}
	f.Source = from
	return nil
}

// setMicro takes an empty text for no price where there is no default; a price
// of 0 is a mistake there.
func (f *field) setMicro(p *Micro, text string) error {
	if text == "" && f.Default == "" {
		*p = 0
		return nil
	}
	m, err := ParseMicro(text)
	if err == nil && m == 0 && f.Default == "" {
		return errors.New("want more than 0")
	}
	*p = m
	return err
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// text is the value as it would be written in the environment; secrets are
// hidden.
func (f *field) text() string {
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case Micro:
		if v == 0 && f.Default == "" {
			return ""
		}
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// check holds the value against the tags: bounds and choices.
func (f *field) check() error {
	switch v := f.value.Interface().(type) {
	case int64:
		lo, hi := f.bounds()
		if v < lo || v > hi {
			return fmt.Errorf("want a whole number from %d to %d", lo, hi)
		}
	case Micro:
		if most, _ := ParseMicro(f.Max); v > most || v < 0 {
			return fmt.Errorf("want a decimal from 0 to %s", most)
		}
	case string:
		if len(f.OneOf) > 0 && v != "" && !slices.Contains(f.OneOf, v) {
			return fmt.Errorf("want %s", strings.Join(f.OneOf, ", "))
		}
		if _, hi := f.bounds(); f.Max != "" && int64(len(v)) > hi {
			return fmt.Errorf("want at most %d bytes", hi)
		}
	case []string:
		if _, hi := f.bounds(); int64(len(v)) > hi {
			return fmt.Errorf("want at most %d items", hi)
		}
	}
	return nil
}

func (f *field) bounds() (lo, hi int64) {
	lo, _ = strconv.ParseInt(f.Min, 10, 64)
	hi, _ = strconv.ParseInt(f.Max, 10, 64)
	return lo, hi
}

// flagValue keeps the text of a flag until the layers below it are known.
type flagValue struct {
	text string
	kind reflect.Kind
}

// String is the text.
func (v *flagValue) String() string { return v.text }

// Set keeps the text; it is judged with all other settings.
func (v *flagValue) Set(s string) error { v.text = s; return nil }

// Type is the word that help shows.
func (v *flagValue) Type() string {
	switch v.kind {
	case reflect.Bool:
		return "bool"
	case reflect.Slice:
		return "list"
	case reflect.Int64:
		return "number"
	default:
		return "string"
	}
}

// addSettingFlags gives cmd a flag for every setting that is no secret, and
// --config. [loadSettings] reads them.
func addSettingFlags(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "settings file (default timmy.toml in the data directory)")
	for _, f := range fieldsOf(&Settings{}) {
		if f.Flag == "" {
			continue
		}
		v := &flagValue{kind: f.value.Kind()}
		flag := cmd.Flags().VarPF(v, f.Flag, "", f.help())
		if v.kind == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
}

func (f *field) help() string {
	s := f.Doc
	if len(f.OneOf) > 0 {
		s += " (" + strings.Join(f.OneOf, "|") + ")"
	}
	if f.Default != "" {
		s += " [" + f.Default + "]"
	}
	return s + " $" + f.Env
}
