package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// otherVariables are read elsewhere in the program than as settings.
var otherVariables = []string{"TIMMY_CONFIG", "TIMMY_URL", "TIMMY_TOKEN", "TIMMY_NSEC_FILE"}

// foreignPrefixes begin variables that others set: Kubernetes and old Docker
// links do so for a service named timmy, and our own tests.
var foreignPrefixes = []string{"TIMMY_PORT", "TIMMY_SERVICE_", "TIMMY_ENV_", "TIMMY_TEST_"}

func (f *field) from(s Source) *field {
	g := *f
	g.Source = s
	return &g
}

// where says in words where the value of f came from.
func (c *Config) where(f *field) string {
	switch f.Source {
	case FromFile:
		return f.Key + " in " + c.File
	case FromEnv:
		return "from the environment"
	case FromFlag:
		return "from --" + f.Flag
	default:
		return "default"
	}
}

// error names the setting by its variable, whatever layer it came from.
func (f *field) error(where string, err error) error {
	if where == "" || errors.Is(err, errNeeded) { // what is missing comes from nowhere
		return fmt.Errorf("%s: %w", f.Env, err)
	}
	return fmt.Errorf("%s: %w (%s)", f.Env, err, where)
}

// maxShown is how much of a rejected value an error repeats.
const maxShown = 24

// shown adds the rejected text, unless it looks as if it were meant for another,
// secret setting: whatever is long is not repeated.
func shown(err error, text string) error {
	if len(text) > maxShown {
		return err
	}
	return fmt.Errorf("%w, got %q", err, text)
}

// checkNames refuses TIMMY_ variables that are one slip away from a setting: they
// would otherwise silently leave the default. Other names that nothing reads may
// be somebody's own, and are only mentioned.
func checkNames(env Env, fields []*field) error {
	if env.Environ == nil {
		return nil
	}
	known := slices.Clone(otherVariables)
	for _, f := range fields {
		known = append(known, f.Env)
	}
	given := env.Environ()
	slices.Sort(given)
	for _, kv := range given {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || !strings.HasPrefix(name, "TIMMY_") || slices.Contains(known, name) || isForeign(name) {
			continue
		}
		if slices.ContainsFunc(known, func(k string) bool { return distance(name, k) <= 1 }) {
			return fmt.Errorf("%s: no such setting; %s", name, didYouMean(name, known))
		}
		fmt.Fprintf(env.Stderr, "timmy: %s is no setting and is ignored; %s\n", name, didYouMean(name, known))
	}
	return nil
}

func isForeign(name string) bool {
	return slices.ContainsFunc(foreignPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// unknownKey refuses a key of timmy.toml. The suggestion is part of the line.
func unknownKey(where, key string) error {
	var keys []string
	for _, f := range fieldsOf(&Settings{}) {
		if table, _, _ := strings.Cut(f.Key, "."); !slices.Contains(keys, table) {
			keys = append(keys, table)
		}
		if !f.secret() {
			keys = append(keys, f.Key)
		} else if lastPart(key) == lastPart(f.Key) {
			return fmt.Errorf("%s: %s: secrets do not belong here; use %s, or %s in the environment", where, key, f.Key+"_file", f.Env)
		}
	}
	return fmt.Errorf("%s: unknown key %s; %s", where, key, didYouMean(key, keys))
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// didYouMean is the nearest of the candidates, in words.
func didYouMean(s string, candidates []string) string {
	best, least := "", len(s)+1
	for _, c := range candidates {
		d := min(distance(s, c), 1+distance(lastPart(s), lastPart(c))) // 1: the table is wrong
		if d < least {
			best, least = c, d
		}
	}
	if least > max(3, len(s)/3) {
		return "timmy config lists all settings"
	}
	return "did you mean " + best + "?"
}

// distance is Levenshtein's: how many bytes to insert, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
