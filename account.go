package timmy

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// PubKey is a Nostr public key: the 32 bytes of BIP-340. The zero value is
// nobody.
type PubKey [32]byte

// ParsePubKey reads 64 lower-case hex digits (NIP-01). Upper case is refused:
// it would make a second name for the same key.
func ParsePubKey(s string) (PubKey, error) {
	var k PubKey
	if len(s) != 64 || strings.ToLower(s) != s {
		return k, fmt.Errorf("public key: want 64 lower-case hex digits, got %d characters", len(s))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return PubKey{}, fmt.Errorf("public key: %w", err)
	}
	return k, nil
}

// String is the lower-case hex form.
func (k PubKey) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether the key is nobody's.
func (k PubKey) IsZero() bool { return k == PubKey{} }

// MarshalText writes hex; nobody is the empty string.
func (k PubKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText is the inverse of MarshalText.
func (k *PubKey) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*k = PubKey{}
		return nil
	}
	*k, err = ParsePubKey(string(b))
	return err
}

// Account names a ledger account: "user:<hex>", "session:<uuid>" or one of the
// house's. User and session accounts and the pool can never go below zero and
// carry a stored balance; the balance of the other house accounts is the sum of
// their postings.
type Account string

// The house's accounts. The outside world is the first: what came in over
// Lightning is a debit of HouseLightning.
const (
	HouseLightning Account = "house:lightning" // money that came in from, or left to, the network
	HouseRevenue   Account = "house:revenue"   // earned
	HouseOperator  Account = "house:operator"  // what the operator put in
	HousePool      Account = "house:pool"      // pays for free and partly free requests; floor 0
	HouseFees      Account = "house:fees"      // routing fees of refunds
	HouseDust      Account = "house:dust"      // what rounding up to a whole sat earned
	HouseSuspense  Account = "house:suspense"  // paid to us, owner unknown; the operator resolves it
)

// UserAccount is the one account of a key, whichever front it comes through.
func UserAccount(k PubKey) Account { return Account("user:" + k.String()) }

// SessionAccount is the account of a documented HTTP session.
func SessionAccount(id string) Account { return Account("session:" + id) }

// User returns the key whose account this is.
func (a Account) User() (PubKey, bool) {
	s, ok := strings.CutPrefix(string(a), "user:")
	if !ok {
		return PubKey{}, false
	}
	k, err := ParsePubKey(s)
	return k, err == nil
}

// Session returns the id of the session whose account this is.
func (a Account) Session() (string, bool) { return strings.CutPrefix(string(a), "session:") }

// House reports whether the account is the house's own.
func (a Account) House() bool { return strings.HasPrefix(string(a), "house:") }

// Floored reports whether the account stores a balance that may not fall below
// zero.
func (a Account) Floored() bool { return !a.House() || a == HousePool }

// Balance is what an account holds. Posted is final; Held of it is reserved by
// running requests, so Posted-Held can be spent.
type Balance struct{ Posted, Held Msat }

// Available is what can still be reserved or spent.
func (b Balance) Available() Msat { return b.Posted - b.Held }

// Posting is one movement of money, immutable once written. Key is unique and
// says why it happened: "settle:<hash>", "finish:<request>:revenue", ….
type Posting struct {
	Seq                 int64
	Key                 string
	Source, Destination Account
	Amount              Msat  // > 0
	At                  int64 // unix milliseconds
}
