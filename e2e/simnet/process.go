package simnet

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopWait is how long a process may take to end when asked to.
const stopWait = 60 * time.Second

// process is a program that can be started again. What it prints is kept in dir.
type process struct {
	name string // of the binary, and of the log
	bin  string // the folder of the binaries
	dir  string
	cwd  string // where it runs; "": in dir
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) start() error {
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(p.bin, p.name), p.args...)
	// HOME: what has a default place is kept from the user's own.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}, p.env...)
	cmd.Dir = cmp.Or(p.cwd, p.dir)
	// A group of its own: some start processes themselves, which must end with them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s (make lightning-bin builds what is missing): %w", p.name, err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	p.cmd, p.done = cmd, done
	return nil
}

func (p *process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// logTail is for failures: the last lines that were printed.
func (p *process) logTail(lines int) string {
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ended reports whether the process is over.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop asks it to end, and insists.
func (p *process) stop() { p.end(syscall.SIGTERM) }

func (p *process) end(how syscall.Signal) {
	if p.cmd == nil {
		return
	}
	group := -p.cmd.Process.Pid
	syscall.Kill(group, how)
	select {
	case <-p.done:
	case <-time.After(stopWait):
		syscall.Kill(group, syscall.SIGKILL)
		<-p.done
	}
	p.cmd = nil
}

// The ports of the nodes are below those that outgoing connections take theirs from: while
// a node is down its port must stay free.
const (
	lowestPort = 8000
	ports      = 4000
)

// freeAddr is an address on loopback that nobody listens on.
func freeAddr() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(ports))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port")
}
