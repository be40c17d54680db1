package relay

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// web is a web of trust made by hand.
type web map[string]bool

func (w web) Trusts(key string) bool { return w[key] }

// paid is a Standing that lets in who has paid.
type paid map[timmy.PubKey]bool

func (p paid) MayWrite(_ context.Context, k timmy.PubKey, _ int) error {
	if p[k] {
		return nil
	}
	return timmy.Errorf(timmy.Unpaid, "writing here costs 500 sats once: pay at https://relay.example/relay")
}

// TestWhoMayWrite is the table of who may write under which policy. Excluded: a
// policy that keeps members out, or strangers from paying.
func TestWhoMayWrite(t *testing.T) {
	stranger, listed, followed, payer, operator := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	base := Policy{Members: []timmy.PubKey{listed.Public()}}
	trust := web{followed.Public().String(): true}
	for name, c := range map[string]struct {
		writers                             Writers
		standing                            Standing
		web                                 Trust
		stranger, listed, followed, payment string
	}{
		"anyone":           {writers: WritersAnyone},
		"zero value":       {},
		"trusted":          {writers: WritersTrusted, web: trust, stranger: errNotTrusted.Error(), payment: errNotTrusted.Error()},
		"allowed":          {writers: WritersAllowed, stranger: errNotListed.Error(), followed: errNotListed.Error(), payment: errNotListed.Error()},
		"trusted, or paid": {writers: WritersTrusted, web: trust, standing: paid{payer.Public(): true}, stranger: "restricted: writing here costs 500 sats once: pay at https://relay.example/relay"},
	} {
		s := newSite(t, func(cfg *Config) {
			cfg.Policy, cfg.Standing, cfg.Web = base, c.standing, c.web
			cfg.Policy.Writers, cfg.Operators = c.writers, []timmy.PubKey{operator.Public()}
		})
		p := s.dial(t)
		for _, w := range []struct {
			who  string
			key  nip.Key
			want string
		}{
			{"stranger", stranger, c.stranger},
			{"listed", listed, c.listed},
			{"followed", followed, c.followed},
			{"payer", payer, c.payment},
			{"operator", operator, ""},
			{"tower", s.self, ""},
		} {
			if ok, why := p.publish(signed(t, w.key, 1, name)); why != w.want || ok != (w.want == "") {
				t.Errorf("%s, %s: OK %v %q, want %q", name, w.who, ok, why, w.want)
			}
		}
	}
}

// TestStrangersCanAlwaysAskAndPay: messages to the tower are how strangers pay, so
// no rule keeps them out unless the operator says so. Bans, and AUTH before wraps,
// hold for them too.
func TestStrangersCanAlwaysAskAndPay(t *testing.T) {
	strict := Policy{Writers: WritersAllowed, Kinds: []KindRange{{1, 1}}, PowBits: 20}
	message := func(s *site, k nip.Key, kind int) *nostr.Event {
		return signed(t, k, kind, "x", nostr.Tag{"p", s.self.Public().String()})
	}
	open := newSite(t, func(c *Config) { c.Policy = strict })
	for _, kind := range []int{4, 1059, 21059} {
		open.dial(t).mustPublish(message(open, newKey(t), kind))
	}
	if ok, why := open.dial(t).publish(message(open, newKey(t), 1)); ok || !strings.HasPrefix(why, "pow: ") {
		t.Errorf("a note that names the tower: %v %q", ok, why)
	}
	own := newSite(t, func(c *Config) {
		c.Policy = Policy{Writers: WritersAllowed, OwnMail: true}
	})
	for _, kind := range []int{4, 1059, 21059} {
		if ok, why := own.dial(t).publish(message(own, newKey(t), kind)); ok || kind == 4 && why != errNotListed.Error() {
			t.Errorf("kind %d where strangers may not ask: %v %q", kind, ok, why)
		}
	}
	authed := newSite(t, func(c *Config) { c.Policy = Policy{AuthWraps: true} })
	p := authed.dial(t)
	wrap := message(authed, newKey(t), 1059)
	p.send(frame(t, "EVENT", wrap))
	p.expect(frame(t, "AUTH", p.challenge), frame(t, "OK", wrap.ID, false, errWrapAuth.Error()))
	p.auth(newKey(t))
	p.mustPublish(wrap)
	p.mustPublish(message(authed, newKey(t), 4))
}

// TestWrapsAreTakenForMembers: a wrap's author is a key that nobody has, so who
// signs in, or for whom it is, must count.
func TestWrapsAreTakenForMembers(t *testing.T) {
	member, stranger := newKey(t), newKey(t)
	s := newSite(t, func(c *Config) {
		c.Policy = Policy{Writers: WritersAllowed, Members: []timmy.PubKey{member.Public()}}
	})
	to := func(k nip.Key) *nostr.Event {
		return signed(t, newKey(t), 1059, "x", nostr.Tag{"p", k.Public().String()})
	}
	p := s.dial(t)
	p.mustPublish(to(member))
	if ok, why := p.publish(to(stranger)); ok || why != errNotListed.Error() {
		t.Errorf("between strangers: %v %q", ok, why)
	}
	p.auth(member)
	p.mustPublish(to(stranger))
}

// TestKindsAndAge: what is taken, and what would be swept at once is refused.
func TestKindsAndAge(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Policy = Policy{
			Kinds: []KindRange{{0, 3}, {1059, 1059}, {30000, 39999}}, Refused: []KindRange{{2, 2}, {30023, 30024}},
			Retention: []Retention{{Kinds: KindRange{1, 1}, Age: 10 * 24 * time.Hour}, {Rest: true, Age: 5 * 24 * time.Hour}},
		}
	})
	p, k := s.dial(t), newKey(t)
	now := time.Now()
	for _, c := range []struct {
		kind int
		age  time.Duration
		want string
	}{
		{0, 0, ""},
		{0, 400 * 24 * time.Hour, ""},
		{1, 9 * 24 * time.Hour, ""},
		{1, 11 * 24 * time.Hour, "invalid: created_at is too old: kind 1 is kept for 10 days"},
		{2, 0, "blocked: kind 2 is not taken here"},
		{5, 0, ""},
		{7, 0, "blocked: kind 7 is not taken here"},
		{30000, 6 * 24 * time.Hour, "invalid: created_at is too old: kind 30000 is kept for 5 days"},
		{30023, 0, "blocked: kind 30023 is not taken here"},
		{20001, 0, "blocked: kind 20001 is not taken here"},
	} {
		ev := signedAt(t, k, now.Add(-c.age), c.kind, strconv.Itoa(c.kind), nostr.Tag{"d", fmt.Sprint(c.age)})
		ok, why := p.publish(ev)
		if c.kind == 0 && c.age > 0 {
			c.want = "duplicate: have a newer one"
			ok = !ok
		}
		if why != c.want || ok != (c.want == "") {
			t.Errorf("kind %d, %s: OK %v %q, want %q", c.kind, c.age, ok, why, c.want)
		}
	}
	for in, want := range map[string]string{"1": "{1 1}", "1-3": "{1 3}", "": "err", "3-1": "err", "70000": "err", "1-": "err", "-1": "err", "x": "err"} {
		got, err := ParseKinds(in)
		if text := fmt.Sprint(got); err == nil && text != want || (err != nil) != (want == "err") {
			t.Errorf("%q: %s, %v", in, text, err)
		}
	}
}

// mine makes an event whose id has that many zero bits and whose nonce tag says it
// commits to some.
func mine(t *testing.T, k nip.Key, bits int, commits string) *nostr.Event {
	t.Helper()
	for n := range 1 << 20 {
		ev := &nostr.Event{Kind: 1, PubKey: k.Public().String(), CreatedAt: nostr.Now(), Tags: nostr.Tags{{"nonce", strconv.Itoa(n), commits}}}
		if zeroBits(ev.GetID()) < bits {
			continue
		}
		if err := k.Sign(ev); err != nil {
			t.Fatal(err)
		}
		return ev
	}
	t.Fatal("no luck")
	return nil
}

// TestStrangersWork is NIP-13, row 80: the id must have the bits, and its author
// must have meant it. Members do not work.
func TestStrangersWork(t *testing.T) {
	member := newKey(t)
	s := newSite(t, func(c *Config) {
		c.Policy = Policy{PowBits: 8, Members: []timmy.PubKey{member.Public()}}
	})
	p, k := s.dial(t), newKey(t)
	p.mustPublish(mine(t, k, 8, "8"))
	p.mustPublish(mine(t, k, 8, "20"))
	p.mustPublish(signed(t, member, 1, "no work"))
	lucky := mine(t, k, 8, "4")
	for want, ev := range map[string]*nostr.Event{
		"pow: the nonce tag must commit to 8 bits, it says 4 (NIP-13)": lucky,
		"pow: the nonce tag must commit to 8 bits, it says 0 (NIP-13)": mine(t, k, 8, "much"),
	} {
		if ok, why := p.publish(ev); ok || why != want {
			t.Errorf("OK %v %q, want %q", ok, why, want)
		}
	}
	lies := signed(t, k, 1, "", nostr.Tag{"nonce", "1", "30"})
	if ok, why := p.publish(lies); zeroBits(lies.ID) < 8 && (ok || !strings.HasPrefix(why, "pow: 8 leading zero bits are needed here, this id has ")) {
		t.Errorf("OK %v %q", ok, why)
	}
	// Who claims a member's key to save the work is found out.
	forged := signed(t, k, 1, "x")
	forged.PubKey = member.Public().String()
	forged.ID = forged.GetID()
	if ok, why := p.publish(forged); ok || why != nip.ErrSignature.Error() {
		t.Errorf("forged: OK %v %q", ok, why)
	}
	for id, want := range map[string]int{
		"000000000e9d97a1ab09fc381030b346cdd7a142ad57e6df0b46dc9bef6c7e2d": 36,
		strings.Repeat("0", 64):        256,
		"8" + strings.Repeat("0", 63):  0,
		"4" + strings.Repeat("0", 63):  1,
		"2" + strings.Repeat("0", 63):  2,
		"1" + strings.Repeat("f", 63):  3,
		"01" + strings.Repeat("f", 62): 7,
	} {
		if got := zeroBits(id); got != want {
			t.Errorf("%s: %d bits, want %d", id, got, want)
		}
	}
}

// TestRates holds the number of events by key, by address and by the network
// around it, whatever the forwarding header of who is no proxy says (D9).
func TestRates(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Limits.EventsPerKey, c.Limits.EventsPerAddress = 5, 12 })
	p, k := s.dial(t), newKey(t)
	for i := range 5 {
		p.mustPublish(signed(t, k, 1, strconv.Itoa(i)))
	}
	if ok, why := p.publish(signed(t, k, 1, "sixth")); ok || why != errKeyRate.Error() {
		t.Errorf("sixth: %v %q", ok, why)
	}
	for i := range 6 {
		s.dial(t).mustPublish(signed(t, newKey(t), 1, strconv.Itoa(i)))
	}
	if ok, why := s.dial(t).publish(signed(t, newKey(t), 1, "x")); ok || why != errNetRate.Error() {
		t.Errorf("thirteenth from here: %v %q", ok, why)
	}
	s.clock.advance(time.Minute)
	p.mustPublish(signed(t, k, 1, "a minute later"))

	r, err := newRates(Limits{EventsPerAddress: 10}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		format string // of an address, by number
		most   int    // events that pass
	}{
		{"192.0.2.1", 10},
		{"198.51.100.%d", 40},       // a /24
		{"2001:db8:1:1::%d", 10},    // a /64
		{"2001:db8:2:%d::1", 40},    // a /48
		{"::ffff:203.0.113.%d", 40}, // IPv4 in disguise
		{"2001:db8:%d::1", 100},     // networks of their own
	} {
		passed := 0
		for i := range 100 {
			format := c.format
			if strings.Contains(format, "%d") {
				format = fmt.Sprintf(format, i+10)
			}
			if r.address(netip.MustParseAddr(format)) == nil {
				passed++
			}
		}
		if passed != c.most {
			t.Errorf("%s: %d passed, want %d", c.format, passed, c.most)
		}
	}
}

// TestConnectionsOfANetwork: many addresses side by side share four times what one
// may have.
func TestConnectionsOfANetwork(t *testing.T) {
	d, err := newDoors(Limits{PerAddress: 2}.withDefaults(), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var in []netip.Addr
	for i := range 30 {
		if a := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i/3)); d.enter(a) {
			in = append(in, a)
		}
	}
	if len(in) != 8 {
		t.Errorf("%d connections of one network", len(in))
	}
	for _, a := range in {
		d.leave(a)
	}
	if len(d.open)+len(d.wide)+d.all != 0 {
		t.Errorf("left over: %v %v %d", d.open, d.wide, d.all)
	}
}
