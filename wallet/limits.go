package wallet

import "time"

// Everything that can grow, and why it may grow no further.
const (
	// maxBolt11 is far above an invoice with a full description and a few route
	// hints (about 700 characters); larger ones are an attack or a mistake, and
	// do not fit a QR code.
	maxBolt11 = 2048
	// maxAmountDigits keeps the amount below where zpay32 multiplies past 64
	// bits: ten digits of nano-bitcoin are 10 BTC.
	maxAmountDigits = 10
	// maxLife is the longest that an invoice is offered for; the price of
	// bitcoin moves, and an open invoice is polled.
	maxLife = 24 * time.Hour
	// maxReadLife is what the expiry of an invoice is cut to when it is read.
	maxReadLife = 10 * 365 * 24 * time.Hour
	// defaultLife is for callers that name none.
	defaultLife = time.Hour
	// maxMemo is what BOLT 11's description field holds.
	maxMemo = 639
	// maxRef is above any reference of ours.
	maxRef = 128
	// maxKey is above any LNbits key, which is 32 characters.
	maxKey = 128

	// maxFakeInvoices bounds the test wallet's memory, about 1 KB each.
	maxFakeInvoices = 200_000
	// maxJournalLine is above any line the test wallet writes.
	maxJournalLine = 64 << 10

	// A macaroon has an identifier and a signature of 32 bytes at least, and is a
	// header: 2 KB hold every permission there is.
	minMacaroon = 50
	maxMacaroon = 2048
	// maxRune is above a rune with any restrictions that people write.
	maxRune = 4096
	// createWait leaves the rest of callTimeout for finding an invoice whose
	// making was not answered.
	createWait = 6 * time.Second
	// longPoll is how long a node may keep a call open until something is paid;
	// proxies cut at a minute.
	longPoll = 55 * time.Second
	// maxPhoenixdMemo is the longest description that phoenixd takes.
	maxPhoenixdMemo = 128
	// cursorSlack is how far apart payments may complete out of order, where the
	// cursor is a time.
	cursorSlack = 10 * time.Minute
	// maxAddress is above any lightning address, maxProviderURL above any address
	// that a provider names.
	maxAddress     = 256
	maxProviderURL = 2048
	// offerAge is how long a provider's offer is remembered.
	offerAge = 5 * time.Minute
	// maxPromises bounds a provider's invoices that are remembered, about 1 KB
	// each; what is over is forgotten at every start and when it is full. maxVerifies bounds the calls
	// of one full pass: each open invoice is polled on its own as well.
	maxPromises = 100_000
	maxVerifies = 500
	// maxCerts is above any certificate file of a node.
	maxCerts = 16
	// nwcSentWithin is how far back a payment is looked for that a wallet does not find.
	nwcSentWithin = 3 * 24 * time.Hour
	// payFor is how many seconds a node tries to find a way for a payment: less than
	// the tower waits for its word.
	payFor = 50
	// nodePage and maxNodePages bound a full pass over a node's invoices, which
	// come with hints and parts, some kilobytes each: a page must fit maxReply.
	nodePage     = 50
	maxNodePages = 1000
	// replayWait is how long a node may take to replay the settlement that was
	// credited last; streamIdle is when a silent stream is opened anew.
	replayWait = 15 * time.Second
	streamIdle = 5 * time.Minute

	// nwcRead is how long one try of a read may take over Nostr, so that a second
	// fits into callTimeout: a request that a relay lost is never answered.
	nwcRead = 4500 * time.Millisecond
	// nwcExpiry is when a wallet may forget a request; longer than callTimeout, for
	// clocks differ.
	nwcExpiry = 60 * time.Second
	// nwcInfoAge is how long what a wallet says about itself is believed.
	nwcInfoAge = time.Hour
	// nwcPage is the most that NIP-47 wallets list at once, and maxNWCPages bounds a
	// full pass.
	nwcPage     = 20
	maxNWCPages = 1000
	// maxProbeWords bounds the methods of a wallet that are looked at.
	maxProbeWords = 64
	// nwcHints is how many notifications may wait; what is over is polled.
	nwcHints = 256

	// maxReply is the largest answer read from a backend or a price source.
	maxReply = 1 << 20
	// maxLoggedReply is how much of a refusal's text is kept for the log.
	maxLoggedReply = 200

	// connectTimeout and callTimeout bound a call of a backend, retries
	// included: an asker waits on the line.
	connectTimeout = 3 * time.Second
	callTimeout    = 10 * time.Second
	// maxTries is of idempotent reads only; creating an invoice twice would
	// make two.
	maxTries = 3
	// retryFirst and retryMost are the jittered pauses between tries.
	retryFirst = 200 * time.Millisecond
	retryMost  = 2 * time.Second

	// breakerFailures in a row open the breaker for breakerPause.
	breakerFailures = 5
	breakerPause    = 30 * time.Second

	// recentHashes is how many issued hashes are remembered, to refuse one that
	// a backend gives out twice and to know which push frames are worth a call.
	recentHashes = 4096
	// hintBurst and hintEvery bound the calls that push frames about unknown
	// hashes can cause: anybody may send such frames.
	hintBurst = 20
	hintEvery = time.Second
	// watchPing finds a dead socket; watchPong is how long the answer may take.
	watchPing = 30 * time.Second
	watchPong = 10 * time.Second

	// pageSize and maxPages bound a full pass over the wallet's list.
	pageSize = 100
	maxPages = 500
	// listSlack is how long before `since` an invoice may have been made that
	// was settled after it: its life and the grace for late payments.
	listSlack = 3 * 24 * time.Hour

	// sourceTimeout is how long all price sources have, together.
	sourceTimeout = 3 * time.Second
	// minSources must have answered: one source alone may be wrong or lying.
	minSources = 2
	// agreeing sources may move the price further than the band, within
	// agreePercent of each other.
	agreeing     = 3
	agreePercent = 2
	// refreshEvery is the oracle's pace, and retryEvery while it knows nothing.
	refreshEvery = 60 * time.Second
	retryEvery   = 10 * time.Second
	// maxRateAge is how old a price may be that new work is quoted at.
	maxRateAge = 15 * time.Minute
	// maxSources is more than anyone configures.
	maxSources = 16
	// maxDecimal is the longest price text that is read.
	maxDecimal = 32
)
