package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/timmy-tower/timmy"
)

// The exit codes, for scripts.
const (
	exitOK          = 0
	exitFailed      = 1 // anything else, a bad setting included
	exitUsage       = 2
	exitUnreachable = 3 // the tower, or something it needs, does not answer
	exitAuth        = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitUnpaid      = 7
	exitTimeout     = 124 // as timeout(1)
)

// exitError is an error that knows its exit code, the word for it in JSON, and
// what the person can do about it.
type exitError struct {
	exit int
	code string // as in {"code": …}; empty: derived from exit
	hint string
	err  error
}

// Error is the cause's text; the hint is printed apart.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// usageError marks err as wrong usage.
func usageError(err error) error {
	return &exitError{exit: exitUsage, err: err, hint: "see timmy help"}
}

// withHint adds what the person can do about err and keeps its exit code.
func withHint(err error, hint string) error {
	return &exitError{exit: exitCode(err), err: err, hint: hint}
}

// exitCode maps an error to the exit code.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.exit
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimeout
	}
	if e, ok := errors.AsType[*timmy.Error](err); ok {
		return exitOfCode(e.Code)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		if e.Timeout() {
			return exitTimeout
		}
		return exitUnreachable
	}
	return exitFailed
}

func exitOfCode(c timmy.Code) int {
	switch c {
	case timmy.Unavailable, timmy.Limited:
		return exitUnreachable
	case timmy.Unauthorized:
		return exitAuth
	case timmy.NotFound, timmy.Expired:
		return exitNotFound
	case timmy.Conflict:
		return exitConflict
	case timmy.Unpaid:
		return exitUnpaid
	default:
		return exitFailed
	}
}

func wordOfExit(exit int) string {
	switch exit {
	case exitUsage:
		return "usage"
	case exitUnreachable:
		return "unreachable"
	case exitAuth:
		return "unauthorized"
	case exitNotFound:
		return "not_found"
	case exitConflict:
		return "conflict"
	case exitUnpaid:
		return "unpaid"
	case exitTimeout:
		return "timeout"
	default:
		return "failed"
	}
}

// report prints err, once and on one line, and returns the exit code.
func report(env Env, err error) int {
	if err == nil {
		return exitOK
	}
	exit := exitCode(err)
	out := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{Code: wordOfExit(exit), Message: oneLine(err.Error())}
	if e, ok := errors.AsType[*exitError](err); ok {
		out.Hint = e.hint
		if e.code != "" {
			out.Code = e.code
		}
	}
	if wantsJSON(env.Args) {
		b, _ := json.Marshal(out) // three strings: cannot fail
		fmt.Fprintln(env.Stderr, string(b))
		return exit
	}
	fmt.Fprintln(env.Stderr, "timmy: "+out.Message)
	if out.Hint != "" {
		fmt.Fprintln(env.Stderr, "hint: "+out.Hint)
	}
	return exit
}

// wantsJSON looks at the raw arguments, for an error may come before they are
// parsed.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// pathError names what was done to which file, without Go's repetition of it.
func pathError(doing string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s %s: %w", doing, e.Path, e.Err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
