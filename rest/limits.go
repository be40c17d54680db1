package rest

import "time"

// The maxima of this package: everything a caller can make grow.
const (
	// maxBody holds the longest text four times over, and escapes.
	maxBody = 64 << 10
	// maxForm holds a key, written in any way.
	maxForm = 4 << 10
	// maxText is the longest request text: what a model is asked at most.
	maxText = 16 << 10
	// maxDestination is the longest invoice, or lightning address, that is read.
	maxDestination = 2048
	// maxDepth of nested JSON; the documented bodies need one.
	maxDepth = 32
	// maxDigits of an amount: no amount of sats has more, and int64 holds them.
	maxDigits = 15
	// maxIdemKey is the documented longest Idempotency-Key.
	maxIdemKey = 255
	// maxUnsettled answers wait for books that can be written again, the newest: beyond
	// it a key stays in flight until another may take it over.
	maxUnsettled = 1024
	// maxCredential holds a token of ours with the caveats of its holders; a NIP-98
	// header is checked by its own codec and bounded by the server's header limit.
	maxCredential = 4096
	// maxPayment holds a token of the scheme Payment: two invoices, one of them encoded
	// twice.
	maxPayment = 16 << 10
	// maxCaveats of a macaroon, and maxMacaroons of a header: each is a MAC to compute.
	maxCaveats   = 32
	maxMacaroons = 4
	// identifierLen of a macaroon of ours: version, payment hash, token id (L402).
	identifierLen = 2 + 32 + 32
	// macaroonLife is longer than a session that is used can be expected to live.
	macaroonLife = 10 * 365 * 24 * time.Hour

	// maxTokens are remembered as checked, those used last.
	maxTokens = 1024

	// maxGenerations of a bearer are known without asking the database; a session
	// that was revived more often is counted like anybody.
	maxGenerations = 4

	// maxStreams of events in all, maxStreamsEach for one session or operator:
	// each costs a goroutine and a bus subscription.
	maxStreams     = 1024
	maxStreamsEach = 8
	// maxStreamLife makes a follower come back, and show its credential again.
	maxStreamLife = time.Hour
	// keepAlive is shorter than the idle time-out of common proxies.
	keepAlive = 15 * time.Second
	// writeWait closes a follower that stopped reading.
	writeWait = 10 * time.Second
	// bodyWait is how long a body may take to arrive.
	bodyWait = 15 * time.Second

	// maxClients is how many address prefixes have a bucket; beyond it the one
	// seen longest ago starts anew, which costs nothing but memory not spent.
	maxClients = 16384

	// topUpWait and topUpPoll: how long the loser of two top-ups waits for the
	// winner's invoice, which is being made by the wallet right now.
	topUpWait = 3 * time.Second
	topUpPoll = 50 * time.Millisecond

	// settleWait, settlePoll and settleCheck: how long a call with the preimage of an
	// invoice waits for our own book to know of the payment, how often it reads there,
	// and how often it has the wallet asked. maxSettling calls may wait at once.
	settleWait  = 10 * time.Second
	settlePoll  = 100 * time.Millisecond
	settleCheck = time.Second
	maxSettling = 64

	// payRefresh is how often, in seconds, the pay page reloads while it waits.
	payRefresh = 4
	// pageWait bounds what a page or a health check may ask of the database.
	pageWait = 5 * time.Second
)

// The defaults of [Config] and [Limits].
const (
	defaultTokenLife         = 24 * time.Hour
	defaultRequestTimeout    = 3 * time.Minute
	defaultSessionsPerMinute = 300
	defaultSessionsBurst     = 300
	defaultPerMinute         = 3000
	defaultBurst             = 3000
	// retryBusy and retryAway are what Retry-After says.
	retryBusy = 2 * time.Second
	retryAway = 5 * time.Second
)
