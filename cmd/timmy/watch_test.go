package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
)

// Excludes an operator who is woken for a hiccup, is not told of a trouble that
// lasts or that it is over, or is told at every look.
func TestOperatorsAreToldOfWhatLasts(t *testing.T) {
	now, what := time.Unix(1_790_000_000, 0), ""
	var told []string
	w := &watch{
		troubles: []trouble{{"the wallet is away", func(context.Context) string { return what }}},
		suspense: func(context.Context, int) ([]ledger.Drawer, error) {
			return []ledger.Drawer{{Name: "ab", Reason: "no invoice of ours", Received: 5_000}, {Name: "cd", Resolved: now}}, nil
		},
		tell: func(_ context.Context, name string, _ time.Time, text string) error {
			if name != "suspense ab" {
				told = append(told, text)
			} else if want := "A payment of 5 sats could not be credited: no invoice of ours. It is in house:suspense as ab; see timmy ledger suspense."; text != want {
				t.Errorf("%q, want %q", text, want)
			}
			return nil
		},
		now:     func() time.Time { return now },
		elapsed: func() time.Duration { return now.Sub(time.Unix(1_790_000_000, 0)) }, since: map[string]time.Time{}, told: map[string]bool{},
	}
	for _, step := range []struct {
		what string
		pass time.Duration
	}{
		{"away", 0},
		{"", time.Minute}, // a hiccup
		{"away", time.Minute},
		{"away", alertAfter - time.Second},
		{"away", time.Second}, // told
		{"away", time.Hour},
		{"", time.Minute}, // over
		{"", time.Minute},
	} {
		what, now = step.what, now.Add(step.pass)
		if err := w.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"away", "It is over: the wallet is away."}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// Excludes a warning about a wallet that holds exactly what is owed.
func TestAShortageIsMoreOwedThanHeld(t *testing.T) {
	for owed, want := range map[timmy.Msat]string{
		5_000: "", 4_999: "",
		5_001: "5.001 sats are owed and the wallet holds 5: 0.001 are missing",
	} {
		if got := shortage(owed, 5_000); got != want {
			t.Errorf("%d: %q, want %q", owed, got, want)
		}
	}
}

// Excludes an operator who is not told of a clock that was set, is told of one that is
// kept right in small steps, or is told of one jump twice.
func TestOperatorsAreToldOfAClockThatWasSet(t *testing.T) {
	now, running := time.Unix(1_790_000_000, 0), time.Hour
	var told []string
	w := &watch{
		suspense: func(context.Context, int) ([]ledger.Drawer, error) { return nil, nil },
		tell: func(_ context.Context, _ string, _ time.Time, text string) error {
			told = append(told, strings.SplitAfter(text, ".")[0])
			return nil
		},
		now: func() time.Time { return now }, elapsed: func() time.Duration { return running },
		since: map[string]time.Time{}, told: map[string]bool{},
	}
	for _, jump := range []time.Duration{0, clockSlack, -clockSlack, time.Hour, 0, -time.Hour, 0, clockSlack + time.Second} {
		running += watchEvery
		now = now.Add(watchEvery + jump)
		if err := w.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"The clock of this machine was set forward by 1h0m0s.",
		"The clock of this machine was set back by 1h0m0s.",
		"The clock of this machine was set forward by 6s.",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
