package nip

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// Kinds of NIP-57.
const (
	KindZapRequest = 9734 // handed to the LNURL callback, never published
	KindZapReceipt = 9735 // says that we were paid; proves nothing to anybody else
)

// ZapRequest is a zap request that passed every check of NIP-57, and ours.
type ZapRequest struct {
	Event     *nostr.Event
	Raw       []byte       // byte for byte as it came: the invoice commits to it
	From      timmy.PubKey // who signed; of an anonymous zap, a throw-away key
	Anonymous bool         // credit nobody: From is not who paid
	Private   string       // who paid, encrypted for the recipient: see [OpenPrivateZap]; "": not said
	Amount    timmy.Msat
	Relays    []string // where the receipt is wanted, at most MaxRelays: a stranger's list, see PublicRelays
	E, A, K   string   // what was zapped, or ""
	Lnurl     string   // the LNURL it was made for, or ""
	Comment   string
}

// ParseZapRequest checks a zap request for recipient that is to be paid with
// amount: kind, id, signature; exactly one p, the recipient; at most one e, a and
// P (the receipt's key); amount, if given, equal; made within the hour and not
// expired. Every error is [timmy.Invalid].
func ParseZapRequest(raw []byte, recipient, receiptKey timmy.PubKey, amount timmy.Msat, now time.Time) (ZapRequest, error) {
	if len(raw) > maxZapRequest {
		return ZapRequest{}, badZap("too long")
	}
	ev, err := ParseEvent(raw)
	if err != nil {
		return ZapRequest{}, badZap(strings.TrimPrefix(err.Error(), "invalid: "))
	}
	if ev.Kind != KindZapRequest {
		return ZapRequest{}, badZap("kind must be 9734")
	}
	if why := zapFault(ev, recipient, receiptKey, amount); why != "" {
		return ZapRequest{}, badZap(why)
	}
	if at, ok := expiration(ev.Tags); !within(ev.CreatedAt, now, zapWindow) || ok && !at.After(now) {
		return ZapRequest{}, timmy.Errorf(timmy.Invalid, "stale zap request")
	}
	if err := Verify(ev); err != nil {
		return ZapRequest{}, badZap(strings.TrimPrefix(err.Error(), "invalid: "))
	}
	from, err := timmy.ParsePubKey(ev.PubKey)
	if err != nil {
		return ZapRequest{}, badZap("pubkey")
	}
	return ZapRequest{
		Event: ev, Raw: raw, From: from, Anonymous: len(all(ev.Tags, "anon")) > 0, Private: first(ev.Tags, "anon"), Amount: amount,
		Relays: RelayURLs(zapRelays(ev.Tags)), E: first(ev.Tags, "e"), A: first(ev.Tags, "a"),
		K: first(ev.Tags, "k"), Lnurl: first(ev.Tags, "lnurl"), Comment: ev.Content,
	}, nil
}

func badZap(why string) error { return timmy.Errorf(timmy.Invalid, "invalid zap request: %s", why) }

// zapFault checks the tags.
func zapFault(ev *nostr.Event, recipient, receiptKey timmy.PubKey, amount timmy.Msat) string {
	if p, ok := only(ev.Tags, "p"); !ok || p != recipient.String() {
		return "it needs exactly one p tag, the recipient's key"
	}
	for _, e := range all(ev.Tags, "e") {
		if !isHex(e, 64) {
			return "malformed e tag"
		}
	}
	for _, a := range all(ev.Tags, "a") {
		if !isCoordinate(a) {
			return "malformed a tag"
		}
	}
	for _, p := range all(ev.Tags, "P") {
		if p != receiptKey.String() {
			return "P is not the key that signs receipts"
		}
	}
	for _, a := range all(ev.Tags, "amount") {
		if a != strconv.FormatInt(int64(amount), 10) {
			return "the amount tag is not the amount to pay"
		}
	}
	for _, name := range []string{"e", "a", "P", "k", "amount", "lnurl", "relays"} {
		if len(all(ev.Tags, name)) > 1 {
			return "more than one " + name + " tag"
		}
	}
	return ""
}

// isCoordinate reports whether a is "<kind>:<pubkey>:<d>".
func isCoordinate(a string) bool {
	part := strings.SplitN(a, ":", 3)
	if len(part) != 3 || !isHex(part[1], 64) {
		return false
	}
	kind, err := strconv.ParseUint(part[0], 10, 16)
	return err == nil && strconv.FormatUint(kind, 10) == part[0]
}

func zapRelays(tags nostr.Tags) []string {
	for _, t := range tags {
		if t[0] == "relays" {
			return t[1:]
		}
	}
	return nil
}

// Receipt is the kind 9735 for a zap request that was paid. raw is the request
// byte for byte, paidAt comes from the wallet: making the receipt again makes the
// same id. The preimage is left out if it is not known.
func Receipt(k Key, raw []byte, inv timmy.Invoice, preimage [32]byte, paidAt time.Time) (*nostr.Event, error) {
	req, err := ParseEvent(raw)
	if err != nil || req.Kind != KindZapRequest {
		return nil, badZap("it cannot be read any more")
	}
	ev := &nostr.Event{Kind: KindZapReceipt, CreatedAt: nostr.Timestamp(paidAt.Unix())}
	for _, name := range []string{"p", "e", "a", "k"} {
		if v := first(req.Tags, name); v != "" {
			ev.Tags = append(ev.Tags, nostr.Tag{name, v})
		}
	}
	ev.Tags = append(ev.Tags, nostr.Tag{"P", req.PubKey}, nostr.Tag{"bolt11", inv.Bolt11},
		nostr.Tag{"description", string(raw)})
	if preimage != [32]byte{} {
		ev.Tags = append(ev.Tags, nostr.Tag{"preimage", hex.EncodeToString(preimage[:])})
	}
	return ev, k.Sign(ev)
}

// ReceiptRelays is where the sender of a zap request wants its receipt: public
// relays alone, at most [MaxRelays].
func ReceiptRelays(raw []byte) []string {
	req, err := ParseEvent(raw)
	if err != nil {
		return nil
	}
	return PublicRelays(zapRelays(req.Tags))
}

// ZapRequestEvent makes a zap request of z (its Amount, Relays, E, A, K, Lnurl,
// Comment and Anonymous) to a recipient, signed by k. For an anonymous zap, k is
// a throw-away key.
func ZapRequestEvent(k Key, to timmy.PubKey, z ZapRequest, now time.Time) (*nostr.Event, error) {
	ev := &nostr.Event{
		Kind: KindZapRequest, CreatedAt: nostr.Timestamp(now.Unix()), Content: z.Comment,
		Tags: nostr.Tags{append(nostr.Tag{"relays"}, z.Relays...), {"p", to.String()}},
	}
	if z.Amount > 0 {
		ev.Tags = append(ev.Tags, nostr.Tag{"amount", strconv.FormatInt(int64(z.Amount), 10)})
	}
	for _, t := range []nostr.Tag{{"e", z.E}, {"a", z.A}, {"k", z.K}, {"lnurl", z.Lnurl}} {
		if t[1] != "" {
			ev.Tags = append(ev.Tags, t)
		}
	}
	if z.Anonymous {
		ev.Tags = append(ev.Tags, nostr.Tag{"anon", ""})
	}
	return ev, k.Sign(ev)
}
