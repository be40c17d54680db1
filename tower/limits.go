package tower

import (
	"time"

	"github.com/timmy-tower/timmy"
)

// Every number that bounds something, with its reason.
const (
	// textBytesMax is the longest question. A question costs the evaluation and
	// the work, so an unlimited one would be an unlimited hold.
	textBytesMax = 16 << 10

	// jobTime is the deadline of one request, evaluation and work together: above
	// the 120 s a provider is given, below what people wait for.
	jobTime = 150 * time.Second
	// heartbeatEvery keeps a lease well ahead of its end even if two beats fail.
	heartbeatEvery = 15 * time.Second
	// drainTime is what running requests get at stop; systemd kills after 30 s.
	drainTime = 25 * time.Second
	// abandonTime is what a cancelled model gets to return before Run gives up on it.
	abandonTime = 3 * time.Second
	// bookTime bounds one call of the book.
	bookTime = 10 * time.Second
	// finishTime is how long a finished request tries to be written: a full disk or
	// a busy database may recover, and the lease is kept meanwhile.
	finishTime = 60 * time.Second
	// pollEvery is how often the queue and the awaited answers are looked at when no
	// hint comes: hints may be lost, and other towers may give none.
	pollEvery = time.Second

	// recoverEvery is the pace at which leases that ran out are taken back.
	recoverEvery = time.Minute

	// expressLanes run commands beside the workers; expressMax of them may wait
	// before the workers take the rest.
	expressLanes = 2
	expressMax   = 256
	// workersDefault is how many queued requests run at once.
	workersDefault = 8
	// directDefault is how many requests run at once for askers on the line. Each
	// has its own hold, so this bounds memory, not money.
	directDefault = 256
	// waitersMax bounds who waits for an answer, about 1 KiB each.
	waitersMax = 10_000

	// followersMax bounds who listens to the bus, about 10 KiB each.
	followersMax = 1024
	// followerEvents is how far a listener may lag before it loses events.
	followerEvents = 64
	// deltaEvery and deltaBytes batch streamed text: a token at a time would be a
	// thousand events an answer.
	deltaEvery = 100 * time.Millisecond
	deltaBytes = 512

	// historyDefault and historyMax bound /history.
	historyDefault = 5
	historyMax     = 20
	// postingsPerCharge is the most postings that one charge of a key's account has.
	postingsPerCharge = 4
	// sessionsShown and unpaidShown bound /balance.
	sessionsShown = 5
	unpaidShown   = 20
	// topUpDefault is what /topup asks for when it is not told.
	topUpDefaultSats = 1000

	// invoiceExpiry is how long an invoice may be paid unless told otherwise.
	invoiceExpiry = time.Hour
	// issueTime bounds the wallet's making of an invoice: an asker waits for it.
	issueTime = 10 * time.Second
	// lookupTime bounds one question about one invoice.
	lookupTime = 10 * time.Second
	// listTime bounds the full pass's one question.
	listTime = 2 * time.Minute

	// probeAfter is how long a wallet may go unasked on a quiet tower.
	probeAfter = 2 * time.Minute

	// pollTick is how often due invoices are looked for.
	pollTick = time.Second
	// openEvery is how often the open invoices are read again: those of other
	// towers, and what was settled meanwhile.
	openEvery = 15 * time.Second
	// polledMax bounds the invoices that are polled one by one; the full pass sees
	// the others.
	polledMax = 10_000
	// lookupsPerTick and lookupsAtOnce keep a wallet from being overrun.
	lookupsPerTick = 64
	lookupsAtOnce  = 4
	// expiredPoll is the pace after expiry: a wallet settles late only in rare cases.
	expiredPoll = 5 * time.Minute
	// graceTime is how long after its expiry an invoice is still asked for.
	graceTime = 24 * time.Hour

	// passEvery is the pace of the full pass.
	passEvery = time.Hour
	// passBackFirst is how far the first pass looks back: longer than a tower should
	// ever be down.
	passBackFirst = 30 * 24 * time.Hour
	// passBack is how far the others look back: grace and a generous expiry.
	passBack = 50 * time.Hour
	// seenMax bounds the memory of payments that need no second report.
	seenMax = 20_000
	// lapseEvery is how soon after its invoice a parked request is closed.
	lapseEvery = 5 * time.Second

	// feeShare and feeLeast are what may be spent on routing a refund: one part in a
	// hundred, and enough for a small one.
	feeShare = 100
	feeLeast = 10 * timmy.Sat
	// sendTime bounds the wallet's own tries to pay; what is not known then is looked
	// up.
	sendTime = time.Minute
	// neverAfter is when a wallet that has not heard of a payment is believed: no call
	// of ours, or of a tower that died, can be under way so long after.
	neverAfter = 10 * time.Minute
	// refundSpare is how long an invoice must still live for a payment to be begun.
	refundSpare = 30 * time.Second
	// refundTick is how often open refunds are looked for, sweepEvery how often the
	// remainders of ended sessions are.
	refundTick = time.Second
	sweepEvery = time.Minute
	// refundsAtOnce bounds the payments that are under way together.
	refundsAtOnce = 4
	// refundPoll and refundWait: how often, and how long, somebody who asked for a
	// refund waits for its end. It goes on without them.
	refundPoll = 100 * time.Millisecond
	refundWait = 5 * time.Second

	// retryFirst and retryMost bound the back-off of everything that is tried again.
	retryFirst = 100 * time.Millisecond
	retryMost  = 30 * time.Second
	// watchSteady is a stream that lived long enough to start the back-off anew.
	watchSteady = time.Minute
	// failingMax bounds the list behind Healthy.
	failingMax = 1000
)
