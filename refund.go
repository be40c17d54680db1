package timmy

import (
	"strings"
	"time"
)

// RefundState is where a refund stands.
type RefundState string

// The states. The last two are final.
const (
	RefundReserved RefundState = "reserved" // the money is held; no wallet has been asked
	RefundSending  RefundState = "sending"  // a wallet may have been asked: its word alone ends this
	RefundPaid     RefundState = "paid"
	RefundFailed   RefundState = "failed" // nothing was paid; the money is the account's again
)

// Final reports whether the refund has its end.
func (s RefundState) Final() bool { return s == RefundPaid || s == RefundFailed }

// Refund is unspent money on its way back over Lightning. Its id makes it
// once-only: the id of the request that asked for it, or a UUID.
type Refund struct {
	ID      string
	Account Account
	To      string // what was named: a bolt11, or a lightning address
	Amount  Msat   // that arrives
	Fee     Msat   // the most that routing may cost; once it is paid, what it did cost
	Invoice Invoice
	State   RefundState
	Reason  string    // why it failed, for people
	At      time.Time // when it was asked for
	Sent    time.Time // when the wallet was first asked; zero: not yet
}

// RefundOrder is a wish for a refund.
type RefundOrder struct {
	ID      string // makes it once-only
	Account Account
	To      string // a bolt11, or a lightning address
	Amount  Msat   // that arrives; 0: the invoice's, or all there is
}

// Outgoing is a payment for a wallet to make. It is made at most once per hash.
type Outgoing struct {
	Bolt11 string
	Hash   Hash
	Amount Msat // the invoice's, or what is paid to one that names none
	FeeMax Msat
}

// SentState is what a wallet says of an outgoing payment.
type SentState string

// The states. Anything that is neither a plain yes nor a plain no is pending.
const (
	SentPending SentState = "pending" // unknown, or under way: it may still be paid
	SentPaid    SentState = "paid"
	SentFailed  SentState = "failed"  // it was not and will not be paid
	SentNever   SentState = "unknown" // the wallet has not heard of it, so far
)

// Sent is an outgoing payment as the wallet has it.
type Sent struct {
	State    SentState
	Fee      Msat // of SentPaid, as the wallet said it, however absurd
	Preimage [32]byte
	Reason   string // of SentFailed, for people
}

// ParseLightningAddress reads name@host (LUD-16), in lower case. Whether it exists
// is another question.
func ParseLightningAddress(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	name, host, ok := strings.Cut(s, "@")
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-."
	if !ok || name == "" || len(s) > lightningAddressMax || strings.Trim(name, letters+"_+") != "" ||
		!strings.Contains(strings.Trim(host, "."), ".") || strings.Trim(host, letters) != "" {
		return "", Errorf(Invalid, "a lightning address looks like name@host.example")
	}
	return s, nil
}

// lightningAddressMax is above any lightning address.
const lightningAddressMax = 256
