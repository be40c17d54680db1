package nip

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// Kinds of NIP-47.
const (
	KindWalletInfo     = 13194 // what a wallet can do, replaceable
	KindWalletRequest  = 23194
	KindWalletResponse = 23195
	KindWalletNote04   = 23196 // a notification by NIP-04
	KindWalletNote44   = 23197 // a notification by NIP-44
)

// NIP44 is NIP-44 alone, unwrapped, as NIP-47 names it.
const NIP44 Scheme = "nip44_v2"

// WalletURI is a connection to a wallet (nostr+walletconnect://…). Who has it can
// do whatever the wallet allows it: it is a secret, and prints as its public half.
type WalletURI struct {
	Wallet  timmy.PubKey
	Relays  []string // at most MaxRelays, in their one form
	Key     Key      // the connection's own; never the tower's
	Address string   // lud16, or ""
}

var errWalletURI = errors.New("want nostr+walletconnect://<64 hex digits>?relay=wss://…&secret=<64 hex digits>")

// ParseWalletURI reads a connection string. The error never repeats the input.
func ParseWalletURI(s string) (WalletURI, error) {
	s = strings.TrimSpace(s)
	u, err := url.Parse(s)
	if err != nil || len(s) > maxWalletURI || u.Scheme != "nostr+walletconnect" && u.Scheme != "nostrwalletconnect" {
		return WalletURI{}, errWalletURI
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(q["secret"]) != 1 {
		return WalletURI{}, errWalletURI
	}
	// Both "scheme://key?" and "scheme:key?" are in use.
	name := lower(strings.Trim(u.Host+u.Opaque, "/"))
	wallet, err := curvePoint(name)
	if err != nil || !isHex(name, 64) {
		return WalletURI{}, errWalletURI
	}
	key, err := ParseSecret(q.Get("secret"))
	if err != nil || key.Public() == wallet {
		return WalletURI{}, errWalletURI
	}
	relays := RelayURLs(q["relay"])
	if len(relays) == 0 {
		return WalletURI{}, errWalletURI
	}
	return WalletURI{Wallet: wallet, Relays: relays, Key: key, Address: cut(q.Get("lud16"), maxRelay)}, nil
}

// String names the wallet and not the secret.
func (u WalletURI) String() string { return "wallet " + u.Wallet.String() }

// GoString is String.
func (u WalletURI) GoString() string { return u.String() }

// WalletInfo is what a wallet says about itself (kind 13194).
type WalletInfo struct {
	Methods       []string
	Notifications []string
	Schemes       []Scheme // none: neither of ours
}

// ParseWalletInfo reads an info event that was verified. Without an encryption
// tag the wallet knows NIP-04 alone.
func ParseWalletInfo(ev *nostr.Event) (WalletInfo, error) {
	if ev.Kind != KindWalletInfo {
		return WalletInfo{}, errors.New("not an info event")
	}
	info := WalletInfo{Methods: words(ev.Content), Notifications: words(first(ev.Tags, "notifications"))}
	said := words(strings.Join(all(ev.Tags, "encryption"), " "))
	if len(all(ev.Tags, "encryption")) == 0 {
		said = []string{string(NIP04)}
	}
	for _, s := range []Scheme{NIP44, NIP04} {
		if slices.Contains(said, string(s)) {
			info.Schemes = append(info.Schemes, s)
		}
	}
	return info, nil
}

// Scheme is the best that both sides know; false: there is none.
func (w WalletInfo) Scheme() (Scheme, bool) {
	if len(w.Schemes) == 0 {
		return "", false
	}
	return w.Schemes[0], true
}

// words splits what is separated by spaces or, as some wallets write it, commas.
func words(s string) []string {
	list := strings.FieldsFunc(cut(s, MaxTagItem), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' })
	return list[:min(len(list), maxWalletWords)]
}

// WalletCall is a request to a wallet. Params is written as JSON.
type WalletCall struct {
	Method  string
	Params  any
	Scheme  Scheme
	Expires time.Time // the wallet ignores it afterwards; zero: never
}

// WalletRequest makes the signed event of a call. Each has an id of its own, also
// if the call is the same.
func WalletRequest(u WalletURI, c WalletCall, now time.Time, rnd io.Reader) (*nostr.Event, error) {
	text, err := json.Marshal(struct {
		Method string `json:"method"`
		Params any    `json:"params"`
	}{c.Method, c.Params})
	if err != nil {
		return nil, fmt.Errorf("writing a wallet request: %w", err)
	}
	ev := &nostr.Event{
		Kind: KindWalletRequest, CreatedAt: nostr.Timestamp(now.Unix()),
		Tags: nostr.Tags{{"p", u.Wallet.String()}},
	}
	switch c.Scheme {
	case NIP44:
		ev.Tags = append(ev.Tags, nostr.Tag{"encryption", string(NIP44)})
		ev.Content, err = Encrypt44(u.Key, u.Wallet, string(text), rnd)
	case NIP04: // no tag: that is what its absence means to every wallet
		ev.Content, err = Encrypt04(u.Key, u.Wallet, string(text), rnd)
	default:
		err = fmt.Errorf("unknown scheme %q", c.Scheme)
	}
	if err != nil {
		return nil, err
	}
	if !c.Expires.IsZero() {
		ev.Tags = append(ev.Tags, nostr.Tag{"expiration", strconv.FormatInt(c.Expires.Unix(), 10)})
	}
	return ev, u.Key.Sign(ev)
}

// The errors of NIP-47.
const (
	WalletRateLimited   = "RATE_LIMITED"
	WalletNotImpl       = "NOT_IMPLEMENTED"
	WalletNoBalance     = "INSUFFICIENT_BALANCE"
	WalletQuota         = "QUOTA_EXCEEDED"
	WalletRestricted    = "RESTRICTED"
	WalletUnauthorized  = "UNAUTHORIZED"
	WalletInternal      = "INTERNAL"
	WalletUnsupported   = "UNSUPPORTED_ENCRYPTION"
	WalletOther         = "OTHER"
	WalletPaymentFailed = "PAYMENT_FAILED"
	WalletNotFound      = "NOT_FOUND"
)

// WalletError is a wallet's refusal, in its own words.
type WalletError struct{ Code, Message string }

// Error is the code and the words.
func (e *WalletError) Error() string { return strings.TrimSpace(e.Code + " " + e.Message) }

// ErrNotAnswer says that an event is no answer to what was asked.
var ErrNotAnswer = errors.New("not an answer to this request")

// OpenWalletAnswer reads the result of the request with that id. A refusal is a
// [*WalletError]; any other error says that the event is not the answer: wait for
// another.
func OpenWalletAnswer(u WalletURI, ev *nostr.Event, request, method string) (json.RawMessage, error) {
	if ev.Kind != KindWalletResponse || first(ev.Tags, "e") != request {
		return nil, ErrNotAnswer
	}
	text, err := openWallet(u, ev)
	if err != nil {
		return nil, err
	}
	var said struct {
		Type   string          `json:"result_type"`
		Error  json.RawMessage `json:"error"`
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal([]byte(text), &said) != nil || said.Type != "" && said.Type != method {
		return nil, ErrNotAnswer
	}
	if len(said.Error) > 0 && string(said.Error) != "null" {
		return nil, walletError(said.Error)
	}
	if len(said.Result) == 0 || string(said.Result) == "null" {
		return nil, &WalletError{WalletOther, "it answers with nothing"}
	}
	return said.Result, nil
}

// walletError reads a refusal, however malformed: it must never be taken for an
// answer.
func walletError(raw json.RawMessage) *WalletError {
	var e struct{ Code, Message string }
	if json.Unmarshal(raw, &e) != nil || e.Code == "" {
		e.Code = WalletOther
	}
	return &WalletError{cut(Defang(e.Code), maxWalletWord), cut(Defang(e.Message), maxWalletText)}
}

// WalletNote is a notification: a hint that something happened to a payment.
type WalletNote struct {
	Type string // payment_received, payment_sent, …
	Hash timmy.Hash
}

// OpenWalletNote reads a notification (kinds 23196 and 23197).
func OpenWalletNote(u WalletURI, ev *nostr.Event) (WalletNote, error) {
	if ev.Kind != KindWalletNote04 && ev.Kind != KindWalletNote44 {
		return WalletNote{}, ErrNotAnswer
	}
	text, err := openWallet(u, ev)
	if err != nil {
		return WalletNote{}, err
	}
	var said struct {
		Type string `json:"notification_type"`
		Note struct {
			Hash string `json:"payment_hash"`
		} `json:"notification"`
	}
	if json.Unmarshal([]byte(text), &said) != nil {
		return WalletNote{}, ErrNotAnswer
	}
	raw, err := hex.DecodeString(said.Note.Hash)
	if err != nil || len(raw) != 32 {
		return WalletNote{}, ErrNotAnswer
	}
	return WalletNote{Type: said.Type, Hash: timmy.Hash(raw)}, nil
}

// openWallet decrypts what the wallet, and nobody else, wrote to this connection.
func openWallet(u WalletURI, ev *nostr.Event) (string, error) {
	if ev.PubKey != u.Wallet.String() || !slices.Contains(all(ev.Tags, "p"), u.Key.Public().String()) {
		return "", ErrNotAnswer
	}
	if strings.Contains(ev.Content, "?iv=") {
		return Decrypt04(u.Key, u.Wallet, ev.Content)
	}
	return Decrypt44(u.Key, u.Wallet, ev.Content)
}
