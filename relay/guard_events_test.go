package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/nip"
)

// TestBrokenEventsAreRefusedExactly sends events that no library would make and
// holds the answer to each.
func TestBrokenEventsAreRefusedExactly(t *testing.T) {
	s := newSite(t)
	k := newKey(t)
	good := signed(t, k, 1, "hello")
	other := signed(t, k, 1, "other")
	raw := func(change func(m map[string]any)) string {
		b, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		m["created_at"] = int64(good.CreatedAt)
		change(m)
		return frame(t, "EVENT", m)
	}
	set := func(name string, v any) string { return raw(func(m map[string]any) { m[name] = v }) }
	refused := func(id, why string) string { return frame(t, "OK", id, false, why) }
	no := func(why string) string { return refused(good.ID, why) }
	const badTag, badKind, badTime = "invalid: tag", "invalid: kind must be an integer between 0 and 65535", "invalid: created_at must be an integer, in seconds"
	rows := []struct{ row, send, want string }{
		{"52", set("id", other.ID), refused(other.ID, "invalid: id does not match")},
		{"53a", set("id", strings.ToUpper(good.ID)), refused(strings.ToUpper(good.ID), "invalid: id")},
		{"53b", set("id", good.ID[:63]), refused(good.ID[:63], "invalid: id")},
		{"53c", set("id", good.ID+"a"), refused(good.ID, "invalid: id")},
		{"53d", raw(func(m map[string]any) { delete(m, "id") }), `["NOTICE","invalid: id"]`},
		{"55", set("pubkey", strings.ToUpper(good.PubKey)), no("invalid: pubkey must be lower-case hex")},
		{"57a", set("kind", -1), no(badKind)},
		{"57b", set("kind", 65536), no(badKind)},
		{"57c", set("kind", 66595), no(badKind)},
		{"57d", set("kind", json.RawMessage("1e3")), no(badKind)},
		{"57e", set("kind", "1"), no(badKind)},
		{"58a", set("created_at", -1), no(badTime)},
		{"58b", set("created_at", 0), no(badTime)},
		{"58c", set("created_at", json.RawMessage("9223372036854775808")), no(badTime)},
		{"58d", set("created_at", 1.5), no(badTime)},
		{"58e", set("created_at", 1<<32+1), no(badTime)},
		{"59a", raw(func(m map[string]any) { delete(m, "tags") }), no(badTag)},
		{"59b", set("tags", nil), no(badTag)},
		{"59c", set("tags", map[string]any{}), no(badTag)},
		{"59d", set("tags", []any{nil}), no(badTag)},
		{"59e", set("tags", []any{[]any{}}), no(badTag)},
		{"59f", set("tags", []any{[]any{1}}), no(badTag)},
		{"59g", set("tags", []any{[]any{"d"}}), no(badTag)},
		{"59h", set("tags", []any{[]any{"p"}}), no(badTag)},
		{"61", set("content", strings.Repeat("x", maxContent+1)), no("invalid: content too long")},
		{"62", `["EVENT",{"content":"` + "\xff" + `"}]`, `["NOTICE","invalid: not UTF-8"]`},
		{"63", strings.Replace(frame(t, "EVENT", good), `"kind":1`, `"kind":1,"kind":1`, 1), `["NOTICE","invalid: duplicate key"]`},
		{"64", set("extra", []any{1}), frame(t, "OK", good.ID, true, "")},
		{"65", frame(t, "EVENT", good), frame(t, "OK", good.ID, true, "duplicate: already have this event")},
	}
	for _, r := range rows {
		p := s.dial(t)
		p.send(r.send)
		if got := p.read(); got != r.want {
			t.Errorf("row %s: %.80s\n got %s\nwant %s", r.row, r.send, got, r.want)
		}
		p.silent()
		_ = p.ws.CloseNow()
	}
	p := s.dial(t)
	p.send(`["REQ","a",{"ids":["` + good.ID + `"]}]`)
	p.expect(`["EVENT","a",`+good.String()+`]`, `["EOSE","a"]`) // row 64: dropped
}

// TestPolicyRefusesExactly: events that are well made and still not taken.
func TestPolicyRefusesExactly(t *testing.T) {
	s := newSite(t)
	k, now := newKey(t), time.Now()
	unix := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	var deletes []nostr.Tag
	for range maxDeletes + 1 {
		deletes = append(deletes, nostr.Tag{"e", strings.Repeat("a", 64)})
	}
	rows := []struct {
		row  string
		ev   *nostr.Event
		ok   bool
		want string
	}{
		{"58a", signedAt(t, k, now.Add(930*time.Second), 1, ""), false, "invalid: created_at is too far in the future"},
		{"58b", signedAt(t, k, now.Add(-4*365*24*time.Hour), 1, ""), false, "invalid: created_at is too old"},
		{"58c", signedAt(t, k, now.Add(800*time.Second), 1, ""), true, ""},
		{"67a", signed(t, k, 1, "", nostr.Tag{"expiration", unix(-time.Minute)}), false, "invalid: event expired"},
		{"67b", signed(t, k, 1, "", nostr.Tag{"expiration", "abc"}), true, ""},
		{"69a", signed(t, k, 22242, ""), false, "invalid: auth events are not accepted here"},
		{"69b", signed(t, k, 27235, ""), false, "invalid: auth events are not accepted here"},
		{"13", signed(t, k, 13, "x"), false, "invalid: kind 13 must be inside a gift wrap"},
		{"14", signed(t, k, 14, "x"), false, "invalid: kind 14 must be inside a gift wrap"},
		{"15", signed(t, k, 15, "x"), false, "invalid: kind 15 must be inside a gift wrap"},
		{"71", signed(t, k, 5, "", deletes...), false, "invalid: too many tags"},
		{"77", signed(t, k, 9735, ""), true, ""},
		{"59", signedAt(t, k, now.Add(-48*time.Hour), 1059, "x", nostr.Tag{"p", newKey(t).Public().String()}), true, ""},
		{"62", signed(t, k, 1, "\x00 \u2028 \U0001F600 \\ \" \b\f"), true, ""},
		{"40000", signed(t, k, 40_000, ""), true, ""},
	}
	p := s.dial(t)
	for _, r := range rows {
		if ok, why := p.publish(r.ev); ok != r.ok || why != r.want {
			t.Errorf("row %s: OK %v %q, want %v %q", r.row, ok, why, r.ok, r.want)
		}
	}
	nobody := *rows[0].ev
	nobody.CreatedAt = nostr.Timestamp(now.Unix())
	nobody.PubKey = strings.Repeat("0", 64)
	nobody.ID = nobody.GetID()
	if ok, why := p.publish(&nobody); ok || why != "invalid: pubkey" { // row 56
		t.Errorf("row 56: OK %v %q", ok, why)
	}
}

// TestProtectedEventsNeedTheirAuthor is NIP-70.
func TestProtectedEventsNeedTheirAuthor(t *testing.T) {
	s := newSite(t)
	k := newKey(t)
	ev := signed(t, k, 1, "mine", nostr.Tag{"-"})
	p := s.dial(t)
	p.send(frame(t, "EVENT", ev))
	p.expect(frame(t, "AUTH", p.challenge),
		frame(t, "OK", ev.ID, false, "auth-required: this event may only be published by its author"))
	p.auth(newKey(t))
	if ok, why := p.publish(ev); ok || why != "restricted: this event may only be published by its author" {
		t.Fatalf("OK %v %q", ok, why)
	}
	p.auth(k)
	p.mustPublish(ev)
}

// TestForgedEventsCloseTheirAddress: a bad signature costs us as much as a good
// one, so an address has twenty a minute, over all its connections.
func TestForgedEventsCloseTheirAddress(t *testing.T) {
	s := newSite(t)
	k := newKey(t)
	forge := func(i int) *nostr.Event {
		ev := signed(t, k, 1, fmt.Sprint(i))
		ev.Sig = strings.Repeat("1", 128)
		return ev
	}
	for i := range s.cfg.Limits.BadSignatures {
		p := s.dial(t)
		if ok, why := p.publish(forge(i)); ok || why != "invalid: bad signature" {
			t.Fatalf("OK %v %q", ok, why)
		}
		_ = p.ws.CloseNow()
	}
	p := s.dial(t)
	p.send(frame(t, "EVENT", forge(-1)))
	p.closed(websocket.StatusPolicyViolation)
	s.clock.advance(2 * time.Minute)
	p = s.dial(t)
	p.publish(forge(-2))
	p.silent()
}

// acceptor is an inbox that can fail.
type acceptor struct {
	mu   sync.Mutex
	got  []string
	fail error
}

func (a *acceptor) Accept(_ context.Context, ev *nostr.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail == nil {
		a.got = append(a.got, ev.ID)
	}
	return a.fail
}

func (a *acceptor) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = err
}

// TestInboxComesFirst excludes the loss of a request: an event that the inbox
// did not take is not stored, so that its sender's retry is no duplicate; and one
// that is stored does not reach the inbox again.
func TestInboxComesFirst(t *testing.T) {
	box := &acceptor{fail: errors.New("the ledger is away")}
	s := newSite(t, func(c *Config) { c.Inbox = box })
	p := s.dial(t)
	to := nostr.Tag{"p", s.self.Public().String()}
	for _, kind := range []int{4, 1059, 21059} {
		box.set(errors.New("the ledger is away"))
		ev := signed(t, newKey(t), kind, "x", to)
		if ok, why := p.publish(ev); ok || why != "error: internal error" {
			t.Fatalf("kind %d: OK %v %q", kind, ok, why)
		}
		box.set(timmy.Errorf(timmy.Limited, "slow down"))
		if ok, why := p.publish(ev); ok || why != "rate-limited: slow down" {
			t.Fatalf("kind %d: OK %v %q", kind, ok, why)
		}
		box.set(nil)
		p.mustPublish(ev)
		if kind != 21059 {
			if ok, why := p.publish(ev); !ok || why != "duplicate: already have this event" {
				t.Fatalf("kind %d: OK %v %q", kind, ok, why)
			}
		}
	}
	p.mustPublish(signed(t, newKey(t), 1, "not for the inbox", to))
	p.mustPublish(signed(t, newKey(t), 1059, "for another", nostr.Tag{"p", newKey(t).Public().String()}))
	own := signed(t, s.self, 1059, "a copy to ourselves", to)
	if err := s.Publish(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if len(box.got) != 3 {
		t.Fatalf("the inbox got %d events, want 3", len(box.got))
	}
}

// standing refuses everybody with one error.
type standing struct{ err error }

func (s standing) MayWrite(context.Context, timmy.PubKey, int) error { return s.err }

// TestStandingSpeaksInPrefixes: whoever decides on writes, clients get a prefix
// they know.
func TestStandingSpeaksInPrefixes(t *testing.T) {
	for want, err := range map[string]error{
		"blocked: you are banned": timmy.Errorf(timmy.Unauthorized, "blocked: you are banned"),
		"restricted: pay first":   timmy.Errorf(timmy.Unpaid, "pay first"),
		"error: internal error":   errors.New("secret detail"),
	} {
		s := newSite(t, func(c *Config) { c.Standing = standing{err} })
		ev := signed(t, newKey(t), 1, "")
		if ok, why := s.dial(t).publish(ev); ok || why != want {
			t.Errorf("OK %v %q, want %q", ok, why, want)
		}
		if list, _ := s.Query(t.Context(), nostr.Filter{}); len(list) != 0 {
			t.Error("stored all the same")
		}
	}
}

// TestEphemeralEventsAreNeverStored: and the sender is not told who listens.
func TestEphemeralEventsAreNeverStored(t *testing.T) {
	s := newSite(t)
	reader, writer := s.dial(t), s.dial(t)
	if _, closed := reader.query("a", `{"kinds":[20001]}`); closed != "" {
		t.Fatal(closed)
	}
	ev := signed(t, newKey(t), 20001, "now")
	writer.mustPublish(ev)
	reader.expect(`["EVENT","a",` + ev.String() + `]`)
	if ids, _ := s.dial(t).query("a", `{"kinds":[20001]}`); len(ids) != 0 {
		t.Fatal("stored")
	}
}

// TestFullDiskIsAnswered is row 81: the event is refused, and the relay lives.
func TestFullDiskIsAnswered(t *testing.T) {
	s := newSite(t)
	p := s.dial(t)
	p.mustPublish(signed(t, newKey(t), 1, "before"))
	rename := func(from, to string) { // without its table every write fails
		t.Helper()
		err := s.cfg.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Exec("ALTER TABLE " + from + " RENAME TO " + to)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rename("event", "elsewhere")
	if ok, why := p.publish(signed(t, newKey(t), 1, "x")); ok || why != "error: could not store" {
		t.Fatalf("OK %v %q", ok, why)
	}
	if _, closed := p.query("a", `{}`); closed != "error: could not read" {
		t.Fatalf("CLOSED %q", closed)
	}
	rename("elsewhere", "event")
	p.mustPublish(signed(t, newKey(t), 1, "after"))
}

// TestShutdownAnswersThenCloses is row 82.
func TestShutdownAnswersThenCloses(t *testing.T) {
	s := newSite(t)
	p, idle := s.dial(t), s.dial(t)
	ev := signed(t, newKey(t), 1, "late")
	s.draining.Store(true)
	p.send(frame(t, "EVENT", ev))
	p.expect(frame(t, "OK", ev.ID, false, "error: shutting down"))
	p.closed(websocket.StatusGoingAway)
	s.draining.Store(false)
	s.stop()
	idle.closed(websocket.StatusGoingAway)
	if err := s.Publish(t.Context(), ev); !errors.Is(err, errShutdown) {
		t.Fatal(err)
	}
}

// TestForgedOwnEventsAreNotPublished: a fault in the sealing code must not reach
// anybody.
func TestForgedOwnEventsAreNotPublished(t *testing.T) {
	s := newSite(t)
	ev := signed(t, s.self, 1, "x")
	ev.Content = "y"
	if err := s.Publish(t.Context(), ev); !errors.Is(err, nip.ErrID) {
		t.Fatal(err)
	}
}
