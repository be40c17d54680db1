package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// ErrNotInstalled says what is missing where there is no server to start.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: this needs initdb and postgres of the package `postgresql` (apt-get install postgresql)")

const (
	// startTries times startPause is how long a server may take to answer.
	startTries = 200
	startPause = 50 * time.Millisecond
)

// Options of a server.
type Options struct {
	// Durable: the server syncs as in production, for what is measured. Else it
	// syncs nothing: what a power cut does is not what is tested.
	Durable bool
}

// Server is a running PostgreSQL server on 127.0.0.1.
type Server struct {
	dir, url string
	args     []string
	who      *syscall.Credential
	cmd      *exec.Cmd
	schemas  atomic.Int64
}

// bin is where the newest server's programs are; Debian keeps them off the path.
func bin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	p, err := exec.LookPath("initdb")
	if err != nil {
		return "", ErrNotInstalled
	}
	p, err = filepath.EvalSymlinks(p)
	return filepath.Dir(p), err
}

// Start makes and starts a server, as the user postgres where this is root, who may
// not. It sorts as people do, for a query that relies on the order of bytes has to
// say so. [ErrNotInstalled]: there is none on this machine.
func Start(o Options) (s *Server, err error) {
	programs, err := bin()
	if err != nil {
		return nil, err
	}
	s = &Server{}
	if s.dir, err = os.MkdirTemp("", "timmy-pg-"); err != nil {
		return nil, err
	}
	if err := s.prepare(programs, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, s.Restart()
}

// prepare makes the cluster and decides how the server is called.
func (s *Server) prepare(programs string, o Options) (err error) {
	if s.who, err = serverUser(s.dir); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "timmy", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "-N")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: s.who}, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.args = []string{
		filepath.Join(programs, "postgres"), "-D", data, "-k", "", "-h", "127.0.0.1", "-p", strconv.Itoa(port),
		"-c", "max_connections=1000", "-c", "deadlock_timeout=50ms", "-c", "log_min_messages=fatal",
	}
	if !o.Durable {
		s.args = append(s.args, "-F", "-c", "full_page_writes=off")
	}
	s.url = fmt.Sprintf("postgres://timmy@127.0.0.1:%d/postgres?sslmode=disable", port)
	return nil
}

// Restart starts a server that was killed, on what it had, and waits until it
// answers.
func (s *Server) Restart() error {
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.SysProcAttr, s.cmd.Dir = &syscall.SysProcAttr{Credential: s.who, Pdeathsig: syscall.SIGQUIT}, s.dir
	if err := s.cmd.Start(); err != nil {
		return err
	}
	return s.wait()
}

// serverUser is whom the server runs as; nil: as we do.
func serverUser(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInstalled, err)
	}
	uid, errU := strconv.Atoi(u.Uid)
	gid, errG := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errU, errG, os.Chown(dir, uid, gid))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Exec runs one statement, as the superuser.
func (s *Server) Exec(query string) error {
	connector, err := stdlib.GetDefaultDriver().(*stdlib.Driver).OpenConnector(s.url)
	if err != nil {
		return err
	}
	h := sql.OpenDB(connector)
	defer h.Close()
	_, err = h.ExecContext(context.Background(), query)
	return err
}

func (s *Server) wait() (err error) {
	for range startTries {
		if err = s.Exec("SELECT 1"); err == nil {
			return nil
		}
		time.Sleep(startPause)
	}
	return errors.Join(fmt.Errorf("the server does not answer: %w", err), s.Stop())
}

// Kill ends the server as a crash would, and leaves its folder for Restart.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	_ = s.cmd.Wait() // its status says that it was told to end
	return nil
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	_ = s.Kill() // it may have ended before
	return os.RemoveAll(s.dir)
}

// Database makes a schema, which is to a tower a database of its own, and gives its
// address.
func (s *Server) Database() (url string, err error) {
	name := fmt.Sprintf("t%d", s.schemas.Add(1))
	return s.url + "&search_path=" + name, s.Exec("CREATE SCHEMA " + name)
}
