package wallet

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"github.com/timmy-tower/timmy"
)

// pinnedClient trusts the certificates in the PEM text and no others: nodes sign
// their own. The node's certificate itself is believed under any host name, as
// nobody else has its key; what it signed, only under the name that was called.
// Empty text: the usual authorities. There is no limit on the time to a reply's
// head, which a stream sends with its first event.
func pinnedClient(text []byte) (*http.Client, error) {
	t := newTransport()
	if len(text) > 0 {
		certs, err := parseCerts(text)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // VerifyConnection does it
			VerifyConnection: func(s tls.ConnectionState) error { return verifyPinned(s, certs) },
		}
	}
	return &http.Client{Transport: t}, nil
}

// parseCerts reads a certificate file.
func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for len(list) < maxCerts {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading certificate: %w", err)
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, errors.New("want a PEM file with a CERTIFICATE")
	}
	return list, nil
}

func verifyPinned(s tls.ConnectionState, pinned []*x509.Certificate) error {
	if len(s.PeerCertificates) == 0 {
		return errNotPinned
	}
	roots := x509.NewCertPool()
	for _, p := range pinned {
		if bytes.Equal(p.Raw, s.PeerCertificates[0].Raw) {
			return nil
		}
		roots.AddCert(p)
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: s.ServerName}); err != nil {
		return fmt.Errorf("%w: %w", errNotPinned, err)
	}
	return nil
}

// errNotPinned: somebody is in between, or the node has made a new certificate.
var errNotPinned = errors.New("the server's certificate is not the one in the certificate file")

// nodeURL reads the address of a node.
func nodeURL(kind, s string, log *slog.Logger) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", timmy.Errorf(timmy.Invalid, "%s url: want https://host:port", kind)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		log.Warn("the wallet is called without TLS: whoever is in between can read the key", "wallet", kind, "host", u.Host)
	}
	return u.String(), nil
}
