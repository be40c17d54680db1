package tower

import (
	"context"
	"time"

	"github.com/timmy-tower/timmy"
)

// Book is the durable record of requests. Each method is one transaction.
type Book interface {
	// Accept makes a request durable and queues it. fresh is false when its id
	// is known already: nothing happened then.
	Accept(ctx context.Context, r timmy.Request) (fresh bool, err error)

	// Start claims a request, reads what pricing needs, asks quote, and reserves
	// what it says: one transaction. With r nil it claims the oldest queued
	// request whose asker has fewer than two running (commands go first) and
	// ok is false when there is none. With r set it accepts and starts r itself:
	// for askers that wait on the line. An r that is known is started if it is
	// still queued; else ok is false.
	//
	// When quote, or the reservation, answers Unpaid: a request that waits is
	// returned with its lease and the error, to be parked by Invoices.Issued; one
	// that does not is finished as unpaid in the same transaction and returned
	// with the error and no lease. A session that is expired, awaiting its
	// deposit, or paused answers Expired, Conflict or Unpaid, and a paused state is
	// written then. Any other refusal of what was queued comes with its lease, to be
	// finished, or has been finished when there is none; ok is true then.
	Start(ctx context.Context, r *timmy.Request, quote func(timmy.Job) (timmy.Quote, error)) (j timmy.Job, ok bool, err error)

	// Extend is the heartbeat of a lease. Conflict: the lease was lost.
	Extend(ctx context.Context, l timmy.Lease) error

	// Finish posts the cost, releases the rest of the hold, and writes both
	// turns, the standing, the reply and, for fronts that are answered by parcel,
	// the parcel: one transaction. The job is as Start gave it. Conflict: its lease
	// was lost, nothing happened.
	Finish(ctx context.Context, j timmy.Job, o timmy.Outcome) (timmy.Reply, error)

	// Reply reads what became of a request; done is false while it is not final.
	// NotFound: no such request.
	Reply(ctx context.Context, id timmy.RequestID) (r timmy.Reply, done bool, err error)

	// Recover queues again what a dead process had under lease, releasing its
	// holds. A request that was tried three times is finished as failed.
	Recover(ctx context.Context) (int, error)
}

// Records is what the commands of a conversation read and erase.
type Records interface {
	Balance(ctx context.Context, a timmy.Account) (timmy.Balance, error)
	Standing(ctx context.Context, k timmy.PubKey) (timmy.Standing, error)
	// Owned lists the live sessions bound to a key, newest first; each with what it
	// holds itself.
	Owned(ctx context.Context, k timmy.PubKey, limit int) ([]timmy.Session, error)
	// Unpaid lists the invoices that an account can still pay, newest first.
	Unpaid(ctx context.Context, a timmy.Account, limit int) ([]timmy.Invoice, error)
	// Requests lists a key's latest requests (commands left out), newest first.
	Requests(ctx context.Context, k timmy.PubKey, limit int) ([]timmy.Reply, error)
	// Postings lists an account's latest movements, newest first.
	Postings(ctx context.Context, a timmy.Account, limit int) ([]timmy.Posting, error)
	// Forget deletes the turns of a thread and, if prompts is set, the texts and
	// answers of its finished requests; books stay. It says how many rows went.
	Forget(ctx context.Context, thread string, of timmy.PubKey) (int, error)
	// Cancel finishes as failed ("stopped") the questions that a key has queued or
	// parked, except the request keep.
	Cancel(ctx context.Context, k timmy.PubKey, keep timmy.RequestID) (int, error)
	// ClaimCode is a key's claim code, always the same.
	ClaimCode(ctx context.Context, k timmy.PubKey) (timmy.ClaimCode, error)
}

// Invoices is the durable record of money asked for and received. Each method
// is one transaction.
type Invoices interface {
	// Expect writes the row before the wallet is asked. ref travels to the wallet
	// and back. For a zap request, a parked request or a session's deposit or
	// top-up that has an open invoice already, Expect answers Conflict and open
	// is that invoice, ref its reference (nil while another caller is still making
	// it); a zap request
	// whose invoice was paid answers Conflict with the message "already paid".
	Expect(ctx context.Context, t timmy.TopUp) (ref string, open *timmy.Invoice, err error)
	// Issued stores the invoice under ref and, if it is for a request, parks that
	// request under its lease with a parcel that carries the invoice.
	Issued(ctx context.Context, ref string, inv timmy.Invoice, l timmy.Lease) error
	// Withdrawn gives a ref up whose wallet call failed. Should it be paid all
	// the same, Credit still finds it.
	Withdrawn(ctx context.Context, ref string) error
	// Open lists what may still be paid: unsettled and expired for less than 24
	// hours.
	Open(ctx context.Context, now time.Time) ([]timmy.Invoice, error)
	// Credit applies a payment at most once, found by hash or else by ref:
	// settled, postings, session activated or resumed, parcel, waiting requests
	// woken. The watcher's cursor, if not empty, moves in the same transaction,
	// whatever became of the payment.
	Credit(ctx context.Context, p timmy.Payment, next timmy.Cursor) (timmy.Credit, error)
	// Cursor is the watcher's place; empty at first.
	Cursor(ctx context.Context) (timmy.Cursor, error)
	// Lapse closes, with a parcel, what waits for an invoice that has expired.
	// Money that comes later is only credited.
	Lapse(ctx context.Context, now time.Time) (int, error)
}

// Model evaluates and works. An error is the operator's failure: it costs the
// asker nothing.
type Model interface {
	Evaluate(ctx context.Context, j timmy.Job) (timmy.Verdict, error)
	// Work answers within outputMax tokens. delta is given the text as it comes
	// and never blocks.
	Work(ctx context.Context, j timmy.Job, outputMax int64, delta func(string)) (timmy.Answer, error)
}

// Wallet makes invoices and says what was paid.
type Wallet interface {
	// Issue makes an invoice and has checked it: network, amount, hash,
	// description hash, expiry. ref travels as memo, external id or label.
	Issue(ctx context.Context, ref string, t timmy.TopUp, expiry time.Duration) (timmy.Invoice, error)
	Lookup(ctx context.Context, h timmy.Hash) (timmy.Payment, error)
	// List is for the full pass: everything settled since then.
	List(ctx context.Context, since time.Time) ([]timmy.Payment, error)
}

// Watcher is a wallet that pushes. It calls settled for each payment, in order,
// and returns when ctx ends or its stream breaks.
type Watcher interface {
	Watch(ctx context.Context, from timmy.Cursor, settled func(timmy.Payment, timmy.Cursor) error) error
}

// Rates gives the current bitcoin price, from memory. Unavailable: too old.
type Rates interface {
	Rate(ctx context.Context) (timmy.Rate, error)
}

// Papers are what an account's holder can show to others, as JSON. NotFound and
// Conflict: there is none, with the reason.
type Papers interface {
	// Find lists up to two of a key's requests that part of an id can mean, as people
	// are shown it or longer.
	Find(ctx context.Context, k timmy.PubKey, part string) ([]timmy.RequestID, error)
	// Receipt is the signed event of a request that was charged.
	Receipt(ctx context.Context, id timmy.RequestID) ([]byte, error)
	// Proof shows that an account's balance is in the tower's latest daily root.
	Proof(ctx context.Context, a timmy.Account) ([]byte, error)
}

// Refunds is the durable record of money on its way back. Each method is one
// transaction.
type Refunds interface {
	// Refund reserves what size says of r's account, fee included, and writes the
	// row. A known id is answered with its row. Conflict: another one of the account
	// is under way. Limited: the day's maximum. Unavailable: there are no refunds.
	// Unpaid: there is not enough. Invalid: the invoice is ours, or was used before.
	Refund(ctx context.Context, r timmy.Refund, size func(available timmy.Msat) (amount, fee timmy.Msat, err error)) (timmy.Refund, error)
	// Aim stores the invoice that a refund to an address is paid by. Conflict: it has
	// one. Invalid: the invoice is ours, or was used before.
	Aim(ctx context.Context, id string, inv timmy.Invoice) error
	// Launch is written before the wallet is asked to pay: nil is answered once,
	// ever. Conflict: to somebody else, or the refund has ended.
	Launch(ctx context.Context, id string) error
	// Recall ends a refund that was not launched. Conflict: it was.
	Recall(ctx context.Context, id, reason string) error
	// Land books the end of a launched refund, once. odd: the fee was absurd, and
	// booked as its limit.
	Land(ctx context.Context, id string, s timmy.Sent) (r timmy.Refund, odd bool, err error)
	RefundOf(ctx context.Context, id string) (timmy.Refund, error)
	// OpenRefunds lists what has no end yet, oldest first; what another wallet was
	// asked to pay is left out.
	OpenRefunds(ctx context.Context) ([]timmy.Refund, error)
	// RefundTo remembers where the remainder of an anonymous session goes at its end.
	RefundTo(ctx context.Context, session, to string) error
	// ReturnRemainders begins the refunds of sessions that have ended, and says how
	// many.
	ReturnRemainders(ctx context.Context, size func(available timmy.Msat) (amount, fee timmy.Msat, err error)) (int, error)
}

// Payer is a wallet that pays. Send is called at most once for a hash; its error,
// like [timmy.SentPending], leaves open what happened. Sent says what became of it;
// [timmy.SentNever] is believed only when no call can be under way any more.
type Payer interface {
	Send(ctx context.Context, o timmy.Outgoing) (timmy.Sent, error)
	Sent(ctx context.Context, h timmy.Hash) (timmy.Sent, error)
}

// Targets reads where a refund should go. Errors may be shown.
type Targets interface {
	// Read checks an invoice: of our network, not expired. Its amount may be 0, which
	// leaves it to the payer.
	Read(bolt11 string) (timmy.Invoice, error)
	// Ask gets an invoice over amount from a lightning address, checked.
	Ask(ctx context.Context, address string, amount timmy.Msat) (timmy.Invoice, error)
}
