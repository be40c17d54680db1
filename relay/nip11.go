package relay

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	typeInfo = "application/nostr+json"
	typeRPC  = "application/nostr+json+rpc"
)

// info is the NIP-11 document. go-nostr's type has no "self".
type info struct {
	Name          string     `json:"name"`
	Description   string     `json:"description,omitempty"`
	PubKey        string     `json:"pubkey,omitempty"` // of the administrator
	Self          string     `json:"self,omitempty"`   // of the relay
	Contact       string     `json:"contact,omitempty"`
	SupportedNIPs []int      `json:"supported_nips"`
	Software      string     `json:"software"`
	Version       string     `json:"version,omitempty"`
	Limitation    limitation `json:"limitation"`
}

type limitation struct {
	MaxMessageLength int   `json:"max_message_length"`
	MaxSubscriptions int   `json:"max_subscriptions"`
	MaxLimit         int   `json:"max_limit"`
	MaxSubIDLength   int   `json:"max_subid_length"`
	MaxEventTags     int   `json:"max_event_tags"`
	MaxContentLength int   `json:"max_content_length"`
	MinPow           int   `json:"min_pow_difficulty"`
	AuthRequired     bool  `json:"auth_required"`
	PaymentRequired  bool  `json:"payment_required"`
	RestrictedWrites bool  `json:"restricted_writes"`
	CreatedAtLower   int64 `json:"created_at_lower_limit"`
	CreatedAtUpper   int64 `json:"created_at_upper_limit"`
	DefaultLimit     int   `json:"default_limit"`
}

// document is made once, from the constants that the guard enforces. Private
// kinds need AUTH but nothing else does, so auth_required is false ("before any
// action").
func document(c Config) ([]byte, error) {
	d := info{
		Name: shorten(c.Name, maxNameSize), Description: c.Description, Contact: c.Contact,
		SupportedNIPs: []int{1, 9, 11, 17, 40, 42, 44, 59, 62, 67, 70},
		Software:      "https://github.com/timmy-tower/timmy", Version: c.Version,
		Limitation: limitation{
			MaxMessageLength: maxFrame, MaxSubscriptions: maxSubs, MaxLimit: maxLimit,
			MaxSubIDLength: maxSubID, MaxEventTags: maxTags, MaxContentLength: maxContent,
			RestrictedWrites: true, DefaultLimit: defaultLimit,
			CreatedAtLower: int64(maxPast / time.Second), CreatedAtUpper: int64(maxFuture / time.Second),
		},
	}
	if !c.Admin.IsZero() {
		d.PubKey = c.Admin.String()
	}
	if !c.Self.IsZero() {
		d.Self = c.Self.String()
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("relay: information document: %w", err)
	}
	return b, nil
}

// Handles reports whether a request is for the relay and not for the pages that
// share its address: a websocket, the NIP-11 document, its preflight, or NIP-86.
func (r *Relay) Handles(req *http.Request) bool {
	return isUpgrade(req) || isRPC(req) || asksInfo(req) ||
		req.Method == http.MethodOptions && req.URL.Path == "/"
}

func isUpgrade(req *http.Request) bool { return hasToken(req.Header, "Upgrade", "websocket") }

func isRPC(req *http.Request) bool {
	t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	return req.Method == http.MethodPost && err == nil && t == typeRPC
}

func asksInfo(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) && hasToken(req.Header, "Accept", typeInfo)
}

// hasToken looks for one item of a comma-separated header, whatever its case and
// parameters.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			item, _, _ = strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

func (r *Relay) serveInfo(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Add("Vary", "Accept")
	switch {
	case req.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case asksInfo(req):
		h.Set("Content-Type", typeInfo)
		_, _ = w.Write(r.info) // nobody to tell
	default:
		http.Error(w, "this is a Nostr relay: connect with a websocket", http.StatusUpgradeRequired)
	}
}
