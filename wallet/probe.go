package wallet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/timmy-tower/timmy/nip"
)

// ProbeRef begins the reference of an invoice that only tries a wallet out. The
// tower is told nothing of such an invoice: it is in nobody's books.
const ProbeRef = "probe-"

// Level says how a finding is meant.
type Level string

// The levels.
const (
	Good    Level = "ok"
	Warning Level = "warning" // it works, and could be better
	Missing Level = "missing" // it does not work
)

// Finding is one thing that a wallet can do, or what is missing for it, in words
// for its operator.
type Finding struct {
	What  string `json:"what"`
	Level Level  `json:"level"`
	Text  string `json:"text,omitempty"`
}

// Report is what a wallet says about itself. Facts are pairs of name and value.
type Report struct {
	Facts    [][2]string
	Findings []Finding
}

func (r *Report) fact(name, value string) {
	if value = cut(strings.ToValidUTF8(value, "?"), maxLoggedReply); value != "" {
		r.Facts = append(r.Facts, [2]string{name, value})
	}
}

func (r *Report) add(what string, level Level, text string) {
	r.Findings = append(r.Findings, Finding{what, level, text})
}

// network compares the network that the node says it is on.
func (r *Report) network(got string, want Network) {
	r.fact("network", got)
	if n, err := ParseNetwork(got); err == nil && n != want {
		r.add("network", Missing, fmt.Sprintf("the wallet is on %s, TIMMY_NETWORK says %s", n, want))
	}
}

// Prober is a wallet that can be tried out. Probe changes nothing.
type Prober interface {
	Probe(ctx context.Context) Report
}

// unreachable says in plain words why a call got no answer at all; empty: there
// was one.
func unreachable(err error) string {
	if e, ok := errors.AsType[*status](err); ok && e.code < 500 {
		return ""
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("there is no host %q: check the address", e.Name)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is signed by itself: name the certificate file in the settings"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another host name: name the certificate file in the settings"
	}
	switch {
	case errors.Is(err, errNotPinned):
		return errNotPinned.Error() + ": copy the current one from the node (it may have made a new one)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at that address: is it running, and is its REST listener on?"
	case errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks http there, not https: check the address"
	case strings.Contains(err.Error(), "Client sent an HTTP request to an HTTPS server"):
		return "it speaks https there, not http: check the address"
	}
	return ""
}

// refused says in plain words what a refusal means, given what the key needs.
func refused(err error, need string) string {
	if text := unreachable(err); text != "" {
		return text
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "permission denied"), strings.Contains(text, "Not permitted"):
		return "the key does not allow it: it needs " + need
	case strings.Contains(text, "verification failed"), strings.Contains(text, "Not authorized"), strings.Contains(text, "Invalid authentication"),
		strings.Contains(text, "cannot get macaroon"), strings.Contains(text, "Wallet not found"):
		return "the key is not one of this server: it was revoked, or is another's"
	}
	if e, ok := errors.AsType[*nip.WalletError](err); ok {
		return walletRefused(e, need)
	}
	if e, ok := errors.AsType[*status](err); ok && (e.code == http.StatusUnauthorized || e.code == http.StatusForbidden) {
		return "the server refuses the key: it needs " + need
	}
	return oneLine(text)
}

// walletRefused says in plain words what a refusal of NIP-47 means.
func walletRefused(e *nip.WalletError, need string) string {
	switch e.Code {
	case nip.WalletUnauthorized:
		return "the wallet does not know this connection: it was revoked or has expired. Make a new one"
	case nip.WalletRestricted, nip.WalletNotImpl:
		return "the connection does not allow it: it needs " + need
	case nip.WalletRateLimited, nip.WalletQuota:
		return "the wallet limits how often it may be asked: try again later"
	}
	return oneLine("the wallet says " + e.Error())
}

func oneLine(s string) string { return cut(strings.Join(strings.Fields(s), " "), maxLoggedReply) }

// RefusedWords says in plain words why making an invoice failed.
func RefusedWords(err error) string { return refused(err, "to make invoices") }

// try makes a finding of a call.
func (r *Report) try(what, need string, err error) bool {
	if err != nil {
		r.add(what, Missing, refused(err, need))
		return false
	}
	r.add(what, Good, "")
	return true
}
