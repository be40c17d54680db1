package timmy

import (
	"errors"
	"fmt"
)

// Code classes an [Error]. Each front maps codes to its own words once.
type Code string

// The codes.
const (
	Invalid      Code = "invalid"      // the asker's mistake
	Unauthorized Code = "unauthorized" // no or a wrong credential
	NotFound     Code = "not_found"
	Conflict     Code = "conflict"    // not in this state, or already in flight
	Unpaid       Code = "unpaid"      // not enough money
	Expired      Code = "expired"     // it was there once
	Limited      Code = "limited"     // too much, too fast
	Unavailable  Code = "unavailable" // a backend is away: try again later
	Internal     Code = "internal"    // ours; the asker sees no details
)

// Error is a failure whose Message the asker may read. Err is the cause, for the
// log alone.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Errorf makes an [Error]; a %w in the format becomes its cause. The cause's
// text is part of Message, so wrap only what the asker may see.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the message, followed by the cause if that says more.
func (e *Error) Error() string {
	if e.Err == nil || e.Message == e.Err.Error() {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first [Error] in the chain; anything foreign is
// [Internal], and nil is the empty code.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// MessageOf returns what the asker may read: the message of the first [Error] in
// the chain that is not [Internal], else "internal error".
func MessageOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != Internal {
		return e.Message
	}
	return "internal error"
}
