package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// relayMsg is one message of a relay (NIP-01, NIP-42), as far as we read it.
type relayMsg struct {
	Label string
	Sub   string          // of EVENT, EOSE, CLOSED
	ID    string          // of OK
	OK    bool            // of OK
	Text  string          // the relay's words of OK, CLOSED, NOTICE; the challenge of AUTH
	Event json.RawMessage // of EVENT, not looked at yet
}

// errRelayMsg is what a relay that breaks the protocol is counted for.
var errRelayMsg = errors.New("broken relay message")

// parseRelayMsg reads one text frame of a relay. Labels we do not know give an
// empty Label and no error: relays may speak more than we do.
func parseRelayMsg(data []byte) (relayMsg, error) {
	if !utf8.Valid(data) {
		return relayMsg{}, errRelayMsg
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil || len(parts) == 0 || len(parts) > clientMaxParts {
		return relayMsg{}, errRelayMsg
	}
	var label string
	if msgStrings(parts, &label) != nil {
		return relayMsg{}, errRelayMsg
	}
	m := relayMsg{Label: label}
	var err error
	switch label {
	case "EVENT":
		if len(parts) != 3 || len(parts[2]) > clientMaxEvent {
			return relayMsg{}, errRelayMsg
		}
		m.Event = parts[2]
		err = msgStrings(parts[1:2], &m.Sub)
	case "OK":
		if len(parts) < 3 {
			return relayMsg{}, errRelayMsg
		}
		err = errors.Join(msgStrings(parts[1:2], &m.ID), msgBool(parts[2], &m.OK), msgStrings(parts[3:], &m.Text))
	case "EOSE":
		err = msgStrings(parts[1:min(2, len(parts))], &m.Sub)
	case "CLOSED":
		err = msgStrings(parts[1:], &m.Sub, &m.Text)
	case "NOTICE", "AUTH":
		err = msgStrings(parts[1:], &m.Text)
	default:
		return relayMsg{}, nil
	}
	if err != nil || (len(parts) < 2) || len(m.Sub) > clientMaxLabel {
		return relayMsg{}, errRelayMsg
	}
	if label == "AUTH" && (m.Text == "" || len(m.Text) > clientMaxChallenge) {
		return relayMsg{}, fmt.Errorf("%w: challenge of %d bytes", errRelayMsg, len(m.Text))
	}
	if label != "AUTH" {
		m.Text = plainReason(m.Text)
	}
	return m, nil
}

// msgStrings reads strings into the targets; missing ones stay empty, further
// elements are not looked at.
func msgStrings(parts []json.RawMessage, targets ...*string) error {
	for i, t := range targets {
		if i >= len(parts) {
			return nil
		}
		if len(parts[i]) == 0 || parts[i][0] != '"' || json.Unmarshal(parts[i], t) != nil {
			return errRelayMsg
		}
	}
	return nil
}

func msgBool(part json.RawMessage, target *bool) error {
	if part = bytes.TrimSpace(part); !bytes.Equal(part, []byte("true")) && !bytes.Equal(part, []byte("false")) {
		return errRelayMsg
	}
	return json.Unmarshal(part, target)
}

// plainReason cuts a relay's words to what may stand in a log line.
func plainReason(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) > clientMaxReason {
		s = strings.ToValidUTF8(s[:clientMaxReason], "")
	}
	return s
}
