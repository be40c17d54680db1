package tower

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes A4: a refund that leaves less than its own fee, or more than there is.
func TestRefundsLeaveRoomForTheirFee(t *testing.T) {
	for _, c := range []struct {
		available, want, amount, fee timmy.Msat
		code                         timmy.Code
	}{
		{available: 0, code: timmy.Unpaid},
		{available: 10 * timmy.Sat, code: timmy.Unpaid},
		{available: 10_999, code: timmy.Unpaid},
		{available: 11 * timmy.Sat, amount: timmy.Sat, fee: 10 * timmy.Sat},
		{available: 100_500, amount: 90 * timmy.Sat, fee: 10 * timmy.Sat},
		{available: 100 * timmy.Sat, want: 90 * timmy.Sat, amount: 90 * timmy.Sat, fee: 10 * timmy.Sat},
		{available: 100 * timmy.Sat, want: 91 * timmy.Sat, code: timmy.Unpaid},
		{available: 10_000 * timmy.Sat, amount: 9_900 * timmy.Sat, fee: 99 * timmy.Sat},
		{available: 10_000 * timmy.Sat, want: 9_901 * timmy.Sat, code: timmy.Unpaid},
		{available: timmy.MaxMsat, amount: timmy.MaxMsat / 100 * 99, fee: timmy.MaxMsat / 10_000 * 99},
	} {
		amount, fee, err := sizing(c.want)(c.available)
		if timmy.CodeOf(err) != c.code || amount != c.amount || fee != c.fee || amount+fee > c.available {
			t.Errorf("%v of %v: %v and %v, %v", c.want, c.available, amount, fee, err)
		}
	}
}

// onePayment is a book with one refund, a wallet, and an address.
type onePayment struct {
	mu      sync.Mutex
	r       timmy.Refund
	err     error // of Refund
	fate    timmy.Sent
	pays    int
	ordered timmy.Refund

	remembered string
}

func (b *onePayment) Refund(_ context.Context, r timmy.Refund, size func(timmy.Msat) (timmy.Msat, timmy.Msat, error)) (timmy.Refund, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return timmy.Refund{}, b.err
	}
	var err error
	if r.Amount, r.Fee, err = size(1000 * timmy.Sat); err != nil {
		return timmy.Refund{}, err
	}
	r.State, b.ordered = timmy.RefundReserved, r
	b.r = r
	return r, nil
}

func (b *onePayment) Aim(_ context.Context, _ string, inv timmy.Invoice) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Invoice = inv
	return nil
}

func (b *onePayment) Launch(context.Context, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.State = timmy.RefundSending
	return nil
}

func (b *onePayment) Recall(_ context.Context, _, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.State, b.r.Reason = timmy.RefundFailed, reason
	return nil
}

func (b *onePayment) Land(_ context.Context, _ string, s timmy.Sent) (timmy.Refund, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.State, b.r.Reason, b.r.Fee = timmy.RefundFailed, s.Reason, 0
	if s.State == timmy.SentPaid {
		b.r.State, b.r.Fee = timmy.RefundPaid, s.Fee
	}
	return b.r, s.Fee < 0, nil
}

func (b *onePayment) RefundOf(context.Context, string) (timmy.Refund, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.r, nil
}

func (b *onePayment) OpenRefunds(context.Context) ([]timmy.Refund, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r.ID == "" || b.r.State.Final() {
		return nil, nil
	}
	return []timmy.Refund{b.r}, nil
}

func (b *onePayment) ReturnRemainders(context.Context, func(timmy.Msat) (timmy.Msat, timmy.Msat, error)) (int, error) {
	return 0, nil
}

func (b *onePayment) RefundTo(_ context.Context, session, to string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remembered = session + " " + to
	return nil
}

func (b *onePayment) Send(context.Context, timmy.Outgoing) (timmy.Sent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pays++
	return b.fate, nil
}

func (b *onePayment) Sent(context.Context, timmy.Hash) (timmy.Sent, error) { return b.fate, nil }

func (b *onePayment) Read(text string) (timmy.Invoice, error) {
	switch text {
	case "lnbcrt1":
	case "lnbcrt3":
		return timmy.Invoice{Hash: timmy.Hash{3}, Bolt11: text, Expires: time.Now().Add(time.Hour)}, nil
	default:
		return timmy.Invoice{}, timmy.Errorf(timmy.Invalid, "That is neither an address nor an invoice.")
	}
	return timmy.Invoice{Hash: timmy.Hash{1}, Bolt11: text, Amount: 50 * timmy.Sat, Expires: time.Now().Add(time.Hour)}, nil
}

func (b *onePayment) Ask(_ context.Context, address string, amount timmy.Msat) (timmy.Invoice, error) {
	if address == "gone@x.example" {
		return timmy.Invoice{}, timmy.Errorf(timmy.Unavailable, "The lightning address gave no invoice.")
	}
	return timmy.Invoice{Hash: timmy.Hash{2}, Bolt11: "lnbcrt2", Amount: amount, Expires: time.Now().Add(time.Hour)}, nil
}

// Excludes: a remainder that is promised to somewhere it cannot go; and one that is sent
// to an invoice without saying how much.
func TestWhereARemainderGoes(t *testing.T) {
	for to, want := range map[string]string{
		"Me@X.example": "s me@x.example", "lnbcrt3": "s lnbcrt3", "lnbcrt1": "", "lnbcrt2": "", "a@b": "", "": "",
	} {
		b := &onePayment{}
		err := NewPayouts(PayoutsConfig{Book: b, Payer: b, Targets: b}).Remember(t.Context(), "s", to)
		if b.remembered != want || (err == nil) != (want != "") || err != nil && timmy.CodeOf(err) != timmy.Invalid {
			t.Errorf("%q: %q, %v", to, b.remembered, err)
		}
	}
	b := &onePayment{fate: timmy.Sent{State: timmy.SentPaid}}
	b.r = timmy.Refund{ID: "end:s:0", To: "lnbcrt3", Amount: 70 * timmy.Sat, State: timmy.RefundReserved}
	if err := NewPayouts(PayoutsConfig{Book: b, Payer: b, Targets: b}).Advance(t.Context()); err != nil || b.pays != 1 {
		t.Errorf("paid %d times, %v", b.pays, err)
	}
	if b.r.Invoice.Amount != 70*timmy.Sat || b.r.Invoice.Hash != (timmy.Hash{3}) {
		t.Errorf("aimed at %+v", b.r.Invoice)
	}
}

// Excludes: a /refund that is told wrongly, or whose alert of a lying wallet is lost.
func TestRefundByMessage(t *testing.T) {
	for text, c := range map[string]struct {
		fate   timmy.SentState
		fee    timmy.Msat
		err    error
		want   string
		amount timmy.Msat
		alerts int
	}{
		"/refund":                          {want: "/refund you@wallet.example"},
		"/refund 50":                       {want: "Say where to"},
		"/refund 50 60 me@x.example":       {want: "Say where to"},
		"/refund me@x.example you@y.org":   {want: "Say where to"},
		"/refund me@x.example":             {fate: timmy.SentPaid, fee: 1500, want: "Sent 990 sats. Routing cost 1.5 sats", amount: 990 * timmy.Sat},
		"/refund 200 sats to Me@X.example": {fate: timmy.SentPaid, want: "Sent 200 sats.", amount: 200 * timmy.Sat},
		"/refund LNBCRT1":                  {fate: timmy.SentPaid, want: "Sent 50 sats.", amount: 50 * timmy.Sat},
		"/refund 50 lnbcrt1":               {fate: timmy.SentPaid, fee: -1, want: "Sent 50 sats.", amount: 50 * timmy.Sat, alerts: 1},
		"/refund lnbcrt3":                  {fate: timmy.SentPaid, want: "Sent 990 sats.", amount: 990 * timmy.Sat},
		"/refund 60 lnbcrt3":               {fate: timmy.SentPaid, want: "Sent 60 sats.", amount: 60 * timmy.Sat},
		"/refund 60 lnbcrt1":               {want: "The invoice is over 50 sats, not 60."},
		"/refund lnbcrt2":                  {want: "neither an address nor an invoice"},
		"/refund a@b":                      {want: "name@host.example"},
		"/refund 995 me@x.example":         {want: "at most 990 can be given back"},
		"/refund gone@x.example":           {want: "That did not work: The lightning address gave no invoice. Nothing was sent", amount: 990 * timmy.Sat},
		"/refund 10 me@x.example":          {fate: timmy.SentFailed, want: "Nothing was sent", amount: 10 * timmy.Sat},
		"/refund 11 me@x.example":          {fate: timmy.SentPending, want: "11 sats are on their way", amount: 11 * timmy.Sat},
		"/refund 12 me@x.example":          {err: timmy.Errorf(timmy.Limited, "Please try again tomorrow."), want: "tomorrow"},
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &onePayment{err: c.err, fate: timmy.Sent{State: c.fate, Fee: c.fee, Reason: "No route."}}
				alerts := 0
				p := NewPayouts(PayoutsConfig{Book: b, Payer: b, Targets: b, Alert: func(string) { alerts++ }})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- p.Run(ctx) }()
				r := newRig()
				d := NewDesk(DeskConfig{Book: r.book, Records: r.book, Model: r.model, Rates: r.rates, Prices: testPrices, Payouts: p})
				j := timmy.Job{Request: dm("c", text)}
				o := d.command(ctx, j)
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if !strings.Contains(o.Text, c.want) || b.ordered.Amount != c.amount || alerts != c.alerts || b.pays > 1 {
					t.Errorf("%q: ordered %v, %d alerts, paid %d times", o.Text, b.ordered.Amount, alerts, b.pays)
				}
				if c.amount > 0 && (b.ordered.ID != "request:c" || b.ordered.Account != timmy.UserAccount(alice)) {
					t.Errorf("ordered %+v", b.ordered)
				}
			})
		})
	}
}
