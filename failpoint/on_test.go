//go:build failpoint

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
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
