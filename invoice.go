package timmy

import (
	"encoding/hex"
	"time"
)

// Hash is a Lightning payment hash: SHA-256 of the preimage (BOLT 11 field p).
type Hash [32]byte

// String is the lower-case hex form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether there is no hash yet.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hex.
func (h *Hash) UnmarshalText(b []byte) error {
	p, err := ParseHash(string(b))
	*h = p
	return err
}

// ParseHash reads 64 hex digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 64 {
		return h, Errorf(Invalid, "payment hash: want 64 hex digits")
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, Errorf(Invalid, "payment hash: want 64 hex digits")
	}
	return h, nil
}

// Invoice is a BOLT 11 invoice the book knows.
type Invoice struct {
	Hash    Hash
	Bolt11  string
	Amount  Msat
	Expires time.Time
}

// InvoiceStatus is an invoice and what became of it.
type InvoiceStatus struct {
	Invoice
	Account  Account
	Settled  bool
	Received Msat
	Preimage [32]byte  // zero where the wallet does not tell
	At       time.Time // when it was settled
}

// Purpose says why an invoice exists.
type Purpose string

// The purposes. A session has at most one open deposit, top-up and challenge.
const (
	ForDeposit Purpose = "deposit" // activates a session
	ForTopUp   Purpose = "topup"   // of a session
	ForAsk     Purpose = "ask"     // of a session, whatever its state: an L402 challenge to who has its token
	ForRequest Purpose = "request" // a parked request runs when it is paid
	ForZap     Purpose = "zap"     // NIP-57: a receipt is due
	ForPay     Purpose = "pay"     // LNURL-pay without a zap, and /topup
	ForEntry   Purpose = "entry"   // the admission to the relay, charged when it is paid
)

// TopUp is money asked for: what an invoice is made from.
type TopUp struct {
	Account         Account
	Purpose         Purpose
	For             RequestID // the request that waits for it, if any
	Amount          Msat
	Memo            string   // shown by wallets; never a session id, which is a secret
	DescriptionHash [32]byte // set instead of Memo for LNURL and zaps; zero: none
	Description     []byte   // the bytes DescriptionHash was made of, kept exactly
	Zap             []byte   // the NIP-57 zap request, byte for byte
	ZapID           string   // its event id: one open invoice each
	Expiry          time.Duration
}

// Payment is what a wallet says of an invoice. Settled false: not paid (yet).
type Payment struct {
	Hash     Hash
	Ref      string // our reference, if the wallet carries it back
	Received Msat
	Preimage [32]byte // zero where the wallet does not tell
	Settled  bool
	Unproven bool // settled by the wallet's word, without the preimage that it owes: to quarantine
	At       time.Time
}

// Cursor is a watcher's place in its wallet's stream of settlements. It moves in
// the transaction that credits.
type Cursor string

// Credit says what reporting a payment did.
type Credit string

// The credits.
const (
	CreditApplied  Credit = "applied"  // this report moved the money
	CreditReplayed Credit = "replayed" // an earlier one had; nothing moved
	CreditUnknown  Credit = "unknown"  // no invoice of ours: to suspense, with an alert
	CreditRefused  Credit = "refused"  // under the amount, above twice of it, or without proof: quarantined, with an alert
)
