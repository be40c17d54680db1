package relay

import "time"

// Limits of the inbox.
const (
	inboxMaxText   = 16 << 10         // bytes of one question, as over HTTP; longer ones are told so
	inboxMaxAge    = 72 * time.Hour   // wraps are back-dated two days, what they hold is not: older is a replay
	inboxMaxFuture = 15 * time.Minute // a clock that is off, but not a message kept for later
	inboxPeerRate  = 20               // messages a minute of one key: two bots that answer each other stop here
	inboxPeers     = 16 << 10         // keys counted in one minute; beyond, messages are refused until it ends
)

// Limits of the courier.
const (
	courierBatch      = 256                // parcels read at once
	courierWorkers    = 16                 // recipients served at once on the own relay
	courierRemotes    = 64                 // parcels on their way to other relays at once
	courierPoll       = time.Second        // the wake-up is a hint: this alone is enough
	courierRelays     = 5                  // relays of one asker that get the answer
	courierZapRelays  = 10                 // relays of one zap request that get the receipt
	courierKeep       = 24 * time.Hour     // how long other relays are tried
	courierMaxTries   = 200                // the same in tries, should a clock jump
	courierMaxLost    = 7 * 24 * time.Hour // how long the own relay is tried before a parcel is given up
	courierMaxBroken  = 10                 // tries of a parcel that cannot even be sealed
	courierOwnTimeout = 10 * time.Second   // for one event on the own relay
	courierBackoff    = 30 * time.Second   // first wait for another relay
	courierMaxBackoff = 10 * time.Minute   // longest wait for another relay
	courierLookup     = 4 * time.Second    // for asking the indexers where somebody reads
	courierLookups    = 4096               // keys whose look-up is remembered
	courierLookupKeep = 10 * time.Minute   // how long it is remembered, found or not
	courierTopUp      = 3 * time.Second    // for the invoice under an answer
	courierProgress   = 4096               // parcels whose accepted relays are remembered
)

// Limits of the gatherer, which reads the tower's messages on other relays.
const (
	gatherRelays = 4              // one connection each
	gatherSince  = 72 * time.Hour // wraps are dated back two days
	gatherPages  = 100            // of [clientFetchMax] at each connection: 50,000 messages in three days
	gatherSeen   = 16 << 10       // events remembered, twice, that need not be opened again
)

// Limits of the web of trust.
const (
	webEvery  = time.Hour
	webLists  = 2_000   // follow lists that are read: of the operators, and of whom they follow
	webBatch  = 50      // lists asked for at once
	webRelays = 8       // relays asked
	webMax    = 200_000 // keys in it: about 10 MB
)

// Limits of the client for other people's relays.
const (
	clientMaxURL         = 256              // bytes of a relay's address
	clientMaxFrame       = 1 << 20          // bytes of one message from a relay
	clientMaxEvent       = 256 << 10        // bytes of one event in it: the long form of NIP-44 fits
	clientMaxParts       = 8                // elements of one message
	clientMaxLabel       = 64               // bytes of a subscription id we could have made
	clientMaxReason      = 256              // bytes kept of a relay's words
	clientMaxChallenge   = 256              // bytes of a NIP-42 challenge
	clientAuthEvery      = 10 * time.Second // a relay that changes its challenge gets no more signatures than this
	clientAuthWait       = 2 * time.Second  // for the challenge after "auth-required:"
	clientMaxBad         = 100              // broken, forged or unasked messages until we hang up
	clientBan            = time.Hour        // and do not come back for
	clientDialTimeout    = 5 * time.Second  // name, TCP, TLS and handshake
	clientMaxHeader      = 16 << 10         // bytes of a handshake's header
	clientPublishTimeout = 10 * time.Second // from dialling to OK
	clientPing           = 30 * time.Second // to notice a peer that is gone
	clientPingWait       = 10 * time.Second // for its answer
	clientQueue          = 16               // events read ahead of the subscriber: 4 MiB at most
	clientSubs           = 16               // subscriptions of one connection
	clientSeen           = 4096             // verified ids remembered, twice: what was seen is not verified again
	clientFetchMax       = 500              // events of one Fetch
	clientConns          = 32               // connections in all
	clientIdle           = 60 * time.Second // an unused connection is closed after
	clientRelays         = 2048             // relays remembered with their back-off
	clientBackoff        = 30 * time.Second // first wait after a failure
	clientMaxBackoff     = 10 * time.Minute // longest wait after failures
)
