package lnurl

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// Excludes: a code that credits nobody, outweighs who signed, or tells whose it is;
// and one that is mistyped and becomes a gift.
func TestAClaimCodeNamesWhoIsCredited(t *testing.T) {
	f := setUp(t, nil)
	owner := timmy.UserAccount(timmy.PubKey{31: 3})
	user := timmy.UserAccount(f.user.Public())
	zap := func(content string, anon bool) string {
		return zapQuery(f.zap(t, func(e *nostr.Event) {
			e.Content = content
			if anon {
				e.Tags = append(e.Tags, nostr.Tag{"anon", ""})
			}
		}))
	}
	said := url.QueryEscape("for me: claim 7k3q m2xw")
	for name, c := range map[string]struct {
		query string
		want  timmy.Account
	}{
		"a wallet's comment":              {"amount=21000&comment=" + said, owner},
		"an anonymous zap":                {zap("thanks! CLAIM-7K3Q-M2XW", true), owner},
		"an anonymous zap with a comment": {zap("", true) + "&comment=" + said, owner},
		"a public zap":                    {zap("CLAIM-7K3Q-M2XW", false), user},
		"a key in payerdata": {
			"amount=21000&comment=" + said + "&payerdata=" + url.QueryEscape(`{"pubkey":"`+f.user.Public().String()+`"}`), user,
		},
		"no code": {"amount=21000&comment=claim%20this", timmy.HouseRevenue},
	} {
		code, out := f.callback(t, c.query)
		if code != 200 || out["pr"] == nil {
			t.Errorf("%s: %d %v", name, code, out)
			continue
		}
		if top := f.till.tops[len(f.till.tops)-1]; top.Account != c.want {
			t.Errorf("%s: for %s", name, top.Account)
		}
		message := out["successAction"].(map[string]any)["message"].(string)
		if key, _ := owner.User(); c.want == owner && (message != "Credited to the owner of CLAIM-7K3Q-M2XW" || strings.Contains(message, nip.Npub(key))) {
			t.Errorf("%s: %q", name, message)
		}
	}
	f.refuses(t, "unknown", "amount=21000&comment=CLAIM-0000-0000", "nobody has the claim code CLAIM-0000-0000")
	f.refuses(t, "unknown in a zap", zap("CLAIM-0000-0000", true), "nobody has the claim code")
	f.till.fail = errors.New("the disk is gone")
	if code, out := f.callback(t, "amount=21000&comment="+said); code != 503 || out["status"] != "ERROR" {
		t.Errorf("without the book: %d %v", code, out)
	}
}

// Excludes: a private zap that is taken as a tip, whoever paid it, and one that
// cannot be opened and is taken all the same.
func TestAPrivateZapCreditsWhoMadeIt(t *testing.T) {
	payer := timmy.PubKey{31: 9}
	var fail error
	f := setUp(t, func(c *Config) {
		c.Private = func(z nip.ZapRequest) (timmy.PubKey, string, error) {
			if z.Private != "pzap1x_iv1y" || !z.Anonymous {
				t.Errorf("opening %+v", z)
			}
			return payer, "CLAIM-7K3Q-M2XW", fail
		}
	})
	query := zapQuery(f.zap(t, func(e *nostr.Event) { e.Tags = append(e.Tags, nostr.Tag{"anon", "pzap1x_iv1y"}) }))
	if code, out := f.callback(t, query); code != 200 || f.till.tops[0].Account != timmy.UserAccount(payer) {
		t.Errorf("%d %v", code, out)
	}
	fail = timmy.Errorf(timmy.Invalid, "the private zap cannot be opened")
	f.refuses(t, "closed", query+"&x=1", "cannot be opened")
}
