package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

type word struct {
	Text string `json:"text"`
}

// serve runs a control socket that echoes, until the test ends.
func serve(t *testing.T, dir string) (stop func() error) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("POST /echo", controlHandler(func(_ context.Context, in word) (word, error) {
		switch in.Text {
		case "poor":
			return word{}, timmy.Errorf(timmy.Unpaid, "not enough")
		case "broken":
			return word{}, errors.New("disk on fire")
		default:
			return in, nil
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveControl(ctx, filepath.Join(dir, controlSocket), mux) }()
	stop = func() error { cancel(); return <-ended }
	for range 200 {
		if info, err := os.Stat(filepath.Join(dir, controlSocket)); err == nil && info.Mode().Perm() == 0o600 {
			return stop
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no socket: ", stop())
	return nil
}

func deepDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 80), strings.Repeat("e", 80))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A socket address holds about a hundred bytes; a data directory may lie deeper.
func TestControlWorksInAnyDirectory(t *testing.T) {
	for _, dir := range []string{t.TempDir(), deepDir(t)} {
		stop := serve(t, dir)
		info, err := os.Stat(filepath.Join(dir, controlSocket))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		var out word
		c := controlClient(dir)
		if err := c.Call(t.Context(), http.MethodPost, "/echo", word{"hello"}, &out); err != nil || out.Text != "hello" {
			t.Errorf("%v %v", out, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, controlSocket)); !errors.Is(err, os.ErrNotExist) {
			t.Error("the socket is left behind")
		}
		err = c.Call(t.Context(), http.MethodPost, "/echo", word{"hello"}, &out)
		if !errors.Is(err, errNoTower) || exitCode(err) != exitUnreachable {
			t.Errorf("after the end: %v", err)
		}
	}
}

// A command acts on the code of an error, so the code has to arrive.
func TestControlErrorsKeepTheirCode(t *testing.T) {
	dir := t.TempDir()
	defer serve(t, dir)()
	for text, want := range map[string]int{"poor": exitUnpaid, "broken": exitFailed} {
		err := controlClient(dir).Call(t.Context(), http.MethodPost, "/echo", word{text}, nil)
		if err == nil || exitCode(err) != want {
			t.Errorf("%s: %v, exit %d", text, err, exitCode(err))
		}
	}
	if err := controlClient(dir).Call(t.Context(), http.MethodGet, "/nothing", nil, nil); err == nil {
		t.Error("an unknown call succeeded")
	}
}

// After kill -9 the socket is still there; it must not stop the next start.
func TestDeadSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, controlSocket), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := serve(t, dir)(); err != nil {
		t.Error(err)
	}
}

// Two towers on one ledger would each believe to be alone.
func TestDirectoryHasOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	_, err = lockDir(dir)
	if !errors.Is(err, errLocked) || exitCode(err) != exitFailed || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = lockDir(dir)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// A process that was killed cannot unlock; the kernel has to.
func TestLockFallsWithItsHolder(t *testing.T) {
	if dir := os.Getenv("LOCK_TEST_DIR"); dir != "" { // we are the holder
		l, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Unlock()
		fmt.Println("locked")
		time.Sleep(time.Minute)
		return
	}
	dir := t.TempDir()
	holder := exec.Command(os.Args[0], "-test.run=^TestLockFallsWithItsHolder$")
	holder.Env = append(os.Environ(), "LOCK_TEST_DIR="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || string(line) != "locked" {
		t.Fatalf("%q %v", line, err)
	}
	_, err = lockDir(dir)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", holder.Process.Pid)) {
		t.Errorf("while held: %v", err)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	l, err := lockDir(dir)
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	_ = l.Unlock()
}

// A taken port is the commonest reason why a tower does not start.
func TestTakenPortNamesItsSetting(t *testing.T) {
	l, err := listen(t.Context(), "TIMMY_LISTEN", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = listen(t.Context(), "TIMMY_METRICS_LISTEN", l.Addr().String())
	if err == nil || !strings.HasPrefix(err.Error(), "TIMMY_METRICS_LISTEN: ") || exitCode(err) != exitFailed {
		t.Errorf("%v", err)
	}
}
