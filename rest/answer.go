package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/timmy-tower/timmy"
)

// The documented words.
const (
	msgNoSession   = "Session not found"
	msgNoRequest   = "Request not found"
	msgBearer      = "Invalid or missing macaroon. Include 'Authorization: Bearer <macaroon>' header."
	msgBearerShort = "Invalid or missing macaroon"
	msgToken       = "Invalid or expired nostr_token"
	msgExpired     = "Session has expired"
	msgBalance     = "Insufficient balance"
	msgText        = "Body must include 'request' string"
	msgPending     = "A topup invoice is already pending. Pay it first or poll GET /sessions/:id."
)

// answer is a response before it is written, so that it can be kept under an
// Idempotency-Key and written again byte for byte.
type answer struct {
	status     int
	body       []byte
	kind       string        // Content-Type; "": JSON
	retry      time.Duration // Retry-After
	link       string
	location   string
	challenges []string // WWW-Authenticate, a field each
	receipt    string   // Payment-Receipt
	replayed   bool
	open       bool // what came of it is not known yet: an Idempotency-Key stays taken
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", cmp.Or(a.kind, "application/json; charset=utf-8"))
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(a.retry/time.Second))))
	}
	if a.link != "" {
		h.Set("Link", a.link)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.replayed {
		h.Set("Idempotency-Replayed", "true")
	}
	if a.receipt != "" {
		h.Set("Payment-Receipt", a.receipt)
	}
	switch {
	case len(a.challenges) > 0:
		h["Www-Authenticate"] = a.challenges
	case a.status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="timmy"`)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the caller may be gone; the row is the answer
}

// reply answers with a value of this package's own types, which always encode.
func reply(status int, v any) answer {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return refuse(http.StatusInternalServerError, "Internal error")
	}
	return answer{status: status, body: bytes.TrimRight(b.Bytes(), "\n")}
}

type errorBody struct {
	Error string `json:"error"`
}

func refuse(status int, message string) answer { return reply(status, errorBody{message}) }

func away(message string) answer {
	a := refuse(http.StatusServiceUnavailable, message)
	a.retry = retryAway
	return a
}

func tooMany() answer {
	a := refuse(http.StatusTooManyRequests, "Too many requests")
	a.retry = retryBusy
	return a
}

// failed maps an error to an answer. Internal errors are logged and answered
// with the fixed text of the route: causes hold paths, hosts and SQL.
func failed(c *call, err error, fixed string) answer {
	switch timmy.CodeOf(err) {
	case timmy.Invalid:
		return refuse(http.StatusBadRequest, timmy.MessageOf(err))
	case timmy.Unauthorized:
		return refuse(http.StatusUnauthorized, timmy.MessageOf(err))
	case timmy.NotFound:
		return refuse(http.StatusNotFound, timmy.MessageOf(err))
	case timmy.Conflict:
		return refuse(http.StatusConflict, timmy.MessageOf(err))
	case timmy.Unpaid:
		return refuse(http.StatusPaymentRequired, timmy.MessageOf(err))
	case timmy.Expired:
		return refuse(http.StatusGone, timmy.MessageOf(err))
	case timmy.Limited:
		a := refuse(http.StatusTooManyRequests, timmy.MessageOf(err))
		a.retry = retryBusy
		return a
	case timmy.Unavailable:
		c.log.Warn("http: unavailable", "err", err)
		return away(timmy.MessageOf(err))
	}
	c.log.Error("http: "+fixed, "err", err)
	return refuse(http.StatusInternalServerError, fixed)
}
