//go:build failpoint

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const envChild = "FAILPOINT_CHILD"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		for range 3 {
			if err := Before(LedgerFinish); !errors.Is(err, ErrHit) {
				os.Exit(3)
			}
			if After(LedgerFinish) != nil {
				os.Exit(4)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Excludes a crash that lets deferred functions run, one at the wrong time, and
// one that nobody can tell from another death.
func TestCrashIsAKillAtTheNthTime(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"=1", "FAILPOINT=before ledger finish=error; after ledger finish=crash@2")
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err == nil || !ok || status.Signal() != syscall.SIGKILL || strings.Count(string(out), "failpoint: after ledger finish: crash\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// Excludes a test that believes it set a point and set none.
func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{"before nothing=crash", "ledger finish=crash", "before ledger finish=explode", "before ledger finish=crash@0", "before ledger finish=delay"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if a, err := parse("before ledger finish=delay 2ms@3;"); err != nil || a["before ledger finish"].from != 3 {
		t.Errorf("%v", err)
	}
}

// Excludes a clock that cannot be set, and one that is wrong by itself.
func TestTheClockIsAsWrongAsTheFileSays(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	real := func() time.Time { return at }
	if got := Clock(real)(); !got.Equal(at) {
		t.Errorf("without a file: %v", got)
	}
	file := filepath.Join(t.TempDir(), "clock")
	t.Setenv("FAILPOINT_CLOCK", file)
	clock := Clock(real)
	for _, by := range []string{"", "1h", "-1h\n", "0s"} {
		if by != "" {
			if err := os.WriteFile(file, []byte(by), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := time.ParseDuration(strings.TrimSpace(by))
		if got := clock().Sub(at); got != want {
			t.Errorf("%q: wrong by %v", by, got)
		}
	}
}
