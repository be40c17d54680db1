package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// tower is the process that is measured, and a client for each of its doors.
type tower struct {
	cmd    *exec.Cmd
	data   string
	addr   string
	http   *http.Client
	socket *http.Client
}

const startTimeout = 20 * time.Second

// startTower starts the binary on a fresh data directory and a free port.
func startTower(binary string) (*tower, error) {
	data, err := os.MkdirTemp("", "timmy-bench-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	t := &tower{data: data, addr: addr, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	t.socket = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(data, "timmy.sock"))
		},
	}}
	t.cmd = exec.Command(binary, "run")
	t.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "TIMMY_LISTEN=" + addr, "TIMMY_DATA_DIR=" + data, "TIMMY_METRICS_LISTEN=off",
		"TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_LOG_LEVEL=error", "TIMMY_RELAY_FRAMES_PER_SECOND=1000000", "TIMMY_RELAY_EVENTS_PER_ADDRESS=0", "TIMMY_RELAY_EVENTS_PER_KEY=0", "TIMMY_ALLOW_PRIVATE_RELAYS=true",
	}
	t.cmd.Stderr = os.Stderr
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if res, err := t.http.Get("http://" + addr + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return t, nil
			}
		}
	}
	t.stop()
	return nil, errors.New("the tower was not ready in time")
}

func (t *tower) stop() {
	t.cmd.Process.Kill()
	t.cmd.Wait()
	os.RemoveAll(t.data)
}

// call is one HTTP exchange; anything but 2xx is an error.
func (t *tower) call(c *http.Client, method, url, bearer string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, url, res.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

func (t *tower) rest(method, path, bearer string, in, out any) error {
	return t.call(t.http, method, "http://"+t.addr+path, bearer, in, out)
}

func (t *tower) pay(bolt11 string) error {
	return t.call(t.socket, "POST", "http://timmy/pay", "", map[string]string{"bolt11": bolt11}, nil)
}

// session opens and pays a session and returns its id and bearer.
func (t *tower) session() (id, bearer string, err error) {
	var made struct {
		SessionID string
		Invoice   struct{ PaymentRequest string }
	}
	if err := t.rest("POST", "/sessions", "", map[string]int{"amount_sats": 10000}, &made); err != nil {
		return "", "", err
	}
	if err := t.pay(made.Invoice.PaymentRequest); err != nil {
		return "", "", err
	}
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var view struct{ State, Macaroon string }
		if err := t.rest("GET", "/sessions/"+made.SessionID, "", nil, &view); err != nil {
			return "", "", err
		}
		if view.State == "active" {
			return made.SessionID, view.Macaroon, nil
		}
	}
	return "", "", errors.New("a paid session did not become active")
}
