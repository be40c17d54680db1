package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
)

// plain reports whether raw is an object at all.
func plain(raw []byte) bool {
	var m map[string]json.RawMessage
	return utf8.Valid(raw) && json.Unmarshal(raw, &m) == nil && m != nil
}

// FuzzBody: whatever comes in, the parser ends, agrees with encoding/json on
// what is an object and with its tokens on what is refused, and the readers of its fields
// do not panic.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"amount_sats":500,"request":"hi","nostr_token":"x"}`, `{"a":{"b":[1,{"c":null}]}}`, `{"a":1,"a":2}`, `[]`, `null`, `"x"`, ``,
		`{"amount_sats":5e2}`, `{"request":"\ud800"}`, strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "{\"\xff\":1}", `{"a":1}{`,
		`{"x":["a","b"],"y":{"x":1}}`, `{"":{"":""}}`, `{"a":1,"\u0061":2}`, `{"a:{\"":"}[,:","b\\":":"}`, ` { } `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := parseObject(raw)
		var m map[string]any
		if plain := json.Unmarshal(raw, &m); err == nil && (plain != nil || len(m) != len(o)) {
			t.Fatalf("taken as an object: %q", raw)
		}
		if walked := checkShape(raw); plain(raw) && (walked != nil) != (err != nil) {
			t.Fatalf("%q: %v, its tokens say %v", raw, err, walked)
		}
		if err != nil {
			return
		}
		if text, bad := requestText(o); bad == nil && (text == "" || len(text) > maxText) {
			t.Fatalf("text %q", text)
		}
		_, _ = tokenOf(http.Header{}, o)
		amount(o["amount_sats"])
	})
}

// FuzzAmount: what is read is exactly what exact arithmetic says.
func FuzzAmount(f *testing.F) {
	for _, s := range []string{"500", "500.0", "5e2", "5E+2", "0.5e3", "-0", "1e999999", "500.9", "999999999999999", "1e15", "00.10e1", `"500"`, `"0500"`, `""`, "5000e-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := amount(json.RawMessage(s))
		if len(s) > 40 || !json.Valid([]byte(s)) {
			return
		}
		if e := strings.IndexAny(s, "eE"); e >= 0 && len(s)-e > 5 {
			return // too big for exact arithmetic
		}
		r, isNumber := new(big.Rat).SetString(strings.Trim(s, `"`))
		most := big.NewRat(1e15, 1)
		fits := isNumber && r.IsInt() && r.Sign() > 0 && r.Cmp(most) < 0
		switch {
		case ok && (!fits || r.Num().Int64() != n):
			t.Fatalf("%s read as %d", s, n)
		case !ok && fits && s[0] != '"':
			t.Fatalf("%s refused", s)
		}
	})
}

// FuzzToken: no bytes but those we signed are a token.
func FuzzToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	a := &API{cfg: Config{ServerKey: []byte(strings.Repeat("k", 32)), Now: func() time.Time { return now }}}
	good := a.token(timmy.PubKey{1}, now.Add(time.Hour))
	f.Add(good)
	f.Add(a.token(timmy.PubKey{1}, now))
	f.Add("")
	f.Add(good[:97] + "_")
	f.Fuzz(func(t *testing.T, s string) {
		k, expires, ok := a.readToken(s)
		if ok && a.token(k, expires) != s {
			t.Fatalf("%q is another spelling", s)
		}
		if ok && s != good {
			t.Fatalf("%q was never made", s)
		}
	})
}

// FuzzHeaders: bearer and Idempotency-Key readers take any bytes.
func FuzzHeaders(f *testing.F) {
	f.Add("Bearer abc", "key")
	f.Add("bearer", "")
	f.Add(" ", "\x00")
	f.Fuzz(func(t *testing.T, auth, key string) {
		h := http.Header{"Authorization": {auth}, "Idempotency-Key": {key}}
		if b, ok := bearerOf(h); ok && (b == "" || len(b) > maxCredential || strings.TrimSpace(b) != b) {
			t.Fatalf("bearer %q", b)
		}
		if k, bad := idemKey(h, "someone"); bad == nil && (k == "" || len(k) > maxIdemKey) {
			t.Fatalf("key %q", k)
		}
	})
}

// FuzzPayment: a credential of the scheme Payment is taken only with a challenge of ours
// and the preimage of what it is for.
func FuzzPayment(f *testing.F) {
	a := &API{cfg: Config{
		ServerKey: []byte(strings.Repeat("k", 32)), Now: time.Now, PublicURL: "https://tower.example", PaymentNetwork: "regtest",
	}}
	preimage := [32]byte{7}
	inv := timmy.Invoice{Hash: sha256.Sum256(preimage[:]), Bolt11: "lnbcrt1x", Amount: 100 * timmy.Sat, Expires: time.Unix(1_700_000_000, 0)}
	for _, intent := range []string{intentCharge, intentSession} {
		p := payChallenge{Realm: a.realm(), Method: payMethod, Intent: intent, Expires: "2023-11-14T22:13:20Z", Request: encodePayment(map[string]any{
			"paymentHash": inv.Hash.String(), "methodDetails": map[string]string{"paymentHash": inv.Hash.String()},
		})}
		p.ID = a.challengeID(p)
		for _, action := range []string{actionOpen, actionBearer, actionTopUp, actionClose} {
			b, err := json.Marshal(map[string]any{"challenge": p, "payload": map[string]string{
				"action": action, "preimage": hex.EncodeToString(preimage[:]), "sessionId": inv.Hash.String(),
				"topUpPreimage": hex.EncodeToString(preimage[:]), "returnInvoice": "lnbcrt1y",
			}})
			if err != nil {
				f.Fatal(err)
			}
			if _, problem := a.payer(paymentHeader(b)); problem != "" {
				f.Fatalf("%s %s: %s", intent, action, problem)
			}
			f.Add(b)
		}
	}
	for _, s := range []string{"", "null", "[]", "{}", `{"challenge":{},"payload":{}}`, `{"challenge":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, problem := a.payer(paymentHeader(raw))
		if problem != "" {
			problemBody(http.StatusPaymentRequired, problem)
			return
		}
		if p.challenge.ID != a.challengeID(p.challenge) || p.paid != inv.Hash {
			t.Fatalf("taken: %s", raw)
		}
	})
}

func paymentHeader(raw []byte) http.Header {
	return http.Header{"Authorization": {"Payment " + base64.RawURLEncoding.EncodeToString(raw)}}
}
