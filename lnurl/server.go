package lnurl

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Config is what a [Server] needs. PublicURL, Name, Key, Till, Book and
// Private are required.
type Config struct {
	PublicURL string       // scheme and host alone; every address we give out is made of it, never of a header
	Name      string       // local part of the address and of NIP-05, as in "timmy"
	Key       timmy.PubKey // whom zaps must name, and who signs their receipts
	RelayURL  string       // told by NIP-05
	Min, Max  timmy.Msat   // of one payment; zero: DefaultMin, DefaultMax
	Title     string       // what wallets show; changing it is safe, for no invoice outlives the process that named it
	Till      Till
	Book      Book

	// Private says who made a private zap, and what they wrote: nip.OpenPrivateZap
	// with the key that lives elsewhere.
	Private func(nip.ZapRequest) (from timmy.PubKey, comment string, err error)

	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Calls          Rate           // of one address prefix, all routes
	Invoices       Rate           // of one address prefix
	Total          Rate           // invoices of all callers

	Now func() time.Time
	Log *slog.Logger
}

// Server answers /.well-known/lnurlp/, /lnurlp/ and /.well-known/nostr.json. It
// is safe for concurrent use.
type Server struct {
	cfg      Config
	host     string
	metadata string // one string for both calls: wallets compare its hash
	calls    *buckets
	invoices *buckets
	totalMu  sync.Mutex
	total    bucket
	counts   struct{ invoices, zaps, refused, limited, unavailable atomic.Int64 }
}

// Stats counts since the start.
type Stats struct {
	Invoices, Zaps int64 // invoices given out, and how many of them were for zaps
	Refused        int64 // the caller's mistake
	Limited        int64 // too many
	Unavailable    int64 // the wallet or the book was away
}

// New makes a Server and refuses a configuration that would give out wrong
// addresses.
func New(cfg Config) (*Server, error) {
	u, err := url.Parse(cfg.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("lnurl: the public URL must be http(s)://host and nothing more")
	}
	if !localPart(cfg.Name) || cfg.Name == "_" || cfg.Name == "verify" {
		return nil, fmt.Errorf("lnurl: %q cannot be the name of a lightning address", cfg.Name)
	}
	if cfg.Key.IsZero() || cfg.Till == nil || cfg.Book == nil || cfg.Private == nil {
		return nil, errors.New("lnurl: key, till, book and the opener of private zaps are required")
	}
	if cfg.Min <= 0 {
		cfg.Min = DefaultMin
	}
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	if cfg.Min > cfg.Max || cfg.Max > timmy.MaxMsat {
		return nil, errors.New("lnurl: the smallest payment is above the largest")
	}
	if cfg.Title == "" {
		cfg.Title = "Top up " + cfg.Name
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.PublicURL = u.Scheme + "://" + strings.ToLower(u.Host)
	cfg.Total = cfg.Total.or(Rate{totalPerMinute, totalBurst})
	s := &Server{cfg: cfg, host: strings.ToLower(u.Host)}
	now := cfg.Now()
	s.calls = newBuckets(cfg.Calls.or(Rate{callsPerMinute, callsBurst}), now)
	s.invoices = newBuckets(cfg.Invoices.or(Rate{invoicesPerMinute, invoicesBurst}), now)
	s.total = bucket{float64(cfg.Total.Burst), now}
	s.metadata = string(encode([][2]string{{"text/plain", cfg.Title}, {"text/identifier", s.Address()}}))
	return s, nil
}

// Address is the lightning address, which is the NIP-05 name as well.
func (s *Server) Address() string { return s.cfg.Name + "@" + s.host }

// PayURL is where wallets start (LUD-16).
func (s *Server) PayURL() string { return s.cfg.PublicURL + "/.well-known/lnurlp/" + s.cfg.Name }

// LNURL is PayURL as lnurl1… (LUD-01), for QR codes.
func (s *Server) LNURL() string { return nip.EncodeLNURL(s.PayURL()) }

// Stats counts since the start.
func (s *Server) Stats() Stats {
	c := &s.counts
	return Stats{c.invoices.Load(), c.zaps.Load(), c.refused.Load(), c.limited.Load(), c.unavailable.Load()}
}

// ServeHTTP routes by the path as it was sent: nothing is cleaned or redirected,
// because those who fetch NIP-05 names must not follow redirects.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Method == http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		s.fail(w, http.StatusMethodNotAllowed, "only GET is known here")
	case len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxURI:
		s.fail(w, http.StatusRequestURITooLong, "the request is too long")
	case !s.calls.take(prefixOf(r, s.cfg.TrustedProxies), s.cfg.Now()):
		s.limited(w)
	default:
		s.route(w, r)
	}
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if path == "/.well-known/nostr.json" {
		s.names(w, r)
		return
	}
	if name, ok := strings.CutPrefix(path, "/.well-known/lnurlp/"); ok {
		s.pay(w, name)
		return
	}
	rest, ok := strings.CutPrefix(path, "/lnurlp/")
	first, second, _ := strings.Cut(rest, "/")
	switch {
	case ok && first == "verify":
		s.verify(w, r, second)
	case ok && first == s.cfg.Name && second == "callback":
		s.callback(w, r)
	default:
		s.fail(w, http.StatusNotFound, "unknown user")
	}
}

// pay is the first call of LUD-06, at the address of LUD-16.
func (s *Server) pay(w http.ResponseWriter, name string) {
	if name != s.cfg.Name {
		s.fail(w, http.StatusNotFound, "unknown user")
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"tag": "payRequest", "callback": s.cfg.PublicURL + "/lnurlp/" + s.cfg.Name + "/callback",
		"minSendable": int64(s.cfg.Min), "maxSendable": int64(s.cfg.Max), "metadata": s.metadata,
		"commentAllowed": MaxComment, "allowsNostr": true, "nostrPubkey": s.cfg.Key,
		"payerData": map[string]any{"pubkey": map[string]bool{"mandatory": false}},
	})
}

// names is NIP-05. An unknown name is an empty answer, not an error.
func (s *Server) names(w http.ResponseWriter, r *http.Request) {
	names := map[string]timmy.PubKey{}
	asked := r.URL.Query().Get("name")
	for _, n := range []string{s.cfg.Name, "_"} {
		if asked == "" || asked == n {
			names[n] = s.cfg.Key
		}
	}
	out := map[string]any{"names": names}
	if len(names) > 0 && s.cfg.RelayURL != "" {
		out["relays"] = map[string][]string{s.cfg.Key.String(): {s.cfg.RelayURL}}
	}
	reply(w, http.StatusOK, out)
}

// verify is LUD-21. The payment hash is the secret: 256 bits that only those know
// who were shown the invoice.
func (s *Server) verify(w http.ResponseWriter, r *http.Request, hash string) {
	h, err := timmy.ParseHash(hash)
	if err != nil {
		s.fail(w, http.StatusOK, "Not found")
		return
	}
	inv, err := s.cfg.Book.Invoice(r.Context(), h)
	switch {
	case timmy.CodeOf(err) == timmy.NotFound || err == nil && inv.Bolt11 == "":
		s.fail(w, http.StatusOK, "Not found")
		return
	case err != nil:
		s.unavailable(w, "reading an invoice", err)
		return
	}
	out := map[string]any{"status": "OK", "settled": inv.Settled, "preimage": nil, "pr": inv.Bolt11}
	if inv.Settled && inv.Preimage != [32]byte{} {
		out["preimage"] = fmt.Sprintf("%x", inv.Preimage)
	}
	reply(w, http.StatusOK, out)
}

// fail answers in LUD-06's words.
func (s *Server) fail(w http.ResponseWriter, status int, reason string) {
	s.counts.refused.Add(1)
	reply(w, status, map[string]string{"status": "ERROR", "reason": reason})
}

func (s *Server) limited(w http.ResponseWriter) {
	s.counts.limited.Add(1)
	w.Header().Set("Retry-After", "10")
	reply(w, http.StatusTooManyRequests, map[string]string{"status": "ERROR", "reason": "rate-limited: try again later"})
}

func (s *Server) unavailable(w http.ResponseWriter, doing string, err error) {
	s.counts.unavailable.Add(1)
	s.cfg.Log.Error(doing+" failed", "err", err)
	w.Header().Set("Retry-After", fmt.Sprint(retryAfter))
	reply(w, http.StatusServiceUnavailable, map[string]string{"status": "ERROR", "reason": "temporarily unavailable"})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(v)) // who hangs up gets nothing
}

// encode leaves <, > and & alone: the metadata is hashed as a string, and some
// wallets decode and encode it again.
func encode(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(`{"status":"ERROR","reason":"internal error"}`)
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

func localPart(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" &&
		strings.Trim(s, ".") != ""
}
