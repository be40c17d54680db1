//go:build !failpoint

package failpoint

import "time"

// Clock is the clock itself. In this build nothing sets it.
func Clock(now func() time.Time) func() time.Time { return now }
