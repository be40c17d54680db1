package relay

import (
	"net/netip"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// What a stranger may send. The same numbers are shown in the NIP-11 document.
const (
	maxFrame    = nip.MaxEvent   // bytes of a message
	maxContent  = nip.MaxContent // bytes of an event's content
	maxTags     = nip.MaxTags    // of an event
	maxTagItem  = nip.MaxTagItem // bytes of a tag value that can be searched: each is an index entry
	maxDeletes  = 100            // tags of a kind 5: each is a write
	maxDepth    = 16             // nesting of a frame; the deepest documented one is 4
	maxSubID    = 64             // NIP-01
	maxLabel    = 32             // of an unknown label, when it is repeated to the sender
	maxFuture   = 900 * time.Second
	maxPast     = 3 * 365 * 24 * time.Hour // what strfry takes
	challengeSz = 32                       // random bytes of an AUTH challenge
)

// What a reader may ask for.
const (
	maxSubs       = 20  // subscriptions of a connection
	maxSubsAuthed = 50  // once a key is known, which can be blamed
	maxFilters    = 10  // of one REQ
	maxIDs        = 500 // ids, and authors, of a filter
	maxKinds      = 20
	maxTagNames   = 10  // "#x" members of a filter: each is a join
	maxTagValues  = 100 // of one "#x"
	maxLimit      = 500
	defaultLimit  = 100
	maxKeys       = 8      // keys that may authenticate on one connection
	maxValues     = 20_000 // of all live filters of a connection: about 2 MB of index
	maxPending    = 256    // live events held back until a subscription's EOSE
	maxScan       = 40     // index ranges one filter may be split into
	loadAtOnce    = 64     // events that are read with one question
	tagsAtOnce    = 16     // tags that are written with one statement
)

// queryTimeout ends a query that reads too much; what was found is not sent.
const queryTimeout = 2 * time.Second

// What may wait for one reader. A reader that is further behind is closed, and
// nobody else notices. Stored events wait for room themselves and leave half of
// it to live ones.
const (
	maxQueueBytes    = 4 << 20
	maxQueueMessages = 1_024
	maxHeld          = 32 << 10 // bytes that are sent together
	writeDeadline    = 10 * time.Second
	roomDeadline     = 12 * time.Second // longer than a write may take
	frameWithin      = 30 * time.Second // for all of a message, once its first bytes are there
	pingEvery        = 30 * time.Second // proxies close what is silent for 60 s
	pongWithin       = 45 * time.Second
)

// Rates.
const (
	warnEvery       = 500 * time.Millisecond // one warning for all frames in excess in that time
	maxWarnings     = 3                      // then the connection is closed
	badSignatureTTL = time.Minute
	maxPrefixes     = 16_384 // addresses, and keys, whose events or bad signatures are counted
	wideFactor      = 4      // a network (IPv4 /24, IPv6 /48) may do so many times what an address may
)

// What operators may decide while the relay runs.
const (
	maxRules       = 50_000   // of one sort: all are in memory, about 20 MB
	maxReason      = 256      // bytes of a reason that is kept with one
	maxCall        = 64 << 10 // bytes of a call (NIP-86); the longest description is 2,000
	maxDescription = 2_000
)

// Housekeeping.
const (
	sweepEvery    = time.Minute
	sweepOldEvery = time.Hour
	sweepBatch    = 500         // expired events deleted in one transaction, so that no writer waits long
	vanishBatches = 4           // deleted before a request to vanish is answered; the rest follows at once
	othersEvery   = time.Second // a look for events of other towers on the database, if no hint comes before
	othersBatch   = loadAtOnce  // of them, read at once
	otherPages    = 20          // of an event store that gives less than it is asked for
	drainFor      = 10 * time.Second
	closeWithin   = time.Second            // for the peer to answer that it closes, when shutting down
	drainGrace    = 200 * time.Millisecond // in which events are still answered when shutting down
	maxNameSize   = 29                     // NIP-11: names under 30 characters
)

// Limits are what an operator may want to change. Zero means the default.
type Limits struct {
	Connections     int // open at once; 4,096
	PerAddress      int // of one address: IPv4 /32, IPv6 /64; 256. A /24 or /48 may have four times as many
	FramesPerSecond int // of one connection; 300, with a burst of 1,000
	BadSignatures   int // a minute from one address; 20

	EventsPerAddress int // a minute, of one address, with a burst as large; 0: no limit
	EventsPerKey     int // a minute, of one author, or for gift wraps of who is authenticated; 0: no limit
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	set(&l.Connections, 4_096)
	set(&l.PerAddress, 256)
	set(&l.FramesPerSecond, 300)
	set(&l.BadSignatures, 20)
	return l
}

// burst is how many frames may come at once: a client that starts sends its
// subscriptions and its backlog together.
func (l Limits) burst() int { return max(1_000, l.FramesPerSecond) }

// prefix is what counts as one address. An IPv6 subscriber has a whole /64.
func prefix(a netip.Addr) netip.Prefix { return timmy.Network(a, 32, 64) }

// widePrefix is the network around an address, which often is one owner's too.
func widePrefix(a netip.Addr) netip.Prefix { return timmy.Network(a, 24, 48) }
