// Package failpoint names the moments at which a tower is killed, made to fail or
// delayed by the tests, so that a crash can be shown to be survived at each of
// them and not only where chance puts it.
//
// A point is a step that must happen wholly or not at all. It is reported right
// before it becomes durable (or leaves the process) and right after:
//
//	if err := failpoint.Before(failpoint.CourierPublish); err != nil {
//		return err
//	}
//
// In the normal build both are empty functions, which the compiler removes: there
// is no state, no branch and no environment variable. With the build tag
// `failpoint` the variable FAILPOINT says what happens where, as in
//
//	FAILPOINT="before ledger finish=crash@3; after wallet issue=error; before agent work=delay 16s"
//
// crash is kill -9 of the own process, error returns [ErrHit] and delay waits; @N
// begins with the Nth time. [Clock] is a clock that such a build lets a test set. It is
// for tests and never for money.
package failpoint
