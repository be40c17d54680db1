package wallet

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/zpay32"

	"github.com/timmy-tower/timmy"
)

// fakeCLTV is the final hop's delta that LND asks for, too.
const fakeCLTV = 80

// newKey makes the throw-away node key and writes it down.
func (f *Fake) newKey() error {
	var raw [32]byte
	if _, err := io.ReadFull(f.rand, raw[:]); err != nil {
		return err
	}
	f.key, _ = btcec.PrivKeyFromBytes(raw[:])
	if _, err := f.journal.append(line{Op: "key", Key: hex.EncodeToString(f.key.Serialize())}); err != nil {
		return err
	}
	return f.journal.sync()
}

// sign makes the invoice with a fresh preimage and payment secret.
func (f *Fake) sign(ref string, t timmy.TopUp, life time.Duration) (*fakeInvoice, error) {
	inv := &fakeInvoice{ref: ref}
	var secret [32]byte
	if err := f.random(inv.preimage[:], secret[:]); err != nil {
		return nil, err
	}
	now := f.now()
	description := zpay32.DescriptionHash(t.DescriptionHash)
	if t.DescriptionHash == [32]byte{} {
		description = zpay32.Description(memo(t.Memo))
	}
	z, err := zpay32.NewInvoice(Regtest.params(), sha256.Sum256(inv.preimage[:]), now,
		zpay32.Amount(lnwire.MilliSatoshi(t.Amount)), description, zpay32.Expiry(life),
		zpay32.PaymentAddr(secret), zpay32.CLTVExpiry(fakeCLTV),
		zpay32.Features(lnwire.NewFeatureVector(lnwire.NewRawFeatureVector(
			lnwire.TLVOnionPayloadRequired, lnwire.PaymentAddrRequired, lnwire.MPPOptional), lnwire.Features)))
	if err != nil {
		return nil, err
	}
	bolt11, err := z.Encode(zpay32.MessageSigner{SignCompact: f.signCompact})
	if err != nil {
		return nil, err
	}
	inv.Invoice, err = Check(bolt11, Want{
		Network: Regtest, Amount: t.Amount, Hash: *z.PaymentHash, DescriptionHash: t.DescriptionHash, Now: now,
	})
	return inv, err
}

// random fills the buffers; the source need not be safe for several readers.
func (f *Fake) random(buffers ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range buffers {
		if _, err := io.ReadFull(f.rand, b); err != nil {
			return err
		}
	}
	return nil
}

// signCompact signs as BOLT 11 asks: recoverable, over one SHA-256.
func (f *Fake) signCompact(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return ecdsa.SignCompact(f.key, digest[:], true), nil
}

// memo is a description that fits an invoice: valid text of at most 639 bytes,
// never empty.
func memo(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "")
	if len(s) > maxMemo {
		s = s[:maxMemo]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	if s == "" {
		return "Timmy"
	}
	return s
}
