package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// Scripts branch on exit codes; these are promised.
func TestExitCodesAreThePromisedOnes(t *testing.T) {
	_, refused := net.Dial("tcp", "127.0.0.1:1")
	for _, c := range []struct {
		err  error
		code int
		word string
	}{
		{errors.New("anything"), 1, "failed"},
		{usageError(errors.New("x")), 2, "usage"},
		{timmy.Errorf(timmy.Unavailable, "x"), 3, "unreachable"},
		{refused, 3, "unreachable"},
		{timmy.Errorf(timmy.Unauthorized, "x"), 4, "unauthorized"},
		{timmy.Errorf(timmy.NotFound, "x"), 5, "not_found"},
		{timmy.Errorf(timmy.Conflict, "x"), 6, "conflict"},
		{timmy.Errorf(timmy.Unpaid, "x"), 7, "unpaid"},
		{fmt.Errorf("asking: %w", context.DeadlineExceeded), 124, "timeout"},
		{withHint(timmy.Errorf(timmy.Unpaid, "x"), "pay"), 7, "unpaid"},
	} {
		var stderr bytes.Buffer
		env := testEnv(nil, "x", "--json")
		env.Stderr = &stderr
		if got := report(env, c.err); got != c.code {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.code)
		}
		var out struct{ Code, Message, Hint string }
		if err := json.Unmarshal(stderr.Bytes(), &out); err != nil || out.Code != c.word || out.Message == "" {
			t.Errorf("%v: %s (%v)", c.err, stderr.String(), err)
		}
	}
}

// A message with newlines in it would be several lines of a log.
func TestAnErrorIsOneLine(t *testing.T) {
	var stderr bytes.Buffer
	env := testEnv(nil)
	env.Stderr = &stderr
	report(env, errors.New("first\nsecond\r\n  third"))
	if got := stderr.String(); got != "timmy: first second third\n" {
		t.Errorf("got %q", got)
	}
}

// After "--" come arguments, not flags.
func TestJSONIsAskedForByFlagAlone(t *testing.T) {
	if wantsJSON([]string{"ask", "--", "--json"}) || !wantsJSON(strings.Fields("config --json")) {
		t.Error("--json is misread")
	}
}
