package rest

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// The words of the HTTP authentication scheme "Payment" (draft-httpauth-payment-00) and of
// its Lightning intents (draft-lightning-charge-00, draft-lightning-session-00), which
// is also called MPP.
const (
	payScheme     = "Payment"
	payMethod     = "lightning"
	intentCharge  = "charge"
	intentSession = "session"

	actionOpen   = "open"
	actionBearer = "bearer"
	actionTopUp  = "topUp"
	actionClose  = "close"
)

// The problem types that a credential may be refused with (RFC 9457), below
// [problemBase].
const (
	badCredential   = "malformed-credential"
	badChallenge    = "unknown-challenge"
	badPreimage     = "invalid-preimage"
	badReturn       = "invalid-return-invoice"
	lateChallenge   = "challenge-expired"
	noSuchSession   = "session-not-found"
	sessionClosed   = "session-closed"
	balanceTooSmall = "insufficient-balance"

	problemBase = "https://paymentauth.org/problems/lightning/"
	problemType = "application/problem+json"
)

// payChallenge are the parameters of a challenge, as a credential echoes them.
type payChallenge struct {
	ID      string `json:"id"`
	Realm   string `json:"realm"`
	Method  string `json:"method"`
	Intent  string `json:"intent"`
	Request string `json:"request"`
	Expires string `json:"expires"`
	Digest  string `json:"digest"` // we make none of these two
	Opaque  string `json:"opaque"`
}

// chargeRequest is what a charge asks for. Its fields, and those of sessionRequest,
// stand in the order of their names: so the JSON is canonical (RFC 8785).
type chargeRequest struct {
	Amount   string      `json:"amount"`
	Currency string      `json:"currency"`
	Details  payInvoiced `json:"methodDetails"`
}

type payInvoiced struct {
	Invoice string `json:"invoice"`
	Network string `json:"network"`
	Hash    string `json:"paymentHash"`
}

// sessionRequest is what a session asks for.
type sessionRequest struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Deposit  string `json:"depositAmount"`
	Invoice  string `json:"depositInvoice"`
	Idle     string `json:"idleTimeout,omitempty"` // seconds
	Hash     string `json:"paymentHash"`
	Unit     string `json:"unitType"`
}

// payCredential is the token of "Authorization: Payment <token>".
type payCredential struct {
	Challenge payChallenge `json:"challenge"`
	Payload   struct {
		Action   string `json:"action"`
		Preimage string `json:"preimage"`
		Session  string `json:"sessionId"`
		Return   string `json:"returnInvoice"`
		TopUp    string `json:"topUpPreimage"`
	} `json:"payload"`
}

// payer is a credential whose challenge is ours and whose preimage is right. Whether
// the payment was really made is the book's to say.
type payer struct {
	challenge payChallenge
	asked     timmy.Hash // the payment that the challenge asked for
	action    string     // of a session; "" of a charge
	paid      timmy.Hash // the payment whose preimage was shown
	account   timmy.Hash // the payment that opened the account
	give      string     // the return invoice of open
}

// once is the key under which a credential is good for one call; "": for many.
func (p payer) once() string {
	if p.action == actionBearer {
		return ""
	}
	return "payment " + p.challenge.ID
}

// paysByMPP reports whether the caller speaks this scheme, where it is on.
func (a *API) paysByMPP(h http.Header) bool {
	all := h.Values("Authorization")
	if a.cfg.PaymentNetwork == "" || len(all) != 1 {
		return false
	}
	scheme, _, _ := strings.Cut(all[0], " ")
	return strings.EqualFold(scheme, payScheme)
}

// payer reads the credential of a call. The problem is the type of what is wrong
// with it, or "".
func (a *API) payer(h http.Header) (p payer, problem string) {
	_, token, _ := strings.Cut(h.Get("Authorization"), " ")
	token = strings.TrimRight(strings.TrimSpace(token), "=")
	if token == "" || len(token) > maxPayment {
		return p, badCredential
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	var c payCredential
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return p, badCredential
	}
	p.challenge = c.Challenge
	asked, ok := a.issued(c.Challenge)
	if !ok {
		return p, badChallenge
	}
	shown := c.Payload.Preimage
	p.asked, p.account, p.give = asked, asked, c.Payload.Return
	if c.Challenge.Intent == intentSession {
		p.action = c.Payload.Action
		if p.action == actionTopUp {
			shown = c.Payload.TopUp
		}
		if p.action != actionOpen {
			if p.account, err = timmy.ParseHash(c.Payload.Session); err != nil {
				return p, badCredential
			}
		}
	}
	preimage, err := hex.DecodeString(shown)
	if err != nil || len(preimage) != len(p.paid) {
		return p, badCredential
	}
	p.paid = sha256.Sum256(preimage)
	return p, p.check()
}

// check holds the preimage against what it has to open.
func (p payer) check() (problem string) {
	want, charge := p.account, p.challenge.Intent == intentCharge
	switch {
	case charge, p.action == actionBearer, p.action == actionClose, p.action == actionOpen && p.give != "":
	case p.action == actionTopUp:
		want = p.asked
	default:
		return badCredential
	}
	if !hmac.Equal(p.paid[:], want[:]) {
		return badPreimage
	}
	return ""
}

// issued reports whether a challenge is one of ours, and the payment that it
// asked for. Nothing is stored: the id is a MAC over the rest.
func (a *API) issued(p payChallenge) (h timmy.Hash, ok bool) {
	if p.Realm != a.realm() || p.Method != payMethod || !hmac.Equal([]byte(p.ID), []byte(a.challengeID(p))) {
		return h, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Request)
	if err != nil {
		return h, false
	}
	var r struct {
		Hash    string      `json:"paymentHash"`
		Details payInvoiced `json:"methodDetails"`
	}
	if json.Unmarshal(raw, &r) != nil {
		return h, false
	}
	if p.Intent == intentCharge {
		r.Hash = r.Details.Hash
	}
	h, err = timmy.ParseHash(r.Hash)
	return h, err == nil
}

// challengeID binds the parameters in the order of the draft; what is absent is
// empty.
func (a *API) challengeID(p payChallenge) string {
	h := hmac.New(sha256.New, a.mac("payment challenge"))
	io.WriteString(h, strings.Join([]string{p.Realm, p.Method, p.Intent, p.Request, p.Expires, p.Digest, p.Opaque}, "|"))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// realm is the host that callers know.
func (a *API) realm() string {
	u, err := url.Parse(a.cfg.PublicURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// offers are the challenges of this scheme for an invoice, in the order of the caller's
// liking: a charge, and a session where refunds are given. Idle is what is told of the
// session's end; 0: nothing.
func (a *API) offers(h http.Header, inv timmy.Invoice, idle time.Duration) (list []string) {
	if a.cfg.PaymentNetwork == "" {
		return nil
	}
	sats := strconv.FormatInt(inv.Amount.Sats(), 10)
	for _, intent := range a.intents(h) {
		if intent == intentCharge {
			list = append(list, a.offer(intent, inv, chargeRequest{
				Amount: sats, Currency: "sat",
				Details: payInvoiced{Invoice: inv.Bolt11, Network: a.cfg.PaymentNetwork, Hash: inv.Hash.String()},
			}))
			continue
		}
		r := sessionRequest{
			Amount: strconv.FormatInt(max(1, a.cfg.MinBalance.Sats()), 10), Currency: "sat", Unit: "request",
			Deposit: sats, Invoice: inv.Bolt11, Hash: inv.Hash.String(),
		}
		if idle > 0 {
			r.Idle = strconv.FormatInt(int64(idle/time.Second), 10)
		}
		list = append(list, a.offer(intent, inv, r))
	}
	return list
}

// intents are what a caller can be offered: all, or what it names in Accept-Payment
// ("lightning/charge, lightning/session;q=0.5").
func (a *API) intents(h http.Header) []string {
	all := []string{intentCharge, intentSession}
	if a.cfg.Refunds == nil {
		all = all[:1]
	}
	liked := map[string]float64{}
	for part := range strings.SplitSeq(h.Get("Accept-Payment"), ",") {
		name, params, _ := strings.Cut(part, ";")
		method, intent, ok := strings.Cut(strings.TrimSpace(name), "/")
		if !ok || method != payMethod && method != "*" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(params), "q="), 64)
		if err != nil {
			q = 1
		}
		for _, i := range all {
			if intent == i || intent == "*" {
				liked[i] = max(liked[i], q)
			}
		}
	}
	named := slices.DeleteFunc(slices.Clone(all), func(i string) bool { return liked[i] <= 0 })
	if len(named) == 0 {
		return all
	}
	slices.SortStableFunc(named, func(x, y string) int { return cmp.Compare(liked[y], liked[x]) })
	return named
}

// mppAlone reports whether a caller asked for this scheme and no other.
func (a *API) mppAlone(h http.Header) bool {
	return a.cfg.PaymentNetwork != "" && strings.Contains(h.Get("Accept-Payment"), payMethod+"/")
}

func (a *API) offer(intent string, inv timmy.Invoice, request any) string {
	p := payChallenge{
		Realm: a.realm(), Method: payMethod, Intent: intent, Request: encodePayment(request),
		Expires: inv.Expires.UTC().Format(time.RFC3339),
	}
	p.ID = a.challengeID(p)
	return fmt.Sprintf(`%s id="%s", realm="%s", method="%s", intent="%s", request="%s", expires="%s"`,
		payScheme, p.ID, p.Realm, p.Method, p.Intent, p.Request, p.Expires)
}

// encodePayment is the canonical JSON of one of this file's types in base64url.
func encodePayment(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(bytes.TrimRight(b.Bytes(), "\n"))
}

// payReceipt is the header Payment-Receipt of an answer that was paid for.
type payReceipt struct {
	Challenge    string `json:"challengeId"`
	Method       string `json:"method"`
	Reference    string `json:"reference"` // the payment hash
	RefundSats   *int64 `json:"refundSats,omitempty"`
	RefundStatus string `json:"refundStatus,omitempty"`
	Status       string `json:"status"`
	Timestamp    string `json:"timestamp"`
}

// receipted adds the receipt to an answer that says yes.
func (a *API) receipted(p payer, got answer) answer {
	if got.status != http.StatusOK {
		return got
	}
	r := payReceipt{
		Challenge: p.challenge.ID, Method: payMethod, Reference: p.account.String(), Status: "success",
		Timestamp: a.cfg.Now().UTC().Format(time.RFC3339),
	}
	if p.action == actionClose {
		var v closedView
		if json.Unmarshal(got.body, &v) == nil {
			r.RefundSats, r.RefundStatus = &v.Refund, v.Status
		}
	}
	got.receipt = encodePayment(r)
	return got
}

// problemView is the body of a refused credential (RFC 9457).
type problemView struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// problemBody makes the answer that a problem is told by.
func problemBody(status int, problem string) answer {
	details := map[string]string{
		badCredential:   "The token of 'Authorization: Payment' is not base64url of the JSON that the challenge's intent needs.",
		badChallenge:    "The challenge is none of this tower's, or it was used for another call.",
		badPreimage:     "The preimage is not that of the payment.",
		badReturn:       "The return invoice must be a Lightning invoice of this tower's network that names no amount and has not expired.",
		lateChallenge:   "The challenge has expired, and its invoice was not paid.",
		noSuchSession:   "There is no such session, or it was never opened.",
		sessionClosed:   "The session is closed.",
		balanceTooSmall: "The balance is too small for a request.",
	}
	title := strings.ToUpper(problem[:1]) + strings.ReplaceAll(problem[1:], "-", " ")
	out := reply(status, problemView{Type: problemBase + problem, Title: title, Status: status, Detail: details[problem]})
	out.kind = problemType
	return out
}
