package lnurl

import (
	"time"

	"github.com/timmy-tower/timmy"
)

// Limits.
const (
	MaxComment = 280 // runes, shown as commentAllowed (LUD-12)

	maxURI        = 16 * 1024 // bytes of a request's path and query: a zap request travels in it
	maxParameters = 16        // of a query; wallets send five at most
	maxPayerData  = 2 * 1024  // bytes of LUD-18 data; it is hashed, never kept
	maxName       = 64        // characters of a local part

	// Everything here is public, so every caller has a rate, by address prefix:
	// a /24, or a /56 of IPv6, is what one subscriber can change at will.
	callsPerMinute    = 600 // any route; wallets poll verify once a second
	callsBurst        = 200
	invoicesPerMinute = 60 // each is a call to the wallet
	invoicesBurst     = 100
	totalPerMinute    = 1_200 // invoices for all callers together: what a small wallet bears
	totalBurst        = 200
	maxPrefixes       = 10_000 // prefixes remembered; the rest share one bucket

	retryAfter = 30 // seconds, told while the wallet is away
)

// Defaults of [Config].
const (
	DefaultMin timmy.Msat = timmy.Sat
	DefaultMax timmy.Msat = 1_000_000 * timmy.Sat

	callTime = 30 * time.Second // for the wallet to make an invoice
)
