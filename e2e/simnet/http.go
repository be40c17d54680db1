package simnet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// maxReply is above any answer that is asked for here.
	maxReply = 32 << 20
	// pace is how often a condition is looked at.
	pace = 50 * time.Millisecond
)

// clientPinnedTo believes one certificate.
func clientPinnedTo(certFile string) (*http.Client, error) {
	pem, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", certFile)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, nil
}

// exchange sends JSON, or nothing, and reads JSON. set changes the request before
// it goes.
func exchange(ctx context.Context, client *http.Client, method, url string, in, out any, set func(*http.Request)) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("writing a request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	set(req)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("status %d: %s", res.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("reading %.200s: %w", raw, err)
	}
	return nil
}

// until repeats try until it succeeds, ctx ends or the process p is over.
func until(ctx context.Context, p *process, what string, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if p.ended() {
			return fmt.Errorf("%s ended before %s answered:\n%s", p.name, what, p.logTail(30))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, errors.Join(ctx.Err(), err), p.logTail(30))
		case <-time.After(pace):
		}
	}
}
