package relay

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
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
	Icon          string     `json:"icon,omitempty"`
	PubKey        string     `json:"pubkey,omitempty"` // of the administrator
	Self          string     `json:"self,omitempty"`   // of the relay
	Contact       string     `json:"contact,omitempty"`
	SupportedNIPs []int      `json:"supported_nips"`
	Software      string     `json:"software"`
	Version       string     `json:"version,omitempty"`
	Limitation    limitation `json:"limitation"`
	PaymentsURL   string     `json:"payments_url,omitempty"`
	Fees          *fees      `json:"fees,omitempty"`
}

type fees struct {
	Admission []fee `json:"admission"`
}

type fee struct {
	Amount int64  `json:"amount"`
	Unit   string `json:"unit"`
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

// supported are the NIPs that this relay's tests hold it to. Which of 13, 86 and 98
// are among them is the operator's choice.
func (r *Relay) supported() []int {
	list := []int{1, 9, 11, 17, 40, 42, 44, 59, 62, 67, 70}
	if r.cfg.Policy.PowBits > 0 {
		list = append(list, 13)
	}
	if r.managed() {
		list = append(list, 86, 98)
	}
	slices.Sort(list)
	return list
}

// describe makes the document from the constants and the policy that the guard
// enforces. Private kinds need AUTH but nothing else does, and reading is free, so
// auth_required and payment_required are false ("before any action").
func (r *Relay) describe() error {
	c := &r.cfg
	d := info{
		Name:        shorten(r.rules.text(textName, c.Name), maxNameSize),
		Description: r.rules.text(textDescription, c.Description), Icon: r.rules.text(textIcon, c.Icon), Contact: c.Contact,
		SupportedNIPs: r.supported(),
		Software:      "https://github.com/timmy-tower/timmy", Version: c.Version,
		Limitation: limitation{
			MaxMessageLength: maxFrame, MaxSubscriptions: maxSubs, MaxLimit: maxLimit,
			MaxSubIDLength: maxSubID, MaxEventTags: maxTags, MaxContentLength: maxContent,
			MinPow: c.Policy.PowBits, RestrictedWrites: c.Policy.restricts(), DefaultLimit: defaultLimit,
			CreatedAtLower: int64(maxPast / time.Second), CreatedAtUpper: int64(maxFuture / time.Second),
		},
	}
	if c.Policy.Admission > 0 {
		d.PaymentsURL = c.Policy.PayAt
		d.Fees = &fees{Admission: []fee{{Amount: int64(c.Policy.Admission), Unit: "msats"}}}
	}
	if len(c.Operators) > 0 {
		d.PubKey = c.Operators[0].String()
	}
	if !c.Self.IsZero() {
		d.Self = c.Self.String()
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("relay: information document: %w", err)
	}
	r.info.Store(&b)
	return nil
}

// Handles reports whether a request is for the relay and not for the pages that
// share its address: a websocket, the NIP-11 document, its preflight, or NIP-86.
func (r *Relay) Handles(req *http.Request) bool {
	return isUpgrade(req) || r.isRPC(req) || asksInfo(req) ||
		req.Method == http.MethodOptions && req.URL.Path == "/"
}

func isUpgrade(req *http.Request) bool { return hasToken(req.Header, "Upgrade", "websocket") }

// isRPC looks at the path too: a caller of the pages may call its body what it likes.
// A proxy in front may have taken the path of the relay's URL away.
func (r *Relay) isRPC(req *http.Request) bool {
	if p := req.URL.Path; p != "/" && p != r.path && p != r.path+"/" {
		return false
	}
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
	h.Set("Access-Control-Allow-Headers", "*, Authorization") // which the star leaves out
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	h.Add("Vary", "Accept")
	switch {
	case req.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case asksInfo(req):
		h.Set("Content-Type", typeInfo)
		_, _ = w.Write(*r.info.Load()) // nobody to tell
	default:
		http.Error(w, "this is a Nostr relay: connect with a websocket", http.StatusUpgradeRequired)
	}
}
