package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const lndStream = "/v1/invoices/subscribe"

// wire is what is between a tower and its node, where parts of it can be cut.
type wire struct {
	*httptest.Server
	cert string

	push, lookup, list atomic.Bool // cut

	streams atomic.Int64 // open
}

// wire lays one to the shop's node.
func (l *lightning) wire(t *testing.T) *wire {
	t.Helper()
	pinned, err := os.ReadFile(l.Shop.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pinned)
	to, err := url.Parse(l.Shop.URL())
	if err != nil {
		t.Fatal(err)
	}
	node := httputil.NewSingleHostReverseProxy(to)
	node.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	node.FlushInterval = -1 // what the node streams goes on at once
	w := &wire{cert: filepath.Join(t.TempDir(), "tls.cert")}
	w.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.cuts(r) {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == lndStream {
			w.streams.Add(1)
			defer w.streams.Add(-1)
		}
		node.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})
	if err := os.WriteFile(w.cert, own, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wire) cuts(r *http.Request) bool {
	switch path := r.URL.Path; {
	case path == lndStream:
		return w.push.Load()
	case strings.HasPrefix(path, "/v1/invoice/"):
		return w.lookup.Load()
	case path == "/v1/invoices" && r.Method == http.MethodGet:
		return w.list.Load()
	}
	return false
}

// cut cuts exactly these, and ends what was under way.
func (w *wire) cut(push, lookup, list bool) {
	w.push.Store(push)
	w.lookup.Store(lookup)
	w.list.Store(list)
	w.CloseClientConnections()
	for w.streams.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// env leads a tower's wallet over this wire.
func (w *wire) env() []string {
	return []string{"TIMMY_LND_URL=" + w.URL, "TIMMY_LND_CERT_FILE=" + w.cert}
}
