//go:build !failpoint

package failpoint

// Before reports that a step is about to become durable. In this build: nothing.
func Before(Point) error { return nil }

// After reports that it has. In this build: nothing.
func After(Point) error { return nil }
