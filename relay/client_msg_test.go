package relay

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var relayMsgSeeds = []string{
	`["EVENT","t1",{"id":"x"}]`, `["OK","id",true,""]`, `["OK","id",false]`, `["EOSE","t1"]`, `["EOSE","t1",["finish"]]`,
	`["CLOSED","t1","auth-required: x"]`, `["NOTICE","hello"]`, `["AUTH","challenge"]`, `["COUNT","a",{"count":1}]`,
	`["EVENT","x`, `["EVENT","x"]`, `["OK"]`, `[]`, `[1]`, `{}`, `null`, ``, `[`, `["AUTH",1]`, `["EOSE"]`, `["OK",null,true,""]`,
	"[\"NOTICE\",\"\xff\"]", `["NOTICE","` + strings.Repeat("é", 300) + `"]`, `["AUTH","` + strings.Repeat("x", 300) + `"]`,
}

// TestRelayMessages: what is refused and what is read. Short frames killed the
// upstream client.
func TestRelayMessages(t *testing.T) {
	for in, want := range map[string]string{
		`["EVENT","t1",{}]`: "EVENT", `["OK","id",true]`: "OK", `["EOSE","t1",["more"]]`: "EOSE", `["NEW",1]`: "",
		`["CLOSED","t1"]`: "CLOSED", ` [ "AUTH" , "c" ] `: "AUTH",
	} {
		if m, err := parseRelayMsg([]byte(in)); err != nil || m.Label != want {
			t.Errorf("%s: %q, %v", in, m.Label, err)
		}
	}
	for _, in := range []string{
		``, `[`, `[]`, `{}`, `null`, `"EVENT"`, `[1]`, `[null]`, `["EVENT","x"]`, `["EVENT","x`, `["EVENT",1,{}]`, `["OK","id"]`,
		`["OK","id","true",""]`, `["OK",7,true,""]`, `["EOSE"]`, `["AUTH"]`, `["AUTH",""]`, `["AUTH","` + strings.Repeat("x", 257) + `"]`,
		`["NOTICE"]`, `["CLOSED",null,"x"]`, `["EVENT","` + strings.Repeat("s", 65) + `",{}]`, `["OK",[],[],[],[],[],[],[],[]]`, "[\"NOTICE\",\"\xff\"]",
		`["EVENT","t1",{"content":"` + strings.Repeat("x", clientMaxEvent) + `"}]`, `["EOSE","a"]["EOSE","b"]`,
	} {
		if m, err := parseRelayMsg([]byte(in)); err == nil {
			t.Errorf("%.60s: accepted as %+v", in, m)
		}
	}
}

// FuzzRelayMsg: no bytes of a relay make us panic or keep more than the limits.
func FuzzRelayMsg(f *testing.F) {
	for _, s := range relayMsgSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseRelayMsg(data)
		if err != nil {
			return
		}
		if len(m.Text) > clientMaxReason || len(m.Sub) > clientMaxLabel || !utf8.ValidString(m.Text) {
			t.Errorf("kept too much of %q: %+v", data, m)
		}
	})
}
