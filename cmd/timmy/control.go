package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/timmy-tower/timmy"
)

const (
	controlSocket = "timmy.sock"
	// maxControlBytes bounds a call and its answer: an export of a ledger page
	// fits, a slip does not fill the memory.
	maxControlBytes = 16 << 20
	// controlTimeout ends a call on a tower that hangs.
	controlTimeout = 60 * time.Second
	// controlGrace is how long calls may take to end when the tower stops.
	controlGrace = 5 * time.Second
	// maxSocketPath is what fits into sockaddr_un on every system.
	maxSocketPath = 100
)

// serveControl serves handler on a unix socket of mode 0600 at path until ctx
// ends. Who can open the socket is the operator: there is no other credential.
// The caller holds the lock of the directory, so an old socket there is dead.
func serveControl(ctx context.Context, path string, handler http.Handler) error {
	l, release, err := listenControl(path)
	if err != nil {
		return err
	}
	defer release()
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(handler, maxControlBytes),
		ReadHeaderTimeout: controlGrace,
		IdleTimeout:       controlTimeout,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlGrace)
		defer cancel()
		stopped <- srv.Shutdown(grace)
	})
	err = srv.Serve(l)
	if stop() { // Serve failed by itself
		return fmt.Errorf("serving %s: %w", path, err)
	}
	return <-stopped
}

func listenControl(path string) (net.Listener, func(), error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, pathError("removing old socket", err)
	}
	short, release, err := shortPath(path)
	if err != nil {
		return nil, nil, err
	}
	// The directory is 0700, so nobody gets in between these two calls.
	l, err := net.Listen("unix", short)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		release()
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return l, func() { _ = l.Close(); release() }, nil
}

// shortPath returns a name of the socket that fits into an address. On Linux a
// deep directory is reached through a descriptor; elsewhere it is refused.
// release ends the name's life.
func shortPath(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, pathError("opening", err)
	}
	release = func() { _ = dir.Close() }
	short = filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())))
	if _, err := os.Stat(short); err != nil {
		release()
		return "", nil, fmt.Errorf("TIMMY_DATA_DIR: %s is too long for a socket; use a path of at most %d bytes", path, maxSocketPath)
	}
	return filepath.Join(short, filepath.Base(path)), release, nil
}

// control calls the running tower of a data directory.
type control struct {
	dir    string
	client *http.Client
}

// controlClient makes a caller for the tower that runs on dir. Nothing is
// opened before the first call.
func controlClient(dir string) *control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, release, err := shortPath(filepath.Join(dir, controlSocket))
		if err != nil {
			return nil, err
		}
		defer release()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	}
	return &control{dir: dir, client: &http.Client{
		Timeout:   controlTimeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

// errNoTower means that no tower runs on the directory, so that a command may
// take the lock and do the work itself.
var errNoTower = errors.New("no tower is running on this data directory")

// Call sends in as JSON (nil: nothing) and decodes the answer into out (nil:
// ignored). Errors of the tower come back as the *timmy.Error they were there.
func (c *control) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("calling the tower: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://timmy"+path, body)
	if err != nil {
		return fmt.Errorf("calling the tower: %w", err)
	}
	resp, err := c.client.Do(req)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return &exitError{exit: exitUnreachable, err: fmt.Errorf("%s: %w", c.dir, errNoTower), hint: "start it with timmy run"}
	}
	if err != nil {
		return fmt.Errorf("calling the tower: %w", err)
	}
	defer resp.Body.Close()
	answer := io.LimitReader(resp.Body, maxControlBytes)
	if resp.StatusCode != http.StatusOK {
		return controlError(resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("reading the tower's answer: %w", err)
	}
	return nil
}

// controlFault is an error on the control socket.
type controlFault struct {
	Code    timmy.Code `json:"code"`
	Message string     `json:"message"`
}

func controlError(status string, body io.Reader) error {
	var f controlFault
	if err := json.NewDecoder(body).Decode(&f); err != nil || f.Code == "" {
		return fmt.Errorf("the tower answered %s", status)
	}
	return &timmy.Error{Code: f.Code, Message: f.Message}
}

// controlHandler turns do into a handler: JSON in, JSON out. An error is sent
// whole, internal ones too, for the caller is the operator.
func controlHandler[In, Out any](do func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		err := json.NewDecoder(r.Body).Decode(&in)
		if errors.Is(err, io.EOF) {
			err = nil // nothing was sent: the zero value
		}
		if err != nil {
			writeControl(w, http.StatusBadRequest, controlFault{timmy.Invalid, err.Error()})
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			writeControl(w, http.StatusUnprocessableEntity, controlFault{timmy.CodeOf(err), err.Error()})
			return
		}
		writeControl(w, http.StatusOK, out)
	})
}

func writeControl(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that hung up has no use for an error
}
