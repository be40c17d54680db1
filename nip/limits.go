package nip

import "time"

// Limits of what is read. The relay shows the first four in its NIP-11 document.
const (
	MaxEvent   = 131_072 // bytes of an event's JSON: a frame is no larger
	MaxContent = 65_536  // bytes of content, the default of most relays
	MaxTags    = 500     // more are only seen in follow lists
	MaxFollows = 3_000   // of a follow list that is read from other relays
	MaxTagItem = 1_024   // bytes of one item of a tag
	MaxLongTag = 65_536  // bytes of one item of a tag that carries a document (see longTag)

	followSize       = 128        // bytes of a follow's tag, with a relay and a name
	maxUnknownFields = 16         // fields that NIP-01 does not name; they are dropped
	maxFieldDepth    = 16         // nesting of such a field
	maxCreatedAt     = 1<<32 - 1  // the year 2106: later dates overflow somebody's 32 bits
	maxPlaintext     = 256 * 1024 // bytes of a NIP-44 plaintext; its own limit is 4 GiB
	maxCipher04      = 128 * 1024 // bytes of a NIP-04 content
	maxSecrets       = 4_096      // ECDH secrets of senders kept by a Key, 100 bytes each
	maxHeader        = 16 * 1024  // bytes of an Authorization header
	maxZapRequest    = 16 * 1024  // bytes of a zap request; it travels in a URL
	maxBech32        = 2_048      // characters of a bech32 string
	maxWalletURI     = 4_096      // bytes of a wallet connection string
	maxWalletWords   = 64         // methods a wallet names: NIP-47 has fifteen
	maxWalletWord    = 64         // bytes of a wallet's error code
	maxWalletText    = 200        // bytes kept of a wallet's words
)

// Limits of what is written.
const (
	MaxSealed  = 65_536    // bytes of a sealed event: relays with default settings take no more
	MaxPart    = 24 * 1024 // bytes of a part's text as escaped JSON; its wrap then stays under MaxSealed
	MaxRelays  = 10        // relays a stranger can make us publish to
	maxRelay   = 256       // characters of a relay's URL
	wrapSpread = 48 * time.Hour
)

// Windows of time.
const (
	MaxAge        = 72 * time.Hour   // of a message's real time: wraps travel up to two days, plus slack
	MaxAhead      = time.Hour        // of a message's real time: phones with a wrong clock
	authWindow    = 10 * time.Minute // NIP-42
	httpWindow    = time.Minute      // NIP-98
	zapWindow     = time.Hour        // a zap request is made for the invoice that it asks for
	maxExpiration = 1 << 40          // seconds; a later expiration is not a date
)
