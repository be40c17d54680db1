package relay

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

const testBolt11 = "lnbcrt1u1p5abcdefghjk0123456789"

// TestTexts is what people see, word for word.
func TestTexts(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	plain := TextConfig{Name: "Timmy"}
	full := TextConfig{Name: "Ada", Address: "ada@tower.example", PublicURL: "https://tower.example/", Demo: true, Typical: func() string { return "8–40 sats" }, Free: func() int { return 3 }}
	low := TextConfig{Name: "Ada", Address: "ada@tower.example", Low: func() timmy.Msat { return 80_000 }}
	inv := &timmy.Invoice{Hash: timmy.Hash{0xab}, Bolt11: testBolt11, Amount: 100_000, Expires: now.Add(time.Hour)}
	reply := func(o timmy.Outcome, change ...func(*timmy.Reply)) timmy.Reply {
		r := timmy.Reply{Request: "7f3abc", Outcome: o, Balance: 78_500}
		for _, f := range change {
			f(&r)
		}
		return r
	}
	first := func(r *timmy.Reply) { r.First = true }
	command := func(r *timmy.Reply) { r.Command = true }
	parked := func(r *timmy.Reply) { r.Invoice, r.Balance = inv, 0 }
	for _, tc := range []struct {
		name   string
		cfg    TextConfig
		r      timmy.Reply
		scheme nip.Scheme
		want   string
	}{
		{"answer", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: " 42\n", Cost: timmy.Cost{Charged: 22_000}}), nip.NIP17, "42\n\n— 22 sats · 78 left · #req 7f3a"},
		{"one sat", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42", Cost: timmy.Cost{Charged: 1_000}}), nip.NIP17, "42\n\n— 1 sat · 78 left · #req 7f3a"},
		{"free", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42", Cost: timmy.Cost{Absorbed: 9_000}}), nip.NIP17, "42\n\n— free · 78 left · #req 7f3a"},
		{"demo", full, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42"}), nip.NIP17, "42\n\n— free · 78 left · #req 7f3a · demo: no real sats"},
		{"first", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42"}, first), nip.NIP17, "Hi! I'm Timmy, an AI you pay per question in sats. Just ask, or send /help.\n\n42\n\n— free · 78 left · #req 7f3a"},
		{"first, old scheme", full, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42"}, first), nip.NIP04, "Hi! I'm Ada, an AI you pay per question in sats. A typical answer costs 8–40 sats.\nYou have 3 free questions today. Just ask, or send /help.\n\n" + nip04Line + "\n\n42\n\n— free · 78 left · #req 7f3a · demo: no real sats"},
		{"first, after its bill", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42"}, first, func(r *timmy.Reply) { r.Tries = 2 }), nip.NIP17, "42\n\n— free · 78 left · #req 7f3a"},
		{"parked", plain, reply(timmy.Outcome{State: timmy.StateParked}, parked), nip.NIP17, "I need 100 sats for this (you have 0). Pay 100 sats, I answer as soon as it lands:\n\n" + testBolt11 + "\n\nExpires in 60 min. Unspent sats stay yours: /balance. #req 7f3a"},
		{"parked, first", full, reply(timmy.Outcome{State: timmy.StateParked, Reason: "That will cost at most 35 sats (you have 0)."}, first, parked), nip.NIP17, "Hi! I'm Ada, an AI you pay per question in sats. A typical answer costs 8–40 sats.\nYou have 3 free questions today. Just ask, or send /help.\n\nThat will cost at most 35 sats (you have 0). Pay 100 sats, I answer as soon as it lands:\n\n" + testBolt11 + "\n\nOr zap me ⚡ ada@tower.example · pay page with QR: https://tower.example/pay/ab" + strings.Repeat("00", 31) + "\nExpires in 60 min. Unspent sats stay yours: /balance. #req 7f3a\n\ndemo: no real sats"},
		{"expired", plain, reply(timmy.Outcome{State: timmy.StateUnpaid}), nip.NIP17, "The invoice for this question has expired, so I did not answer it and nothing was charged. Ask again any time; sats that still arrive are added to your balance. #req 7f3a"},
		{"unpaid for another reason", plain, reply(timmy.Outcome{State: timmy.StateUnpaid, Reason: "you need 5 sats more"}), nip.NIP17, "you need 5 sats more. You were not charged. #req 7f3a"},
		{"rejected", plain, reply(timmy.Outcome{State: timmy.StateRejected, Reason: "I do not help with that.", Cost: timmy.Cost{Charged: 2_000}}), nip.NIP17, "Sorry, I can't take this one: I do not help with that.\n\n— 2 sats · 78 left · #req 7f3a"},
		{"failed", plain, reply(timmy.Outcome{State: timmy.StateFailed}), nip.NIP17, "Sorry, the model failed. You were not charged. #req 7f3a"},
		{"failed, said", plain, reply(timmy.Outcome{State: timmy.StateFailed, Reason: "The model did not answer in time."}), nip.NIP17, "Sorry, the model did not answer in time. You were not charged. #req 7f3a"},
		{"stopped", plain, reply(timmy.Outcome{State: timmy.StateFailed, Reason: "Stopped."}), nip.NIP17, "Stopped. You were not charged. #req 7f3a"},
		{"command", full, reply(timmy.Outcome{State: timmy.StateComplete, Text: "pay this:\n\n" + testBolt11}, first, command), nip.NIP17, "Hi! I'm Ada, an AI you pay per question in sats. A typical answer costs 8–40 sats.\nYou have 3 free questions today. Just ask, or send /help.\n\npay this:\n\n" + testBolt11},
		{"a later command", full, reply(timmy.Outcome{State: timmy.StateComplete, Text: "pay this:\n\n" + testBolt11}, command), nip.NIP17, "pay this:\n\n" + testBolt11},
		{"first, /help", full, reply(timmy.Outcome{State: timmy.StateComplete, Text: "I'm Ada, an AI you pay per question in sats. Just ask."}, first, command), nip.NIP04, "I'm Ada, an AI you pay per question in sats. Just ask."},
		{"balance falls low", low, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42", Cost: timmy.Cost{Charged: 22_000}}), nip.NIP17, "42\n\n— 22 sats · 78 left · #req 7f3a\n\nYour balance runs low. Send /topup for an invoice, or zap me ⚡ ada@tower.example."},
		{"balance falls low, with an invoice", low, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42", Cost: timmy.Cost{Charged: 22_000}}, func(r *timmy.Reply) { r.Invoice = inv }), nip.NIP17, "42\n\n— 22 sats · 78 left · #req 7f3a\n\nYour balance runs low. This invoice adds 100 sats:\n\n" + testBolt11 + "\n\nOr zap me ⚡ ada@tower.example\nExpires in 60 min."},
		{"balance was low before", low, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42", Cost: timmy.Cost{Charged: 1_000}}), nip.NIP17, "42\n\n— 1 sat · 78 left · #req 7f3a"},
		{"free and low", low, reply(timmy.Outcome{State: timmy.StateComplete, Text: "42"}), nip.NIP17, "42\n\n— free · 78 left · #req 7f3a"},
		{"an invoice by the model", plain, reply(timmy.Outcome{State: timmy.StateComplete, Text: testBolt11}), nip.NIP17, "ln\u200bbcrt1u1p5abcdefghjk0123456789\n\n— free · 78 left · #req 7f3a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.cfg.Reply(tc.r, tc.scheme, now)
			if got != tc.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
			// Clients show a payment card for an invoice that stands alone.
			if tc.r.Invoice != nil && !slices.Contains(strings.Split(got, "\n"), testBolt11) {
				t.Error("the invoice does not stand alone on its line")
			}
		})
	}
	for want, n := range map[string]timmy.Notice{
		"✓ 100 sats received (balance 100).":             {Amount: 100_000, Balance: 100_999},
		"✓ 1 sat received (balance 101). Working on it…": {Amount: 1_000, Balance: 101_000, Working: true},
	} {
		if got := plain.Notice(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, want := full.Alert("The wallet is away."), "⚠ Ada: The wallet is away."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := full.Notice(timmy.Notice{Amount: 1000}); !strings.HasSuffix(got, "\n\ndemo: no real sats") {
		t.Errorf("%q", got)
	}
}

// Excludes a command that failed, three towers having died of it, and of which nobody is
// told anything.
func TestACommandThatFailedIsAnswered(t *testing.T) {
	r := timmy.Reply{Request: "abcdef", Command: true, Outcome: timmy.Outcome{State: timmy.StateFailed, Reason: "this request could not be answered"}}
	if got := (TextConfig{}).Reply(r, nip.NIP17, time.Now()); !strings.Contains(got, "could not be answered") {
		t.Errorf("told %q", got)
	}
}
