package rest

import (
	"crypto/hmac"
	"crypto/sha256"
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

// bearer is the session's credential: 64 hex digits, derived, never stored.
func (a *API) bearer(s timmy.Session) string {
	return hex.EncodeToString(a.mac("bearer", s.ID, strconv.FormatInt(s.Bearer, 10)))
}

// presents reports whether the caller shows the bearer of s. Digests are
// compared, in constant time. A session without a bearer has none to show.
func (a *API) presents(r *http.Request, s timmy.Session) bool {
	given, ok := bearerOf(r.Header)
	if !ok || s.Bearer == 0 {
		return false
	}
	g, w := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(a.bearer(s)))
	return hmac.Equal(g[:], w[:])
}

// pays reports whether this is a request on a session that was paid for. Those
// are bounded by what they cost and by the desk, not by the caller's address:
// many customers may share one. It is a matter of a hash, without the database.
func (a *API) pays(r *http.Request) bool {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, "/api"), "/sessions/")
	id, isRequest := strings.CutSuffix(rest, "/request")
	if r.Method != http.MethodPost || !ok || !isRequest {
		return false
	}
	for generation := int64(1); generation <= maxGenerations; generation++ {
		if a.presents(r, timmy.Session{ID: id, Bearer: generation}) {
			return true
		}
	}
	return false
}

// bearerOf reads "Authorization: Bearer <token>", the scheme in any case. Two
// headers are refused: which of them counts would be anybody's guess.
func bearerOf(h http.Header) (string, bool) {
	all := h.Values("Authorization")
	if len(all) != 1 {
		return "", false
	}
	scheme, rest, _ := strings.Cut(all[0], " ")
	rest = strings.TrimSpace(rest)
	return rest, strings.EqualFold(scheme, "bearer") && rest != "" && len(rest) <= maxCredential
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
	return formatUUID(b), nil
}

// requestID is for the log; without randomness it is empty, which harms nobody.
func (a *API) requestID() string {
	b, _ := a.bytes(8)
	return hex.EncodeToString(b)
}

func formatUUID(b []byte) string {
	var u [16]byte
	copy(u[:], b)
	u[6] = u[6]&0x0f | 0x40
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
