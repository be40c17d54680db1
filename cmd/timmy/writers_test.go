package main

import (
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db/dbtest"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
)

const someNpub = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d"

// TestSettingsMakeThePolicy excludes a setting of the relay that changes nothing.
func TestSettingsMakeThePolicy(t *testing.T) {
	k, err := parsePubKey(someNpub)
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	c, err := load(t, "", []string{
		"TIMMY_RELAY_WRITERS=allowed", "TIMMY_RELAY_ALLOWED_KEYS=" + someNpub, "TIMMY_RELAY_ADMISSION_SATS=500",
		"TIMMY_RELAY_KINDS=0,1,30000-39999", "TIMMY_RELAY_REFUSED_KINDS=30023", "TIMMY_RELAY_RETENTION=7=30,1059-1060=3,*=1000",
		"TIMMY_RELAY_AUTH_FOR_WRAPS=true", "TIMMY_RELAY_STRICT_INBOX=true", "TIMMY_INBOX_RELAYS=wss://a.org/,wss://a.org",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := relay.Policy{
		Writers: relay.WritersAllowed, Members: []timmy.PubKey{k}, Admission: 500 * timmy.Sat,
		Kinds: []relay.KindRange{{From: 0, To: 0}, {From: 1, To: 1}, {From: 30000, To: 39999}}, Refused: []relay.KindRange{{From: 30023, To: 30023}},
		Retention: []relay.Retention{
			{Kinds: relay.KindRange{From: 7, To: 7}, Age: 30 * day}, {Kinds: relay.KindRange{From: 1059, To: 1060}, Age: 3 * day}, {Rest: true, Age: 1000 * day},
		},
		AuthWraps: true, OwnMail: true,
	}
	if !reflect.DeepEqual(c.Policy, want) {
		t.Errorf("%+v\nwant %+v", c.Policy, want)
	}
	if got := c.Relay.InboxRelays; len(got) != 1 || got[0] != "wss://a.org" {
		t.Errorf("%v", got)
	}
	if c, err = load(t, "", []string{"TIMMY_RELAY_POW_BITS=12"}); err != nil || c.Policy.PowBits != 12 || c.Policy.Writers != relay.WritersAnyone {
		t.Errorf("%+v, %v", c, err)
	}
}

// openBook makes empty books in a file.
func openBook(t *testing.T) *ledger.Ledger {
	t.Helper()
	book, err := ledger.Open(t.Context(), dbtest.Open(t, filepath.Join(t.TempDir(), ledgerFile)), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// payInto brings an amount into an account, as a paid invoice does.
func payInto(t *testing.T, book *ledger.Ledger, a timmy.Account, amount timmy.Msat) {
	t.Helper()
	ref, _, err := book.Expect(t.Context(), timmy.TopUp{Account: a, Purpose: timmy.ForTopUp, Amount: amount})
	if err != nil {
		t.Fatal(err)
	}
	secret := [32]byte{7}
	inv := timmy.Invoice{Hash: sha256.Sum256(secret[:]), Bolt11: "lnbcrt1", Amount: amount, Expires: time.Now().Add(time.Hour)}
	if err := book.Issued(t.Context(), ref, inv, timmy.Lease{}); err != nil {
		t.Fatal(err)
	}
	got, err := book.Credit(t.Context(), timmy.Payment{Hash: inv.Hash, Ref: ref, Received: amount, Preimage: secret, Settled: true, At: time.Now()}, "")
	if err != nil || got != timmy.CreditApplied {
		t.Fatal(got, err)
	}
}

// TestWriters excludes a payment that is seen late, a tier that is believed for
// ever, and a refusal that does not say what to do.
func TestWriters(t *testing.T) {
	book := openBook(t)
	now := time.Now()
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{book: book, key: key, env: Env{Now: func() time.Time { return now }}, cfg: &Config{Derived: Derived{
		PublicURL: "https://tower.example", Policy: relay.Policy{Admission: 500 * timmy.Sat},
	}}}
	w, err := p.newWriters()
	if err != nil {
		t.Fatal(err)
	}
	k := timmy.PubKey{1}
	err = w.MayWrite(t.Context(), k, 1)
	if timmy.CodeOf(err) != timmy.Unpaid || !strings.Contains(timmy.MessageOf(err), "costs 500 sats, once: pay at https://tower.example/relay, or send /join to npub1") {
		t.Errorf("a stranger: %v", err)
	}
	payInto(t, book, timmy.UserAccount(k), 800*timmy.Sat)
	if err := w.MayWrite(t.Context(), k, 1); timmy.CodeOf(err) != timmy.Unpaid {
		t.Errorf("money alone admits: %v", err)
	}
	if _, err := book.Admit(t.Context(), k, 500*timmy.Sat); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.MayWrite(t.Context(), k, 1); err != nil {
			t.Errorf("right after the payment: %v", err)
		}
	}
	w.price, w.tier = 0, timmy.TierEstablished
	if err := w.MayWrite(t.Context(), timmy.PubKey{2}, 1); timmy.CodeOf(err) != timmy.Unauthorized || !strings.Contains(timmy.MessageOf(err), "tier established") {
		t.Errorf("nothing for sale: %v", err)
	}
	w.tier = timmy.TierNew
	if err := w.MayWrite(t.Context(), timmy.PubKey{2}, 1); err != nil {
		t.Errorf("of the tier: %v", err)
	}
	w.tier = timmy.TierElite
	if err := w.MayWrite(t.Context(), timmy.PubKey{2}, 1); err != nil {
		t.Errorf("a tier is believed for a while: %v", err)
	}
	now = now.Add(tierFor + time.Second)
	if err := w.MayWrite(t.Context(), timmy.PubKey{2}, 1); err == nil {
		t.Error("a tier is believed for ever")
	}
	now = now.AddDate(50, 0, 0)
	if err := w.MayWrite(t.Context(), k, 1); err != nil {
		t.Errorf("an admission ends: %v", err)
	}
}
