package main

import (
	"fmt"
	"io"
	"slices"
)

// table keeps every measurement of every round.
type table struct {
	rows  []row
	seen  map[row]map[string][]float64 // by relay
	notes []string
}

// row is what was measured, and which number of it.
type row struct{ what, unit string }

func (t *table) add(what, unit, relay string, v float64) {
	r := row{what, unit}
	if t.seen == nil {
		t.seen = map[row]map[string][]float64{}
	}
	if t.seen[r] == nil {
		t.seen[r] = map[string][]float64{}
		t.rows = append(t.rows, r)
	}
	t.seen[r][relay] = append(t.seen[r][relay], v)
}

// note keeps a remark; a thousand alike are one.
func (t *table) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); len(t.notes) < 20 && !slices.Contains(t.notes, s) {
		t.notes = append(t.notes, s)
	}
}

// median of the rounds; ok is false if there was none.
func (t *table) median(r row, relay string) (m float64, ok bool) {
	list := slices.Clone(t.seen[r][relay])
	if len(list) == 0 {
		return 0, false
	}
	slices.Sort(list)
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2, true
	}
	return list[len(list)/2], true
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (t *table) print(w io.Writer, relays []string) {
	fmt.Fprint(w, "| what | unit |")
	for _, name := range relays {
		fmt.Fprintf(w, " %s |", name)
	}
	fmt.Fprint(w, "\n|---|---|")
	for range relays {
		fmt.Fprint(w, "---|")
	}
	fmt.Fprintln(w)
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s | %s |", r.what, r.unit)
		for _, name := range relays {
			if m, ok := t.median(r, name); ok {
				list := t.seen[r][name]
				fmt.Fprintf(w, " %s (%s–%s) |", number(m), number(slices.Min(list)), number(slices.Max(list)))
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintln(w)
	}
	t.printGoals(w)
	for _, n := range t.notes {
		fmt.Fprintln(w, "\nremark:", n)
	}
}

// goal is a ratio of the tower's number to a reference's, or the number itself if
// there is no reference.
type goal struct {
	row
	than   string
	least  bool // else at most
	amount float64
}

func goals(t *table) []goal {
	list := []goal{
		{row{"publish, 64 connections", "events/s"}, "khatru+lmdb", true, 3},
		{row{"publish, 64 connections", "events/s"}, "khatru+sqlite3", true, 8},
		{row{"publish, 64 connections", "events/s"}, "khatru+badger", true, .45},
		{row{"publish → subscriber, 16 connections, 1,000 subscriptions", "p50 ms"}, "khatru+lmdb", false, .6},
		{row{"2,000 idle subscriptions", "ratio"}, "", false, 1.2},
		{row{"one stuck reader", "ratio"}, "", true, .9},
		{row{"1,000 idle connections", "MiB"}, "", false, 21},
	}
	for _, r := range t.rows {
		if r.unit == "queries/s" && len(r.what) > 12 && r.what[:12] == "REQ 1059 #p " {
			list = append(list, goal{r, "khatru+lmdb", true, 2}, goal{r, "khatru+sqlite3", true, 15})
		}
	}
	return list
}

func (t *table) printGoals(w io.Writer) {
	fmt.Fprintln(w, "\n| goal | wanted | measured | |\n|---|---|---|---|")
	for _, g := range goals(t) {
		v, ok := t.median(g.row, ours)
		name := g.what + ", " + g.unit
		if g.than != "" {
			ref, known := t.median(g.row, g.than)
			ok = ok && known && ref > 0
			v, name = v/ref, name+" ÷ "+g.than
		}
		if !ok {
			continue
		}
		sign, met := "≤", v <= g.amount
		if g.least {
			sign, met = "≥", v >= g.amount
		}
		verdict := "missed"
		if met {
			verdict = "met"
		}
		fmt.Fprintf(w, "| %s | %s %g | %.2f | %s |\n", name, sign, g.amount, v, verdict)
	}
}
