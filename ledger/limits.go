package ledger

import "time"

const (
	// defaultLease is longer than the most a provider may take (120 s), so that a
	// slow answer is not given to a second worker.
	defaultLease = 150 * time.Second
	// defaultIdem is how long an Idempotency-Key is remembered, as documented.
	defaultIdem = 7 * 24 * time.Hour
	// defaultSessionExpiry is the documented sliding life of a session.
	defaultSessionExpiry = 24 * time.Hour

	// maxRunning is how many requests of one asker run at a time, so that nobody
	// keeps all workers.
	maxRunning = 2
	// maxCrashes is how often a request may take the process down with it.
	maxCrashes = 3
	// calm is how long a process must have lived before it runs a request that only
	// one more crash is missing for, so that a tower that is killed again and again
	// for another reason fails nobody's request.
	calm = 3 * time.Second

	// historyTurns and historyTokens are the documented window of a conversation.
	historyTurns  = 8
	historyTokens = 4000

	// expectFor is how long a wallet may take to make an invoice before its slot
	// is given to the next caller: a process that died holds it no longer.
	expectFor = time.Minute
	// openFor is how long after its expiry an invoice is still asked for: payments
	// in flight settle late. Later ones come by push or by the full pass.
	openFor = 24 * time.Hour
	// maxOpen bounds the list of open invoices.
	maxOpen = 10_000

	// maxSweep is how many rows a sweeping call (Lapse, Cancel, Recover, Prune)
	// handles in its one transaction; the next call takes the rest.
	maxSweep = 1000
	// maxList bounds what is listed for people.
	maxList = 1000
	// maxDue bounds a batch of parcels.
	maxDue = 256
	// maxPutOff is the longest that a parcel is put off. One that waits for longer was
	// dated by a clock that has been set back since.
	maxPutOff = 15 * time.Minute

	// keepDelivered is how long a delivered parcel's row (without its text) stays,
	// for the operator's questions.
	keepDelivered = 7 * 24 * time.Hour
	// keepUnpaidSession is how long after its expiry a session that never got money
	// stays: its deposit may still be paid late.
	keepUnpaidSession = 30 * 24 * time.Hour
	// refundDay is what the maximum of refunds is counted over, and the pace at which
	// a remainder that could not be sent is tried again.
	refundDay = 24 * time.Hour
	// maxOpenRefunds is how many refunds are listed, or begun, at a time.
	maxOpenRefunds = 256
	// maxRefundID, maxRefundTo and maxRefundReason bound what a refund's row holds.
	maxRefundID     = 128
	maxRefundTo     = 2048
	maxRefundReason = 200
	// maxSeen bounds the replay set. Its entries live for minutes; full means an
	// attack, and the answer is to refuse.
	maxSeen = 200_000
	// maxSeenID bounds an entry of it: an event id, or a little more.
	maxSeenID = 128
	// maxIdemKey and maxIdemBody bound a stored Idempotency-Key and its answer.
	maxIdemKey  = 512
	maxIdemBody = 1 << 20
	// expirySteps are how many ends a session can have within its life.
	expirySteps = 24 * 60 * 60
	// meetAgain is how old LastSeen may be before Meet writes it again: a write for
	// each call of each caller would be a commit each.
	meetAgain = time.Hour
	// takeOver is when a call that never ended (a handler that panicked) gives its
	// Idempotency-Key free.
	takeOver = 10 * time.Minute
)
