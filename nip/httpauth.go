package nip

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// KindHTTPAuth is NIP-98's event.
const KindHTTPAuth = 27235

// HTTPAuth is who signed a call, and the id of the event that says so. One event
// is good for one call: the caller keeps the ids for two minutes.
type HTTPAuth struct {
	From timmy.PubKey
	ID   string
}

// CheckHTTPAuth checks an Authorization header ("Nostr <base64>") by NIP-98:
// kind, time within a minute, u exactly the absolute url with its query, method,
// and the payload's hash, which is required when there is a body. Every error is
// [timmy.Unauthorized].
func CheckHTTPAuth(header, method, url string, body []byte, now time.Time) (HTTPAuth, error) {
	scheme, b64, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Nostr") || len(header) > maxHeader {
		return HTTPAuth{}, refused("want an Authorization header of the form \"Nostr <base64 event>\"")
	}
	raw, err := unbase64(strings.TrimSpace(b64), maxHeader)
	if err != nil {
		return HTTPAuth{}, refused("the event is not base64")
	}
	ev, err := ParseEvent(raw)
	if err != nil {
		return HTTPAuth{}, refused("the event is malformed")
	}
	if why := httpFault(ev, method, url, body, now); why != "" {
		return HTTPAuth{}, refused(why)
	}
	if Verify(ev) != nil {
		return HTTPAuth{}, refused("bad signature")
	}
	from, err := timmy.ParsePubKey(ev.PubKey)
	if err != nil {
		return HTTPAuth{}, refused("bad public key")
	}
	return HTTPAuth{From: from, ID: ev.ID}, nil
}

func refused(why string) error { return timmy.Errorf(timmy.Unauthorized, "NIP-98: %s", why) }

func httpFault(ev *nostr.Event, method, url string, body []byte, now time.Time) string {
	if ev.Kind != KindHTTPAuth {
		return "wrong kind"
	}
	if !within(ev.CreatedAt, now, httpWindow) {
		return "created_at is not within a minute of now"
	}
	if u, ok := only(ev.Tags, "u"); !ok || u != url {
		return "u is not this URL"
	}
	if m, ok := only(ev.Tags, "method"); !ok || !strings.EqualFold(m, method) {
		return "method does not match"
	}
	given := all(ev.Tags, "payload")
	if len(given) == 0 && len(body) == 0 {
		return ""
	}
	if len(given) != 1 || lower(given[0]) != sum(body) {
		return "payload does not match the body"
	}
	return ""
}

// SignHTTP makes the Authorization header for one call (NIP-98).
func SignHTTP(k Key, method, url string, body []byte, now time.Time) (header string, err error) {
	ev := &nostr.Event{
		Kind: KindHTTPAuth, CreatedAt: nostr.Timestamp(now.Unix()),
		Tags: nostr.Tags{{"u", url}, {"method", method}},
	}
	if len(body) > 0 {
		ev.Tags = append(ev.Tags, nostr.Tag{"payload", sum(body)})
	}
	if err := k.Sign(ev); err != nil {
		return "", err
	}
	return "Nostr " + base64.StdEncoding.EncodeToString([]byte(ev.String())), nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// HTTPAuthURL is the URL that an Authorization header says it is for, unchecked;
// empty if it says none. Where one place has several names, [CheckHTTPAuth] can then
// be asked about the right one.
func HTTPAuthURL(header string) string {
	_, b64, _ := strings.Cut(header, " ")
	if len(header) > maxHeader {
		return ""
	}
	raw, err := unbase64(strings.TrimSpace(b64), maxHeader)
	if err != nil {
		return ""
	}
	ev, err := ParseEvent(raw)
	if err != nil {
		return ""
	}
	u, _ := only(ev.Tags, "u")
	return u
}
