//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Clock is a clock that a test can set while the tower runs: the file that the
// variable FAILPOINT_CLOCK names says by how much it is wrong, as in "-1h". Without
// the variable, or the file, it is right. What the file says must be a duration, or
// Clock panics. Its times have no monotonic reading, as none survives such a jump.
func Clock(now func() time.Time) func() time.Time {
	file := os.Getenv("FAILPOINT_CLOCK")
	if file == "" {
		return now
	}
	return func() time.Time {
		text, err := os.ReadFile(file)
		if err != nil {
			return now()
		}
		by, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			panic(fmt.Sprintf("FAILPOINT_CLOCK: %v", err))
		}
		return now().Round(0).Add(by)
	}
}
