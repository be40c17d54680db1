package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the tower under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "timmy-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "timmy")
	build := exec.Command("go", "build", "-tags", "libsecp256k1", "-o", binary, "../cmd/timmy")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the tower: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	lowestPort     = 12000
	ephemeralPorts = 32768 // ip_local_port_range
)

var portsGiven atomic.Uint32

// tower is one tower process and what it takes to start it again.
type tower struct {
	t    testing.TB
	port int
	data string
	env  []string
	bin  string   // empty: binary
	arm  []string // more of env, for one start
	cmd  *exec.Cmd
	log  *lockedBuffer

	metrics string // their URL, where they are shown
}

// startTower starts a tower on embedded defaults, changed by env ("NAME=value").
func startTower(t testing.TB, env ...string) *tower {
	t.Helper()
	tw := newTower(t, env...)
	tw.start()
	return tw
}

// newTower makes one that was never started.
func newTower(t testing.TB, env ...string) *tower {
	t.Helper()
	tw := &tower{t: t, port: freePort(t), data: t.TempDir(), env: env, log: &lockedBuffer{}}
	t.Cleanup(func() {
		tw.kill()
		if t.Failed() {
			t.Logf("log of the tower:\n%s", tw.log.tail(200))
		}
	})
	return tw
}

// freePort is below the range that outgoing connections take their ports from, and
// given once: while a tower is killed nobody listens on its port, and it must still be
// there when the tower starts again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := lowestPort + (int(portsGiven.Add(1))+64*os.Getpid())%(ephemeralPorts-lowestPort)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func (tw *tower) http() string  { return fmt.Sprintf("http://127.0.0.1:%d", tw.port) }
func (tw *tower) relay() string { return fmt.Sprintf("ws://127.0.0.1:%d", tw.port) }

func (tw *tower) environ() []string {
	base := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		fmt.Sprintf("TIMMY_LISTEN=127.0.0.1:%d", tw.port), "TIMMY_DATA_DIR=" + tw.data,
		"TIMMY_METRICS_LISTEN=off", "TIMMY_ALLOW_PRIVATE_RELAYS=true",
	}
	return slices.Concat(base, tw.env, tw.arm)
}

func (tw *tower) start() {
	tw.t.Helper()
	if err := tw.tryStart(); err != nil {
		tw.t.Fatalf("%v\n%s", err, tw.log.tail(100))
	}
}

func (tw *tower) tryStart() error {
	if err := tw.launch(); err != nil {
		return err
	}
	end := time.Now().Add(3 * time.Minute)
	for time.Now().Before(end) {
		if res, err := http.Get(tw.http() + "/readyz"); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the tower was not ready after three minutes")
}

func (tw *tower) launch() error {
	tw.cmd = exec.Command(tw.program(), "run")
	tw.cmd.Env = tw.environ()
	tw.cmd.Stdout, tw.cmd.Stderr = tw.log, tw.log
	if err := tw.cmd.Start(); err != nil {
		return fmt.Errorf("starting the tower: %w", err)
	}
	return nil
}

func (tw *tower) program() string { return cmp.Or(tw.bin, binary) }

// kill is kill -9.
func (tw *tower) kill() {
	if tw.cmd != nil && tw.cmd.Process != nil {
		tw.cmd.Process.Kill()
		tw.cmd.Wait()
		tw.cmd = nil
	}
}

// stop asks it to end, and returns its exit code.
func (tw *tower) stop() int {
	tw.t.Helper()
	tw.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { tw.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Minute):
		tw.t.Fatal("the tower did not end within three minutes of SIGTERM")
	}
	code := tw.cmd.ProcessState.ExitCode()
	tw.cmd = nil
	return code
}

func (tw *tower) restart() {
	tw.t.Helper()
	tw.kill()
	tw.start()
}

// timmy runs a command beside the tower and returns its standard output.
func (tw *tower) timmy(args ...string) (string, error) { return tw.timmyWith(nil, args...) }

// timmyWith is the same with settings of the environment.
func (tw *tower) timmyWith(env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tw.program(), append(args, "--data-dir", tw.data)...)
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, tw.arm, env)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("timmy %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return string(out), nil
}

func (tw *tower) pay(bolt11 string) {
	tw.t.Helper()
	if _, err := tw.timmy("pay", bolt11); err != nil {
		tw.t.Fatal(err)
	}
}

func (tw *tower) verifyBooks() {
	tw.t.Helper()
	if out, err := tw.timmy("ledger", "verify"); err != nil {
		tw.t.Fatalf("ledger verify: %v\n%s", err, out)
	}
}

// pubkey asks the tower who it is, as a client would.
func (tw *tower) pubkey() string {
	tw.t.Helper()
	res, err := http.Get(tw.http() + "/.well-known/nostr.json?name=_")
	if err != nil {
		tw.t.Fatal(err)
	}
	defer res.Body.Close()
	var doc struct{ Names map[string]string }
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || doc.Names["_"] == "" {
		tw.t.Fatalf("nostr.json names nobody: %v", err)
	}
	return doc.Names["_"]
}

// node runs a scenario under js/. A scenario that prints RESTART is waited on
// while the tower is killed (-9) and started again.
func (tw *tower) node(script string, env ...string) {
	tw.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir = "js"
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "RELAY=" + tw.relay(), "HTTP=" + tw.http(),
		"TOWER=" + tw.pubkey(), "TIMMY=" + binary, "DATA=" + tw.data,
	}, env...)
	var errOut lockedBuffer
	cmd.Stderr = &errOut
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		tw.t.Fatalf("node is needed for this test: %v", err)
	}
	said := ""
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if said = lines.Text(); said == "RESTART" {
			tw.restart()
			io.WriteString(stdin, "go\n")
		}
	}
	if err := cmd.Wait(); err != nil || said != "ok" {
		tw.t.Fatalf("%s: %v, last word %q\n%s", script, err, said, errOut.tail(60))
	}
}

// lockedBuffer keeps what processes print.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 8<<20 {
		l.b.Reset()
	}
	return l.b.Write(p)
}

// has reports whether something was printed, also within a line of another.
func (l *lockedBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

func (l *lockedBuffer) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(strings.TrimRight(l.b.String(), "\n"), "\n")
	all = slices.DeleteFunc(all, func(line string) bool { return strings.HasPrefix(line, "█") || strings.HasPrefix(line, "▄") })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ready reports whether the tower answers now.
func ready(tw *tower) bool {
	res, err := http.Get(tw.http() + "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}
