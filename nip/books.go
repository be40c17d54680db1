package nip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
)

// kindApp is NIP-78's: data of an application, addressed by its d tag.
const kindApp = 30078

// liabilities begins the d tag of a daily root.
const liabilities = "timmy-liabilities-"

// Root is what a tower owes to its customers at the begin of a day, as the root of
// a sum tree, and the head of its chain of postings then.
type Root struct {
	Day   string // YYYY-MM-DD, UTC
	Hash  [32]byte
	Sum   timmy.Msat
	Place int64
	Chain [32]byte
}

// SignRoot makes the event of a root: kind 30078, d "timmy-liabilities-<day>".
func SignRoot(k Key, r Root, at time.Time) (*nostr.Event, error) {
	ev := &nostr.Event{Kind: kindApp, CreatedAt: nostr.Timestamp(at.Unix()), Tags: nostr.Tags{
		{"d", liabilities + r.Day},
		{"root", hex.EncodeToString(r.Hash[:])},
		{"sum", strconv.FormatInt(int64(r.Sum), 10)},
		{"chain", strconv.FormatInt(r.Place, 10), hex.EncodeToString(r.Chain[:])},
		{"alt", "What this tower owes to its customers, as the root of a sum tree"},
	}}
	if err := k.Sign(ev); err != nil {
		return nil, fmt.Errorf("signing a root: %w", err)
	}
	return ev, nil
}

// ParseRoot reads and verifies the event of a root: by whom it is signed is the
// caller's to compare.
func ParseRoot(raw []byte) (r Root, by timmy.PubKey, err error) {
	ev, err := ParseEvent(raw)
	if err != nil {
		return r, by, err
	}
	if err := Verify(ev); err != nil {
		return r, by, err
	}
	if by, err = timmy.ParsePubKey(ev.PubKey); err != nil {
		return r, by, err
	}
	one := func(name string, n int) []string {
		for _, t := range ev.Tags {
			if t[0] == name && len(t) == n {
				return t[1:]
			}
		}
		return make([]string, n-1)
	}
	day, ok := strings.CutPrefix(one("d", 2)[0], liabilities)
	if _, err := time.Parse(time.DateOnly, day); err != nil || !ok || ev.Kind != kindApp {
		return r, by, errors.New("not the root of a day")
	}
	r.Day = day
	sum, err := strconv.ParseInt(one("sum", 2)[0], 10, 64)
	if err != nil || sum < 0 || sum > int64(timmy.MaxMsat) {
		return r, by, errors.New("the root's sum is no amount")
	}
	r.Sum = timmy.Msat(sum)
	chain := one("chain", 3)
	r.Place, err = strconv.ParseInt(chain[0], 10, 64)
	if err != nil || r.Place < 0 || !digest(&r.Chain, chain[1]) || !digest(&r.Hash, one("root", 2)[0]) {
		return r, by, errors.New("the root has no hash")
	}
	return r, by, nil
}

func digest(h *[32]byte, s string) bool {
	if !isHex(s, 64) {
		return false
	}
	_, err := hex.Decode(h[:], []byte(s))
	return err == nil
}
