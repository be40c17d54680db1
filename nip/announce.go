package nip

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

// Profile is what the tower tells about itself.
type Profile struct {
	Name        string // of kind 0
	About       string
	Picture     string
	Lud16       string // the lightning address that zaps go to
	Nip05       string
	Website     string
	RelayURL    string   // the own relay
	InboxRelays []string // others where messages for us may be left, at most two
	Web         string   // page that opens a profile; "<bech32>" stands for the key (NIP-89)
	PriceLine   string   // added to About: what a question costs
}

// Announcements are the signed kinds 0 (who), 10002 (where it reads and writes),
// 10050 (where it takes messages) and 31990 (what it does, NIP-89), to be
// published at start and after every change.
func Announcements(k Key, p Profile, now time.Time) ([]*nostr.Event, error) {
	about := strings.TrimSpace(p.About + "\n" + p.PriceLine)
	content, err := json.Marshal(map[string]any{
		"name": p.Name, "display_name": p.Name, "about": about, "picture": p.Picture,
		"nip05": p.Nip05, "lud16": p.Lud16, "website": p.Website, "bot": true,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the profile: %w", err)
	}
	relays := RelayURLs(append([]string{p.RelayURL}, p.InboxRelays...))
	relays = relays[:min(3, len(relays))]
	var list, inbox nostr.Tags
	for _, r := range relays {
		list = append(list, nostr.Tag{"r", r})
		inbox = append(inbox, nostr.Tag{"relay", r})
	}
	handler := nostr.Tags{{"d", "timmy"}, {"k", "4"}, {"k", "14"}}
	if p.Web != "" {
		handler = append(handler, nostr.Tag{"web", p.Web, "nprofile"}, nostr.Tag{"web", p.Web, "npub"})
	}
	out := []*nostr.Event{
		{Kind: 0, Content: string(content)},
		{Kind: 10002, Tags: list},
		{Kind: 10050, Tags: inbox},
		{Kind: 31990, Tags: handler, Content: string(content)},
	}
	for _, ev := range out {
		ev.CreatedAt = nostr.Timestamp(now.Unix())
		if err := k.Sign(ev); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// InboxRelays is where the author of a kind 10050 takes messages (NIP-17), at
// most [MaxRelays]. The list is a stranger's: see [PublicRelays].
func InboxRelays(ev *nostr.Event) []string {
	if ev == nil || ev.Kind != 10050 {
		return nil
	}
	return RelayURLs(all(ev.Tags, "relay"))
}
