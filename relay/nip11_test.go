package relay

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/timmy-tower/timmy"
)

func (s *site) http(t *testing.T, method string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http"+strings.TrimPrefix(s.url, "ws")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	if !s.Handles(req) && method != http.MethodGet {
		t.Errorf("%s %v is not handled", method, header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// TestDocumentTellsTheTruth holds that what NIP-11 shows is what the guard does:
// each limit is tried from both sides where a test can.
func TestDocumentTellsTheTruth(t *testing.T) {
	admin := newKey(t)
	s := newSite(t, func(c *Config) {
		c.Name, c.Operators = strings.Repeat("né", 20), []timmy.PubKey{admin.Public()}
		c.Description, c.Contact = "d", "c"
	})
	for _, accept := range []string{"application/nostr+json", "application/nostr+json, */*", "text/html, Application/Nostr+JSON;q=0.9"} {
		res, body := s.http(t, http.MethodGet, http.Header{"Accept": {accept}})
		if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("Content-Type") != typeInfo {
			t.Fatalf("%s: %d %v %s", accept, res.StatusCode, res.Header, body)
		}
		var d info
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			t.Fatal(err)
		}
		l := d.Limitation
		want := limitation{
			MaxMessageLength: maxFrame, MaxSubscriptions: maxSubs, MaxLimit: maxLimit, MaxSubIDLength: maxSubID,
			MaxEventTags: maxTags, MaxContentLength: maxContent, DefaultLimit: defaultLimit,
			CreatedAtLower: int64(maxPast.Seconds()), CreatedAtUpper: int64(maxFuture.Seconds()),
		}
		if l != want {
			t.Errorf("limitation %+v, want %+v", l, want)
		}
		if len(d.Name) >= 30 || d.PubKey != admin.Public().String() || d.Self != s.self.Public().String() {
			t.Errorf("%+v", d)
		}
		if !slices.Equal(d.SupportedNIPs, []int{1, 9, 11, 17, 40, 42, 44, 59, 62, 67, 70}) {
			t.Errorf("supported_nips %v", d.SupportedNIPs)
		}
	}
	p := s.dial(t)
	k := newKey(t)
	p.mustPublish(signed(t, k, 1, strings.Repeat("x", maxContent)))
	if ok, why := p.publish(signedAt(t, k, time.Now().Add(-maxPast+time.Minute), 1, "")); !ok {
		t.Error(why)
	}
}

// TestManagementIsRefusedByType is row 50.
func TestManagementIsRefusedByType(t *testing.T) {
	s := newSite(t)
	res, _ := s.http(t, http.MethodPost, http.Header{"Content-Type": {"application/nostr+json+rpc; charset=utf-8"}})
	if res.StatusCode != http.StatusUnsupportedMediaType {
		t.Fatal(res.StatusCode)
	}
	// Threat F10: on other paths it is no call of ours, whatever it calls itself.
	for path, ours := range map[string]bool{
		"/": true, "/nostr": true, "/nostr/": true, "/sessions": false, "/nostr/x": false, "/ask": false, "//": false,
		"/sessions/x/request": false, "/.well-known/lnurlp/timmy": false, "/relay": false, "/api/sessions": false, "/identity/token": false,
	} {
		req := httptest.NewRequest(http.MethodPost, "http://relay.example"+path, nil)
		req.Header.Set("Content-Type", typeRPC)
		if s.Handles(req) != ours {
			t.Errorf("%q: %v", path, !ours)
		}
	}
	if res, _ := s.http(t, http.MethodOptions, nil); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatal(res.StatusCode)
	}
	if res, _ := s.http(t, http.MethodGet, nil); res.StatusCode != http.StatusUpgradeRequired {
		t.Fatal(res.StatusCode)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	if err != nil || s.Handles(req) {
		t.Fatal("a page is not the relay's")
	}
}

// TestUpgradeIsRecognisedInAnyCase is row 49, without compression (a bomb needs
// one).
func TestUpgradeIsRecognisedInAnyCase(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, s.url, &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: upperCase{}},
		HTTPHeader:      http.Header{"Origin": {"https://some.client.example"}},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if ext := res.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
		t.Fatalf("extensions %q", ext)
	}
}

type upperCase struct{}

func (upperCase) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Upgrade", "WebSocket")
	return http.DefaultTransport.RoundTrip(req)
}
