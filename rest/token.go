package rest

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// tokenVersion is the first byte of an identity token; the rest is the key, the
// expiry and their MAC.
const tokenVersion = 1

const tokenLen = 1 + 32 + 8 + 32

// token makes an identity token: nothing is stored, and it can only be waited
// out. It binds a session to a key and reads that key's standing, no more.
func (a *API) token(k timmy.PubKey, expires time.Time) string {
	b := make([]byte, 0, tokenLen)
	b = append(b, tokenVersion)
	b = append(b, k[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(expires.Unix()))
	b = append(b, a.mac("token", string(b))...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// readToken checks an identity token. There is one spelling of each.
func (a *API) readToken(s string) (timmy.PubKey, time.Time, bool) {
	var k timmy.PubKey
	if len(s) != base64.RawURLEncoding.EncodedLen(tokenLen) {
		return k, time.Time{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tokenLen || b[0] != tokenVersion {
		return k, time.Time{}, false
	}
	signed, mac := b[:tokenLen-32], b[tokenLen-32:]
	if !hmac.Equal(mac, a.mac("token", string(signed))) {
		return k, time.Time{}, false
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(signed[33:])), 0)
	if !a.cfg.Now().Before(expires) {
		return k, time.Time{}, false
	}
	copy(k[:], signed[1:33])
	return k, expires, true
}

// tokenOf is the identity token of a call: the first that is not blank of the
// header and the body's nostr_token. Two that differ are refused (ok false):
// which of two people asks must not depend on who reads it.
func tokenOf(h http.Header, o object) (token string, ok bool) {
	all := h.Values("X-Nostr-Token")
	if s, isString := o.str("nostr_token"); isString {
		all = append(all[:len(all):len(all)], s)
	}
	for _, s := range all {
		s = strings.TrimSpace(s)
		switch {
		case s == "":
		case token == "":
			token = s
		case token != s:
			return "", false
		}
	}
	return token, true
}

// owner is the key a call's token speaks for; zero without a token.
func (a *API) owner(h http.Header, o object) (timmy.PubKey, bool) {
	s, ok := tokenOf(h, o)
	if !ok {
		return timmy.PubKey{}, false
	}
	if s == "" {
		return timmy.PubKey{}, true
	}
	k, _, ok := a.readToken(s)
	return k, ok
}

// nip98 checks "Authorization: Nostr …" against the URL as the world sees it,
// never against the Host header.
func (a *API) nip98(ctx context.Context, c *call, body []byte) (timmy.PubKey, error) {
	all := c.Header.Values("Authorization")
	if len(all) != 1 || len(all[0]) < 6 || !strings.EqualFold(all[0][:6], "nostr ") {
		return timmy.PubKey{}, timmy.Errorf(timmy.Unauthorized, "Send 'Authorization: Nostr <event>' (NIP-98)")
	}
	return a.cfg.Identity.Verify(ctx, all[0], c.Method, a.cfg.PublicURL+c.URL.RequestURI(), body)
}

type identityView struct {
	Token   string `json:"nostr_token,omitempty"`
	PubKey  string `json:"pubkey"`
	Tier    string `json:"trust_tier"`
	Expires string `json:"expires_at,omitempty"`
}

// issueToken is POST /identity/token: a NIP-98 proof for a token that lives
// longer than a minute. It moves no money, so an Idempotency-Key is ignored.
func (a *API) issueToken(c *call) answer {
	body, bad := c.read()
	if bad != nil {
		return *bad
	}
	k, err := a.nip98(c.Context(), c, body)
	if err != nil {
		return failed(c, err, "Failed to issue token")
	}
	tier, err := a.cfg.Trust.Tier(c.Context(), k)
	if err != nil {
		return failed(c, err, "Failed to issue token")
	}
	expires := a.cfg.Now().Add(a.cfg.TokenLife)
	return reply(http.StatusOK, identityView{
		Token: a.token(k, expires), PubKey: k.String(), Tier: string(tier), Expires: stamp(expires.Truncate(time.Second)),
	})
}

// whoAmI is GET /identity/me.
func (a *API) whoAmI(c *call) answer {
	k, expires, err := a.caller(c)
	if err != nil {
		return failed(c, err, "Failed to fetch identity")
	}
	tier, err := a.cfg.Trust.Tier(c.Context(), k)
	if err != nil {
		return failed(c, err, "Failed to fetch identity")
	}
	v := identityView{PubKey: k.String(), Tier: string(tier)}
	if !expires.IsZero() {
		v.Expires = stamp(expires)
	}
	return reply(http.StatusOK, v)
}

// caller is who asks, by identity token or by NIP-98. Expires is the token's.
func (a *API) caller(c *call) (k timmy.PubKey, expires time.Time, err error) {
	s, ok := tokenOf(c.Header, nil)
	if ok && s == "" {
		k, err = a.nip98(c.Context(), c, nil)
		return k, time.Time{}, err
	}
	if k, expires, good := a.readToken(s); ok && good {
		return k, expires, nil
	}
	return timmy.PubKey{}, time.Time{}, timmy.Errorf(timmy.Unauthorized, msgToken)
}

// stamp is the documented form of a time, as JavaScript's toISOString.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
