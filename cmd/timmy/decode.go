package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"

	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/wallet"
)

// maxDecode bounds what the built-in model tries to decode.
const maxDecode = 64 << 10

// decodeForPeople explains a text that Nostr or Lightning encoded.
func decodeForPeople(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if len(text) > maxDecode {
		return "", false
	}
	if d, err := wallet.Describe(strings.TrimPrefix(strings.ToLower(text), "lightning:")); err == nil {
		return d, true
	}
	if strings.HasPrefix(text, "{") {
		return describeEvent(text)
	}
	return describeCode(strings.TrimPrefix(text, "nostr:"))
}

// describeCode explains npub, note, nprofile, nevent and naddr (NIP-19). A
// secret key is not repeated.
func describeCode(code string) (string, bool) {
	if strings.HasPrefix(strings.ToLower(code), "nsec1") {
		return "This is a secret key. Never send it to anybody: whoever reads it can write in your name.", true
	}
	kind, value, err := nip19.Decode(code)
	if err != nil {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("%s\nhex: %s", kind, v), true
	case nostr.ProfilePointer:
		return fmt.Sprintf("%s\nhex: %s\nrelays: %s", kind, v.PublicKey, listed(v.Relays)), true
	case nostr.EventPointer:
		return fmt.Sprintf("%s\nevent: %s\nauthor: %s\nkind: %d\nrelays: %s", kind, v.ID, orNone(v.Author), v.Kind, listed(v.Relays)), true
	case nostr.EntityPointer:
		return fmt.Sprintf("%s\naddress: %d:%s:%s\nrelays: %s", kind, v.Kind, v.PublicKey, v.Identifier, listed(v.Relays)), true
	}
	return "", false
}

// describeEvent explains the JSON of an event and says whether it is genuine.
func describeEvent(text string) (string, bool) {
	if !json.Valid([]byte(text)) {
		return "", false
	}
	ev, err := nip.ParseEvent([]byte(text))
	if err != nil {
		return "", false
	}
	genuine := "valid"
	if err := nip.Verify(ev); err != nil {
		genuine = err.Error()
	}
	return fmt.Sprintf("Nostr event\nid: %s\nauthor: %s\nkind: %d\nwritten: %s\ntags: %d\nsignature: %s\ncontent: %d bytes",
		ev.ID, ev.PubKey, ev.Kind, ev.CreatedAt.Time().UTC().Format(time.RFC3339), len(ev.Tags), genuine, len(ev.Content)), true
}

func listed(relays []string) string { return orNone(strings.Join(relays, " ")) }

func orNone(s string) string {
	if s == "" {
		return "none given"
	}
	return s
}
