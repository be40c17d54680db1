package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
)

// mac is HMAC-SHA256 under the server key. Every use has a label of its own, so
// that no output of one use is an output of another.
func (a *API) mac(label string, parts ...string) []byte {
	h := hmac.New(sha256.New, a.cfg.ServerKey)
	io.WriteString(h, label) // a hash never fails
	for _, p := range parts {
		io.WriteString(h, "|"+p)
	}
	return h.Sum(nil)
}

// secret is what a session's bearer was before it was a macaroon: 64 hex digits,
// derived, never stored. Who was given it can use it for good, and it is what
// Idempotency-Keys are kept under.
func (a *API) secret(s timmy.Session) string {
	return hex.EncodeToString(a.mac("bearer", s.ID, strconv.FormatInt(s.Bearer, 10)))
}

// presents is what the caller's credential allows on s. Digests are compared, in
// constant time. A session that was never paid has no credential.
func (a *API) presents(r *http.Request, s timmy.Session) (token, grant, bool) {
	f := factsOf(r)
	if f.shown.session == s.ID && f.shown.bearer == s.Bearer && s.Bearer != 0 {
		return f.shown.token, f.shown.grant, true
	}
	t, g, ok := a.checked(r.Header, s)
	if ok {
		f.shown = shown{session: s.ID, bearer: s.Bearer, token: t, grant: g}
	}
	return t, g, ok
}

// shown is a credential that was checked, and the session that it is for.
type shown struct {
	session string
	bearer  int64
	token   token
	grant   grant
}

// checked is presents without a memory.
func (a *API) checked(h http.Header, s timmy.Session) (token, grant, bool) {
	if s.Bearer == 0 {
		return token{}, grant{}, false
	}
	if given, ok := bearerOf(h); ok && sameText(given, a.secret(s)) {
		return token{use: useBearer}, everything(), true
	}
	for _, t := range a.tokens(h) {
		if hmac.Equal(t.id, a.tokenID(t.use, s)) {
			g, ok := a.granted(t.caveats)
			return t, g, ok
		}
	}
	return token{}, grant{}, false
}

func sameText(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return hmac.Equal(x[:], y[:])
}

// pays reports whether this is a request on a session that was paid for. Those
// are bounded by what they cost and by the desk, not by the caller's address:
// many customers may share one. It is a matter of a hash, without the database.
func (a *API) pays(r *http.Request) bool {
	if r.Method != http.MethodPost || r.Header["Authorization"] == nil {
		return false
	}
	path := strings.TrimPrefix(r.URL.Path, "/api")
	if path == askPath {
		if a.paysByMPP(r.Header) {
			_, problem := a.payer(r.Header)
			return problem == ""
		}
		return len(a.tokens(r.Header)) > 0
	}
	rest, ok := strings.CutPrefix(path, "/sessions/")
	id, isRequest := strings.CutSuffix(rest, "/request")
	if !ok || !isRequest {
		return false
	}
	for generation := int64(1); generation <= maxGenerations; generation++ {
		if _, _, ok := a.presents(r, timmy.Session{ID: id, Bearer: generation}); ok {
			return true
		}
	}
	return false
}

// authorization splits the header. Two headers are refused: which of them counts
// would be anybody's guess.
func authorization(h http.Header) (scheme, rest string, ok bool) {
	all := h.Values("Authorization")
	if len(all) != 1 || len(all[0]) > maxCredential {
		return "", "", false
	}
	scheme, rest, _ = strings.Cut(all[0], " ")
	rest = strings.TrimSpace(rest)
	return scheme, rest, rest != ""
}

// bearerOf reads "Authorization: Bearer <token>", the scheme in any case.
func bearerOf(h http.Header) (string, bool) {
	scheme, rest, ok := authorization(h)
	return rest, ok && strings.EqualFold(scheme, "bearer")
}

// opaque names a request to operators without giving the request's id away.
func (a *API) opaque(id timmy.RequestID) string {
	return hex.EncodeToString(a.mac("opaque", string(id)))[:16]
}

func (a *API) bytes(n int) ([]byte, error) {
	a.random.Lock()
	defer a.random.Unlock()
	b := make([]byte, n)
	if _, err := io.ReadFull(a.cfg.Rand, b); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	return b, nil
}

// uuid makes a random UUID (version 4): 122 random bits.
func (a *API) uuid() (string, error) {
	b, err := a.bytes(16)
	if err != nil {
		return "", err
	}
	return formatUUID(b, 4), nil
}

// timedUUID makes a UUID that begins with the time in milliseconds (version 7, RFC 9562),
// so that what the books have in its order is written side by side. Its 74 random bits
// make it unique; it is no secret.
func (a *API) timedUUID() (string, error) {
	b, err := a.bytes(16)
	if err != nil {
		return "", err
	}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(a.cfg.Now().UnixMilli()))
	copy(b, at[2:])
	return formatUUID(b, 7), nil
}

// requestID is for the log; without randomness it is empty, which harms nobody.
func (a *API) requestID() string {
	b, _ := a.bytes(8)
	return hex.EncodeToString(b)
}

func formatUUID(b []byte, version byte) string {
	var u [16]byte
	copy(u[:], b)
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// isUUID reports whether s has the form of a UUID, in lower case as we write
// them: whatever else is asked for, we did not make it.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return true
}
