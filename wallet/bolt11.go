package wallet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

// Network is the bitcoin network an invoice is for.
type Network string

// The networks, by their names in settings.
const (
	Mainnet Network = "mainnet"
	Testnet Network = "testnet"
	Signet  Network = "signet"
	Regtest Network = "regtest"
	Simnet  Network = "simnet"
)

// ParseNetwork reads a network's name; "bitcoin" is mainnet too.
func ParseNetwork(s string) (Network, error) {
	if s == "bitcoin" {
		return Mainnet, nil
	}
	n := Network(s)
	if n.params() == nil {
		return "", timmy.Errorf(timmy.Invalid, "network %.20q: want mainnet, testnet, signet, regtest or simnet", s)
	}
	return n, nil
}

// params are the network's parameters, nil if there is no such network.
func (n Network) params() *chaincfg.Params {
	switch n {
	case Mainnet:
		return &chaincfg.MainNetParams
	case Testnet:
		return &chaincfg.TestNet3Params
	case Signet:
		return &chaincfg.SigNetParams
	case Regtest:
		return &chaincfg.RegressionNetParams
	case Simnet:
		return &chaincfg.SimNetParams
	}
	return nil
}

// networkOf reads the human-readable part of an invoice: its network and the
// text of its amount. The longer prefixes go first: "lnbcrt" begins like "lnbc".
func networkOf(hrp string) (Network, string, error) {
	for _, p := range [...]struct {
		prefix  string
		network Network
	}{{"lnbcrt", Regtest}, {"lnbc", Mainnet}, {"lntbs", Signet}, {"lntb", Testnet}, {"lnsb", Simnet}} {
		if amount, ok := strings.CutPrefix(hrp, p.prefix); ok {
			return p.network, amount, nil
		}
	}
	return "", "", errors.New("not a Lightning invoice")
}

// Decoded is what a bolt11 invoice says, for display.
type Decoded struct {
	Network         Network
	Amount          timmy.Msat // 0: the payer chooses
	Hash            timmy.Hash
	Description     string
	DescriptionHash [32]byte // zero: it has a Description
	Secret          bool     // it has a payment secret
	Created         time.Time
	Life            time.Duration // at most ten years, whatever the invoice says
	Payee           string        // hex of the node's public key
}

// Expires is when the invoice can no longer be paid.
func (d Decoded) Expires() time.Time { return d.Created.Add(d.Life) }

// Decode reads a BOLT 11 invoice of any network and verifies its signature. The
// caps come first: zpay32 would multiply an amount past 64 bits.
func Decode(bolt11 string) (Decoded, error) {
	s, network, err := cap11(bolt11)
	if err != nil {
		return Decoded{}, err
	}
	inv, err := zpay32.Decode(s, network.params())
	if err != nil {
		return Decoded{}, fmt.Errorf("reading invoice: %w", err)
	}
	life, err := life11(s)
	if err != nil {
		return Decoded{}, err
	}
	d := Decoded{
		Network: network, Hash: *inv.PaymentHash, Secret: inv.PaymentAddr.IsSome(),
		Created: inv.Timestamp.UTC(), Life: life,
		Payee: hex.EncodeToString(inv.Destination.SerializeCompressed()),
	}
	if inv.MilliSat != nil {
		if *inv.MilliSat == 0 || uint64(*inv.MilliSat) > uint64(timmy.MaxMsat) {
			return Decoded{}, errors.New("reading invoice: absurd amount")
		}
		d.Amount = timmy.Msat(*inv.MilliSat)
	}
	if inv.Description != nil {
		d.Description = *inv.Description
	}
	if inv.DescriptionHash != nil {
		d.DescriptionHash = *inv.DescriptionHash
	}
	return d, nil
}

// cap11 refuses what is too large to be looked at and returns the invoice in
// lower case.
func cap11(bolt11 string) (string, Network, error) {
	if bolt11 == "" {
		return "", "", errors.New("reading invoice: empty")
	}
	if len(bolt11) > maxBolt11 {
		return "", "", fmt.Errorf("reading invoice: %d characters, at most %d", len(bolt11), maxBolt11)
	}
	s := bolt11
	if strings.ToUpper(s) == s {
		s = strings.ToLower(s)
	}
	one := strings.LastIndexByte(s, '1')
	if one < 0 {
		return "", "", errors.New("reading invoice: not a Lightning invoice")
	}
	network, amount, err := networkOf(s[:one])
	if err != nil {
		return "", "", fmt.Errorf("reading invoice: %w", err)
	}
	digits := 0
	for digits < len(amount) && amount[digits] >= '0' && amount[digits] <= '9' {
		digits++
	}
	if digits > maxAmountDigits || len(amount)-digits > 1 {
		return "", "", errors.New("reading invoice: absurd amount")
	}
	return s, network, nil
}

// life11 reads the expiry field itself, in seconds, because zpay32 multiplies it
// into nanoseconds past 64 bits. The result is clamped to [maxReadLife].
func life11(s string) (time.Duration, error) {
	const timestamp, signature, typeX = 7, 104, 6
	_, data, err := bech32.DecodeNoLimit(s)
	if err != nil || len(data) < timestamp+signature {
		return 0, errors.New("reading invoice: too short")
	}
	fields := data[timestamp : len(data)-signature]
	life, seen := defaultLife, false
	for len(fields) >= 3 {
		n := int(fields[1])<<5 | int(fields[2])
		if len(fields) < 3+n {
			break
		}
		if fields[0] == typeX && !seen {
			life, seen = seconds(fields[3:3+n]), true
		}
		fields = fields[3+n:]
	}
	return life, nil
}

// seconds reads 5-bit groups as a number of seconds, clamped to [maxReadLife].
func seconds(groups []byte) time.Duration {
	const most = int64(maxReadLife / time.Second)
	n := int64(0)
	for _, g := range groups {
		n = min(n<<5|int64(g), most)
	}
	return time.Duration(n) * time.Second
}

// Want is what an invoice must say. Zero Hash and DescriptionHash: any.
type Want struct {
	Network         Network
	Amount          timmy.Msat
	Hash            timmy.Hash
	DescriptionHash [32]byte
	Now             time.Time
}

// Check reads an invoice that a backend made and refuses it unless it says what
// was wanted, has a payment secret and can still be paid. Expires is at most 24
// hours from now. The error is for the log: the asker did nothing wrong.
func Check(bolt11 string, w Want) (timmy.Invoice, error) {
	d, err := Decode(bolt11)
	if err != nil {
		return timmy.Invoice{}, err
	}
	expires := d.Expires()
	if most := w.Now.Add(maxLife); expires.After(most) {
		expires = most
	}
	switch {
	case d.Network != w.Network:
		err = fmt.Errorf("it is for %s, not %s", d.Network, w.Network)
	case d.Amount == 0:
		err = errors.New("it has no amount")
	case d.Amount != w.Amount:
		err = fmt.Errorf("it is over %v, not %v", d.Amount, w.Amount)
	case d.Hash.IsZero():
		err = errors.New("its payment hash is zero")
	case !w.Hash.IsZero() && d.Hash != w.Hash:
		err = errors.New("its payment hash is another")
	case !d.Secret:
		err = errors.New("it has no payment secret")
	case w.DescriptionHash != [32]byte{} && d.DescriptionHash != w.DescriptionHash:
		err = errors.New("its description hash is missing or another")
	case !expires.After(w.Now):
		err = errors.New("it has expired already")
	}
	if err != nil {
		return timmy.Invoice{}, fmt.Errorf("checking invoice: %w", err)
	}
	return timmy.Invoice{Hash: d.Hash, Bolt11: bolt11, Amount: d.Amount, Expires: expires}, nil
}

// Describe says in a few lines what an invoice is, for people.
func Describe(bolt11 string) (string, error) {
	d, err := Decode(bolt11)
	if err != nil {
		return "", timmy.Errorf(timmy.Invalid, "this is not a Lightning invoice that I can read")
	}
	amount := "chosen by the payer"
	if d.Amount > 0 {
		amount = fmt.Sprintf("%d sats", d.Amount.Sats())
		if rest := d.Amount % timmy.Sat; rest != 0 {
			amount += fmt.Sprintf(" and %d msat", int64(rest))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Lightning invoice (%s)\namount: %s\n", d.Network, amount)
	if d.DescriptionHash != [32]byte{} {
		fmt.Fprintf(&b, "description hash: %x\n", d.DescriptionHash)
	} else {
		fmt.Fprintf(&b, "description: %s\n", d.Description)
	}
	fmt.Fprintf(&b, "payment hash: %s\npayee: %s\ncreated: %s\nexpires: %s", d.Hash, d.Payee,
		d.Created.Format(time.RFC3339), d.Expires().Format(time.RFC3339))
	return b.String(), nil
}
