package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Identity checks a NIP-98 Authorization header, and that it is used once. Every
// refusal is a [timmy.Error].
type Identity interface {
	Verify(ctx context.Context, header, method, url string, body []byte) (timmy.PubKey, error)
}

// Call is one call of the management API (NIP-86).
type Call struct {
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// method is one line of the management API.
type method struct {
	name string
	do   func(r *Relay, ctx context.Context, p params) (any, error)
}

// methods are all there are. Roles, and events that wait for moderation, do not
// exist here.
func methods() []method {
	return []method{
		{"supportedmethods", func(*Relay, context.Context, params) (any, error) { return Methods(), nil }},
		{"banpubkey", decide(aboutKey, false)},
		{"unbanpubkey", undo(aboutKey, false)},
		{"listbannedpubkeys", decided(aboutKey, false, "pubkey")},
		{"allowpubkey", decide(aboutKey, true)},
		{"unallowpubkey", undo(aboutKey, true)},
		{"listallowedpubkeys", decided(aboutKey, true, "pubkey")},
		{"banevent", decide(aboutEvent, false)},
		{"unbanevent", undo(aboutEvent, false)},
		{"listbannedevents", decided(aboutEvent, false, "id")},
		{"allowkind", decide(aboutKind, true)},
		{"disallowkind", decide(aboutKind, false)},
		{"listallowedkinds", func(r *Relay, _ context.Context, _ params) (any, error) { return r.kinds(true), nil }},
		{"listdisallowedkinds", func(r *Relay, _ context.Context, _ params) (any, error) { return r.kinds(false), nil }},
		{"blockip", decide(aboutAddress, false)},
		{"unblockip", undo(aboutAddress, false)},
		{"listblockedips", decided(aboutAddress, false, "ip")},
		{"changerelayname", change(textName, maxNameSize)},
		{"changerelaydescription", change(textDescription, maxDescription)},
		{"changerelayicon", change(textIcon, clientMaxURL)},
	}
}

// Methods names the calls that [Relay.Manage] knows.
func Methods() []string {
	var names []string
	for _, m := range methods() {
		if m.name != "supportedmethods" {
			names = append(names, m.name)
		}
	}
	return names
}

// Manage runs one call of the management API for somebody who may. What it answers
// is the result as NIP-86 has it. NotFound: no such method; Invalid: the parameters.
func (r *Relay) Manage(ctx context.Context, c Call) (any, error) {
	for _, m := range methods() {
		if m.name == c.Method {
			return m.do(r, ctx, c.Params)
		}
	}
	return nil, timmy.Errorf(timmy.NotFound, "unknown method %q", shorten(c.Method, maxLabel))
}

// params are a call's, as they came.
type params []json.RawMessage

// text is the nth parameter as a string; one that is missing is empty.
func (p params) text(n int) string {
	if n >= len(p) {
		return ""
	}
	s, _ := text(p[n])
	return s
}

// value is the first parameter as a rule's value: a key, an id, a kind, a network.
func (p params) value(subject string) (string, error) {
	if len(p) == 0 {
		return "", timmy.Errorf(timmy.Invalid, "a parameter is missing")
	}
	switch s := p.text(0); subject {
	case aboutKind:
		k, err := strconv.ParseUint(string(p[0]), 10, 16)
		if err != nil {
			return "", timmy.Errorf(timmy.Invalid, "want a kind from 0 to 65535")
		}
		return strconv.FormatUint(k, 10), nil
	case aboutAddress:
		return network(s)
	default:
		if !hex64(s) {
			return "", timmy.Errorf(timmy.Invalid, "want 64 lower-case hex digits")
		}
		return s, nil
	}
}

// network reads an address, or a network as in 192.0.2.0/24.
func network(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Bits() == 0 {
		return "", timmy.Errorf(timmy.Invalid, "want an address such as 192.0.2.1, or a network such as 192.0.2.0/24")
	}
	return p.Masked().String(), nil
}

type handler = func(r *Relay, ctx context.Context, p params) (any, error)

func decide(subject string, allowed bool) handler {
	return func(r *Relay, ctx context.Context, p params) (any, error) {
		v, err := p.value(subject)
		if err != nil {
			return nil, err
		}
		if subject == aboutKey && !allowed && r.isOwner(v) {
			return nil, timmy.Errorf(timmy.Invalid, "the tower and its operators cannot be banned")
		}
		if err := r.rules.set(ctx, rule{Subject: subject, Value: v, Allowed: allowed, Reason: p.text(1)}); err != nil {
			return nil, err
		}
		r.log.Info("a rule of the relay was made", "about", subject, "what", v, "allowed", allowed)
		r.enforce(subject)
		return true, nil
	}
}

func undo(subject string, allowed bool) handler {
	return func(r *Relay, ctx context.Context, p params) (any, error) {
		v, err := p.value(subject)
		if err != nil {
			return nil, err
		}
		if err := r.rules.lift(ctx, rule{Subject: subject, Value: v, Allowed: allowed}); err != nil {
			return nil, err
		}
		r.log.Info("a rule of the relay was lifted", "about", subject, "what", v, "allowed", allowed)
		return true, nil
	}
}

func decided(subject string, allowed bool, name string) handler {
	return func(r *Relay, _ context.Context, _ params) (any, error) {
		list := []map[string]string{}
		for _, x := range r.rules.list(subject, allowed) {
			list = append(list, map[string]string{name: strings.TrimSuffix(strings.TrimSuffix(x.Value, "/32"), "/128"), "reason": x.Reason})
		}
		return list, nil
	}
}

func change(name string, most int) handler {
	return func(r *Relay, ctx context.Context, p params) (any, error) {
		if len(p) == 0 {
			return nil, timmy.Errorf(timmy.Invalid, "a parameter is missing")
		}
		s, ok := text(p[0])
		if !ok || len(s) > most {
			return nil, timmy.Errorf(timmy.Invalid, "want a text of at most %d bytes", most)
		}
		if u, err := url.Parse(s); name == textIcon && s != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return nil, timmy.Errorf(timmy.Invalid, "want the address of a picture, as in https://host/icon.png")
		}
		if err := r.rules.say(ctx, name, s); err != nil {
			return nil, err
		}
		return true, r.describe()
	}
}

// kinds lists those that are allowed, or refused, by name: the settings and what
// operators said since. No allowed one at all means that every kind is.
func (r *Relay) kinds(allowed bool) []int {
	p := &r.cfg.Policy
	ranges := p.Refused
	if allowed {
		ranges = p.Kinds
	}
	list := []int{}
	for _, k := range ranges {
		for kind := k.From; kind <= k.To; kind++ {
			list = append(list, kind)
		}
	}
	for _, x := range r.rules.list(aboutKind, allowed) {
		kind, _ := strconv.Atoi(x.Value) // it was one when it was stored
		list = append(list, kind)
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(kind int) bool { return r.takesKind(kind) != allowed })
}

// enforce makes a new rule hold for what is there already: connections from a
// blocked address end, and the sweeper deletes what is banned.
func (r *Relay) enforce(subject string) {
	if subject == aboutAddress {
		for _, g := range r.connections() {
			if r.rules.blocks(g.addr) {
				g.kill(errBlocked)
			}
		}
		return
	}
	signal(r.store.swept)
}

var errBlocked = errors.New("address is blocked")

// isOwner reports whether a key, in hex, is the tower's or an operator's.
func (r *Relay) isOwner(key string) bool {
	return r.owners[key]
}

// managed reports whether anybody may manage this relay over HTTP.
func (r *Relay) managed() bool { return r.cfg.Identity != nil && len(r.cfg.Operators) > 0 }

// serveRPC answers a call of the management API.
func (r *Relay) serveRPC(w http.ResponseWriter, req *http.Request) {
	if !r.managed() {
		http.Error(w, "relay management is not offered here", http.StatusUnsupportedMediaType)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "application/json")
	result, err := r.rpc(w, req)
	if err == nil {
		writeRPC(w, http.StatusOK, map[string]any{"result": result})
		return
	}
	status := statusOf(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Nostr")
	}
	if status == http.StatusInternalServerError {
		r.log.Error("a management call failed", "err", err)
	}
	writeRPC(w, status, map[string]any{"error": timmy.MessageOf(err)})
}

func writeRPC(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}

// errTooLong and errForbidden have statuses that no code has.
var (
	errTooLong   = &timmy.Error{Code: timmy.Invalid, Message: "the call is too long"}
	errForbidden = &timmy.Error{Code: timmy.Unauthorized, Message: "only operators may manage this relay"}
)

func statusOf(err error) int {
	switch {
	case errors.Is(err, errTooLong):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	}
	switch timmy.CodeOf(err) {
	case timmy.Unauthorized:
		return http.StatusUnauthorized
	case timmy.Invalid:
		return http.StatusBadRequest
	case timmy.NotFound:
		return http.StatusNotFound
	case timmy.Limited:
		return http.StatusTooManyRequests
	case timmy.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// rpc lets operators through and runs the call.
func (r *Relay) rpc(w http.ResponseWriter, req *http.Request) (any, error) {
	if r.rates.address(r.doors.client(req)) != nil {
		return nil, timmy.Errorf(timmy.Limited, "too many calls from your network")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxCall))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, errTooLong
	}
	if err != nil {
		return nil, timmy.Errorf(timmy.Invalid, "the call could not be read")
	}
	header := req.Header.Get("Authorization")
	who, err := r.cfg.Identity.Verify(req.Context(), header, req.Method, r.addressed(header), body)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(r.cfg.Operators, who) {
		return nil, errForbidden
	}
	var c Call
	if len(body) == 0 {
		return nil, timmy.Errorf(timmy.Invalid, "the call is empty")
	}
	if items, err := splitFrame(append(append([]byte{'['}, body...), ']')); err != nil || len(items) != 1 || json.Unmarshal(body, &c) != nil {
		return nil, timmy.Errorf(timmy.Invalid, "the call is not JSON of the form {\"method\":…,\"params\":[…]}")
	}
	return r.Manage(req.Context(), c)
}

// addressed is the URL that a caller's signature must be for: the relay's own.
// NIP-86 says "the relay URL", which some clients write as wss:// and others as
// https://, with or without the last slash.
func (r *Relay) addressed(header string) string {
	ws := strings.TrimSuffix(r.cfg.URL, "/")
	web := "http" + strings.TrimPrefix(ws, "ws")
	if u := nip.HTTPAuthURL(header); slices.Contains([]string{ws, ws + "/", web, web + "/"}, u) {
		return u
	}
	return web + "/"
}
