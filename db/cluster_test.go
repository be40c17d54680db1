package db

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
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// errNoServer says what is missing where PostgreSQL cannot be tested.
var errNoServer = errors.New("PostgreSQL is not installed: these tests need initdb and postgres of the package `postgresql` (apt-get install postgresql)")

// cluster is a PostgreSQL server of a test's own, on a folder that goes with it.
type cluster struct {
	dir, url string
	args     []string
	who      *syscall.Credential
	cmd      *exec.Cmd
	schemas  atomic.Int64
}

// pgBin is where the newest server's programs are; Debian keeps them off the path.
func pgBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	p, err := exec.LookPath("initdb")
	if err != nil {
		return "", errNoServer
	}
	p, err = filepath.EvalSymlinks(p)
	return filepath.Dir(p), err
}

// startCluster makes and starts a server, as the user postgres where this is root,
// who may not. It syncs nothing: what a power cut does is not what is tested. It sorts
// as people do, for a query that relies on the order of bytes has to say so.
func startCluster() (c *cluster, err error) {
	bin, err := pgBin()
	if err != nil {
		return nil, err
	}
	c = &cluster{}
	if c.dir, err = os.MkdirTemp("", "timmy-pg-"); err != nil {
		return nil, err
	}
	who, err := serverUser(c.dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(c.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "timmy", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "-N")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: who}, c.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c.args = []string{
		filepath.Join(bin, "postgres"), "-D", data, "-k", "", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-F",
		"-c", "max_connections=300", "-c", "full_page_writes=off", "-c", "deadlock_timeout=50ms", "-c", "log_min_messages=fatal",
	}
	c.who, c.url = who, fmt.Sprintf("postgres://timmy@127.0.0.1:%d/postgres?sslmode=disable", port)
	return c, c.start()
}

// start starts the server, or starts it again, and waits until it answers.
func (c *cluster) start() error {
	c.cmd = exec.Command(c.args[0], c.args[1:]...)
	c.cmd.SysProcAttr, c.cmd.Dir = &syscall.SysProcAttr{Credential: c.who, Pdeathsig: syscall.SIGQUIT}, c.dir
	if err := c.cmd.Start(); err != nil {
		return err
	}
	return c.wait()
}

// serverUser is whom the server runs as; nil: as we do.
func serverUser(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoServer, err)
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

func (c *cluster) exec(q string) error {
	connector, err := stdlib.GetDefaultDriver().(*stdlib.Driver).OpenConnector(c.url)
	if err != nil {
		return err
	}
	h := sql.OpenDB(connector)
	defer h.Close()
	_, err = h.ExecContext(context.Background(), q)
	return err
}

// wait waits until the server answers.
func (c *cluster) wait() (err error) {
	for range 200 {
		if err = c.exec("SELECT 1"); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("the server does not answer: %w", err), c.stop())
}

// stop ends the server and removes its folder.
func (c *cluster) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGQUIT)
	_ = c.cmd.Wait() // its status says that it was told to end
	return os.RemoveAll(c.dir)
}

// database makes a schema, which is to a ledger a database of its own, and gives
// its address.
func (c *cluster) database() (url string, err error) {
	name := fmt.Sprintf("t%d", c.schemas.Add(1))
	return c.url + "&search_path=" + name, c.exec("CREATE SCHEMA " + name)
}

// server is what the tests of PostgreSQL use.
var server *cluster

// TestMain starts it for all of them. Where it is not installed they fail in CI, and
// elsewhere say loudly that they did not run.
func TestMain(m *testing.M) {
	c, err := startCluster()
	if errors.Is(err, errNoServer) && os.Getenv("CI") != "true" {
		fmt.Fprintln(os.Stderr, "NOT TESTED on PostgreSQL:", err)
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	server = c
	code := m.Run()
	if err := c.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: ending PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}
