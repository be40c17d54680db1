package relay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// grammar makes frames that are nearly right.
type grammar struct {
	*rand.Rand
	events []string // well-signed
}

func (g grammar) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g grammar) value() string {
	return g.pick(`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `18446744073709551616`, `""`, `"x"`, `"\u0000"`, `"\ud800"`, `[]`, `[[]]`, `{}`,
		`[null]`, `{"":1}`, `"`+strings.Repeat("a", 64)+`"`, `"`+strings.Repeat("é", 70)+`"`, strings.Repeat("[", 40)+strings.Repeat("]", 40))
}

func (g grammar) id() string {
	if g.IntN(4) == 0 {
		return g.value()
	}
	return fmt.Sprintf(`"s%d"`, g.IntN(30))
}

func (g grammar) filter() string {
	if g.IntN(6) == 0 {
		return g.value()
	}
	members := []string{}
	for range g.IntN(4) {
		name := g.pick("ids", "authors", "kinds", "#p", "#e", "#d", "since", "until", "limit", "search", "#", "#pp", "limits")
		value := g.pick(`["`+strings.Repeat("a", 64)+`"]`, `[1]`, `[1,1059]`, `[]`, `1`, `500`, `0`, `["x"]`, `["ab"]`)
		if g.IntN(3) == 0 {
			value = g.value()
		}
		members = append(members, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g grammar) event() string {
	ev := g.pick(g.events...)
	switch g.IntN(5) {
	case 0:
		return g.value()
	case 1: // one byte is another
		b := []byte(ev)
		b[g.IntN(len(b))] = "0a\"[]{},:x"[g.IntN(10)]
		return string(b)
	case 2: // cut off
		return ev[:g.IntN(len(ev))]
	case 3: // one member is something else
		name := g.pick("id", "pubkey", "created_at", "kind", "tags", "content", "sig")
		return strings.Replace(ev, `"`+name+`":`, `"`+name+`":`+g.value()+`,"x":`, 1)
	}
	return ev
}

// frame makes one; never a CLOSE, which is answered only when it is wrong.
func (g grammar) frame() string {
	items := []string{`"` + g.pick("EVENT", "EVENT", "EVENT", "EVENT", "REQ", "REQ", "REQ", "REQ", "AUTH", "COUNT", "NEG-OPEN", "EOSE", "", "\\u0045VENT") + `"`}
	if g.IntN(20) == 0 {
		items[0] = g.value()
	}
	for n := max(1, g.IntN(5)-1); n > 0; n-- {
		switch {
		case strings.Contains(items[0], "EVENT"), strings.Contains(items[0], "AUTH"):
			items = append(items, g.event())
		case len(items) == 1:
			items = append(items, g.id())
		default:
			items = append(items, g.filter())
		}
	}
	frame := "[" + strings.Join(items, ",") + "]"
	switch g.IntN(24) {
	case 0:
		return frame[:g.IntN(len(frame))]
	case 1:
		return frame + g.pick(",", "]", frame, "\x00", " ")
	case 2:
		return g.pick(" ", "\n", "\ufeff", "[", "{") + frame
	}
	return frame
}

// TestMutatedFramesGetOneAnswerEach sends 10,000 frames of a grammar of nearly right
// ones: each has exactly one answer (OK, EOSE, CLOSED, NOTICE or NEG-ERR; before an EOSE
// there may be events), nothing panics, and the connection lives.
func TestMutatedFramesGetOneAnswerEach(t *testing.T) {
	const frames = 10_000
	s := newSite(t, func(c *Config) { c.Limits.FramesPerSecond, c.Limits.BadSignatures = 1_000_000, 1_000_000 })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := grammar{Rand: rand.New(rand.NewPCG(seed, 1))}
	k := newKey(t)
	for i, kind := range []int{0, 1, 3, 5, 62, 1059, 10_002, 20_000, 30_023, 22_242} {
		b, err := signed(t, k, kind, fmt.Sprint(i), []string{"d", "x"}, []string{"p", k.Public().String()}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		g.events = append(g.events, string(b))
	}
	p, answers := s.dial(t), map[string]int{}
	for n := range frames {
		sent := g.frame()
		p.send(sent)
		p.send(`["PING"]`)
		var got []string
		for {
			answer := p.read()
			if answer == `["NOTICE","unsupported: PING"]` {
				break
			}
			if label := strings.SplitN(answer, `"`, 3)[1]; label != "EVENT" {
				got = append(got, label)
			}
		}
		if len(got) != 1 {
			t.Fatalf("frame %d has answers %v: %.500q", n, got, sent)
		}
		answers[got[0]]++
		if n%50 == 49 { // the subscriptions that were opened
			for i := range 30 {
				p.send(fmt.Sprintf(`["CLOSE","s%d"]`, i))
			}
		}
	}
	t.Logf("answers: %v", answers)
	if s.Stats().Panics != 0 || len(answers) < 5 {
		t.Errorf("%d panics, answers %v", s.Stats().Panics, answers)
	}
}
