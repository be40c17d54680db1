package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/timmy-tower/timmy"
)

// task is a call that may carry an Idempotency-Key.
type task struct {
	route      string // and what it is about: "topup <session>"
	credential string // "" without
	body       []byte
	key        string // instead of the header's; "": as the header says
	timed      bool   // the subject tells when it was made, and is no secret
	// do does the work under an id that is the same on every try; again says that
	// an earlier try may have got somewhere.
	do func(ctx context.Context, subject string, again bool) answer
	// known looks for what an unfinished try has brought since; nil: nothing.
	known func(ctx context.Context, subject string) (answer, bool)
}

// idemKey reads the header; "" without it. Without a credential the key is the
// only thing that keeps a stranger from another's answer, so it must be a UUID.
func idemKey(h http.Header, credential string) (string, *answer) {
	all, ok := h["Idempotency-Key"]
	if !ok {
		return "", nil
	}
	bad := no(http.StatusBadRequest, "Idempotency-Key must be 1 to 255 printable ASCII characters")
	if len(all) != 1 || all[0] == "" || len(all[0]) > maxIdemKey {
		return "", bad
	}
	key := all[0]
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", bad
		}
	}
	if credential == "" && !isUUID(strings.ToLower(key)) {
		return "", no(http.StatusBadRequest, "Idempotency-Key must be a UUID")
	}
	return key, nil
}

// rowKey is what the header is stored under: route, credential and key, each
// hashed, so that a dump of the rows gives nobody's key away.
func rowKey(route, credential, key string) string {
	h := sha256.New()
	for _, s := range []string{route, credential, key} {
		d := sha256.Sum256([]byte(s))
		h.Write(d[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// once runs a task, or gives the answer that an earlier call with the same key
// was given. The caller has been authenticated: rows are per credential.
func (a *API) once(c *call, t task) answer {
	key, bad := idemKey(c.Header, t.credential)
	if bad != nil {
		return *bad
	}
	name := a.uuid
	if t.timed {
		name = a.timedUUID
	}
	subject, err := name()
	if err != nil {
		return failed(c, err, "Request failed")
	}
	ctx, cancel := a.detached(c)
	defer cancel()
	if t.key != "" {
		key = t.key
	}
	if key == "" {
		return t.do(ctx, subject, false)
	}
	row := rowKey(t.route, t.credential, key)
	if got, ok := a.unsettled.take(row); ok {
		a.settleKey(c, row, got)
	}
	idem, err := a.cfg.IdemKeys.Reserve(ctx, row, sha256.Sum256(t.body), subject)
	if err != nil {
		return failed(c, err, "Request failed")
	}
	switch idem.State {
	case IdemDone:
		return answer{status: idem.Status, body: idem.Body, replayed: true}
	case IdemMismatch:
		return refuse(http.StatusUnprocessableEntity, "Idempotency-Key was used with another body")
	case IdemInFlight:
		return a.inFlight(ctx, c, t, idem, row)
	case IdemFresh:
		return a.settleKey(c, row, t.do(ctx, idem.Subject, idem.Subject != subject))
	}
	return failed(c, fmt.Errorf("idempotency state %q", idem.State), "Request failed")
}

// inFlight answers 409, unless the try that holds the key gave up waiting and
// the work is done by now.
func (a *API) inFlight(ctx context.Context, c *call, t task, idem Idem, row string) answer {
	if t.known != nil && idem.Subject != "" {
		if got, ok := t.known(ctx, idem.Subject); ok {
			return a.settleKey(c, row, got)
		}
	}
	busy := refuse(http.StatusConflict, "A call with this Idempotency-Key is in flight")
	busy.retry = retryBusy
	return busy
}

// settleKey keeps the answer of what was done and frees the key of what was
// refused, so that a corrected try may use it again. An open answer leaves it. One
// that the books could not take is settled when its caller comes again.
func (a *API) settleKey(c *call, row string, got answer) answer {
	if got.open {
		return got
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), pageWait)
	defer cancel()
	var err error
	if got.status < 300 {
		err = a.cfg.IdemKeys.Keep(ctx, row, got.status, got.body)
	} else {
		err = a.cfg.IdemKeys.Drop(ctx, row)
	}
	if err != nil { // what was done stays done: the answer is true
		c.log.Error("http: settling idempotency key", "err", err)
		a.unsettled.keep(row, got)
	}
	return got
}

// unsettled are the answers that the books could not take, by row, the newest
// maxUnsettled of them. Each is given out once: an answer that two callers settle would
// free the key under the second's feet, and the work be done twice.
type unsettled struct {
	mu sync.Mutex
	by *lru.Cache[string, answer]
}

func newUnsettled() (*unsettled, error) {
	by, err := lru.New[string, answer](maxUnsettled)
	if err != nil {
		return nil, fmt.Errorf("making a memory of answers: %w", err)
	}
	return &unsettled{by: by}, nil
}

func (u *unsettled) keep(row string, got answer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.by.Add(row, got)
}

func (u *unsettled) take(row string) (got answer, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	got, ok = u.by.Get(row)
	u.by.Remove(row)
	return got, ok
}

// unknown reports whether err says that there is no such thing.
func unknown(err error) bool { return timmy.CodeOf(err) == timmy.NotFound }
