package tower

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/timmy-tower/timmy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeModel accepts and echoes unless told otherwise.
type fakeModel struct {
	evaluate func(context.Context, timmy.Job) (timmy.Verdict, error)
	work     func(context.Context, timmy.Job, int64, func(string)) (timmy.Answer, error)
}

var fakeUsage = timmy.Usage{In: 1000, Out: 100}

func (m *fakeModel) Evaluate(ctx context.Context, j timmy.Job) (timmy.Verdict, error) {
	if m.evaluate != nil {
		return m.evaluate(ctx, j)
	}
	return timmy.Verdict{Accepted: true, Usage: timmy.Usage{In: 500, Out: 20}}, nil
}

func (m *fakeModel) Work(ctx context.Context, j timmy.Job, most int64, delta func(string)) (timmy.Answer, error) {
	if m.work != nil {
		return m.work(ctx, j, most, delta)
	}
	delta("you said ")
	delta(j.Text)
	return timmy.Answer{Text: "you said " + j.Text, Usage: fakeUsage}, nil
}

// fakeRates is a fixed bitcoin price, or an error.
type fakeRates struct {
	rate timmy.Rate
	err  error
}

func (f *fakeRates) Rate(context.Context) (timmy.Rate, error) { return f.rate, f.err }

// rate100k is 100,000 USD: a sat is 1,000 micro-USD.
const rate100k timmy.Rate = 100_000_000_000

var testPrices = Prices{EvalIn: 1_000_000, EvalOut: 5_000_000, WorkIn: 3_000_000, WorkOut: 15_000_000, Infra: 1000, Margin: 400_000, OutputMax: 1024}

var alice = timmy.PubKey{1}

// rig is a desk with a till over fakes.
type rig struct {
	book   *fakeBook
	model  *fakeModel
	wallet *fakeWallet
	rates  *fakeRates
	till   *Till
	desk   *Desk
}

func newRig(edit ...func(*DeskConfig)) *rig {
	r := &rig{book: newBook(), model: &fakeModel{}, wallet: newWallet(), rates: &fakeRates{rate: rate100k}}
	r.till = NewTill(TillConfig{Invoices: r.book, Wallet: r.wallet})
	cfg := DeskConfig{
		Book: r.book, Records: r.book, Till: r.till, Model: r.model, Rates: r.rates, Prices: testPrices,
		Texts: Texts{MinTopUp: 100 * timmy.Sat, MaxTopUp: 10_000 * timmy.Sat, Address: "timmy@tower.example"},
	}
	for _, e := range edit {
		e(&cfg)
	}
	r.desk = NewDesk(cfg)
	return r
}

// start runs desk and till until the returned function is called.
func (r *rig) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- r.desk.Run(ctx) }()
	go func() { done <- r.till.Run(ctx) }()
	return func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
}

func dm(id, text string) timmy.Request {
	return timmy.Request{
		ID: timmy.RequestID(id), Front: timmy.FrontDM, From: alice, Payer: timmy.UserAccount(alice), Thread: "dm:alice",
		Text: text, Command: IsCommand(text), Wait: true,
	}
}

func rest(id, text string) timmy.Request {
	return timmy.Request{ID: timmy.RequestID(id), Front: timmy.FrontREST, Payer: timmy.SessionAccount("s"), Thread: "session:s", Text: text}
}
