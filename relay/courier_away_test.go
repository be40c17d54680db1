package relay

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// TestAnswersGoWhereTheAskerReads: the asker's 10050 gets the same bytes as the
// own relay, and never the copy that we keep for ourselves.
func TestAnswersGoWhereTheAskerReads(t *testing.T) {
	theirs := newStoring(t)
	o := newOffice(t, newOutbox(), func(c *CourierConfig) { c.CopyToSelf = true })
	o.own.events = append(o.own.events, signed(t, o.asker, kindInbox, "", nostr.Tag{"relay", theirs.url}, nostr.Tag{"relay", "ftp://x"}))
	o.run(t)
	o.post(o.answer(1, nip.NIP17, "x"))
	if how := o.over(t, 1); how != "delivered" {
		t.Fatal(how)
	}
	got := theirs.got()
	if len(got) != 1 || got[0] != o.own.all()[1].String() {
		t.Errorf("their relay got %d events", len(got))
	}
}

// TestNIP04GoesToReadRelays: who writes the old way is answered where they read
// (NIP-65), not where they only write.
func TestNIP04GoesToReadRelays(t *testing.T) {
	read, write := newStoring(t), newStoring(t)
	o := newOffice(t, newOutbox())
	o.own.events = append(o.own.events, signed(t, o.asker, kindRelays, "", nostr.Tag{"r", read.url, "read"}, nostr.Tag{"r", write.url, "write"}))
	o.run(t)
	o.post(o.answer(1, nip.NIP04, "x"))
	o.over(t, 1)
	if len(read.got()) != 1 || len(write.got()) != 0 {
		t.Errorf("read %d, write %d", len(read.got()), len(write.got()))
	}
}

// TestAFailingForeignRelayDelaysNobody: the own relay has the answer at once, the
// other is tried again with the same bytes and without publishing anew to those
// that have it, and after a day it is left at that.
func TestAFailingForeignRelayDelaysNobody(t *testing.T) {
	var refusing atomic.Bool
	refusing.Store(true)
	var tries atomic.Int64
	flaky := script(t, func(p foreignPeer) {
		for parts := p.next(); parts != nil; parts = p.next() {
			tries.Add(1)
			p.ok(idOf(parts), !refusing.Load(), "rate-limited: slow down")
		}
	})
	good := newStoring(t)
	var skew atomic.Int64
	o := newOffice(t, newOutbox(), func(c *CourierConfig) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	})
	o.own.events = append(o.own.events, signed(t, o.asker, kindInbox, "", nostr.Tag{"relay", flaky.url}, nostr.Tag{"relay", good.url}))
	o.run(t)
	o.post(o.answer(1, nip.NIP17, "x"))
	eventually(t, "put off", func() bool { _, n, _ := o.outbox.state(1); return n == 1 })
	if len(o.own.all()) != 2 || len(good.got()) != 1 {
		t.Error("the relays that work waited for the one that does not")
	}
	// A try may end before it has reached the relay; the next comes when its time has.
	skew.Store(int64(courierBackoff + time.Second))
	eventually(t, "tried again", func() bool { skew.Add(int64(time.Second)); return tries.Load() >= 2 })
	if n := len(good.got()); n != 1 {
		t.Errorf("the good relay got %d events", n)
	}
	skew.Store(int64(courierKeep + time.Hour))
	if how := o.over(t, 1); how != "delivered" {
		t.Error(how)
	}
	if _, _, seals := o.outbox.state(1); seals != 1 {
		t.Errorf("sealed %d times", seals)
	}
}

// TestUnknownInboxesAreLookedUp: somebody whose list only the indexers have must
// see the answer; what they say is verified, and asked once.
func TestUnknownInboxesAreLookedUp(t *testing.T) {
	theirs := newStoring(t)
	o := newOffice(t, newOutbox())
	forged := signed(t, newKey(t), kindInbox, "", nostr.Tag{"relay", "wss://evil.example.com"})
	indexer := newStoring(t, forged, signed(t, o.asker, kindInbox, "", nostr.Tag{"relay", theirs.url}))
	o.cfg.Indexers = []string{indexer.url}
	o.run(t)
	for id := int64(1); id <= 2; id++ {
		o.post(o.answer(id, nip.NIP17, "x"))
		o.over(t, id)
	}
	if n := len(theirs.got()); n != 2 {
		t.Errorf("their relay got %d events", n)
	}
}

// TestReceiptsAreTheSameOnEveryTry is NIP-57 E and threat C7: the receipt's id
// does not change, it goes to the request's relays, at most ten and none private.
func TestReceiptsAreTheSameOnEveryTry(t *testing.T) {
	theirs := newStoring(t)
	o := newOffice(t, newOutbox())
	relays := []string{theirs.url, "wss://127.0.0.1:5432x", "ftp://x"}
	for range 300 {
		relays = append(relays, theirs.url)
	}
	req, err := nip.ZapRequestEvent(o.asker, o.tower.Public(), nip.ZapRequest{Amount: 21000, Relays: relays}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	paid := time.Now().Add(-time.Minute)
	zap := timmy.Parcel{
		ID: 1, Front: timmy.FrontDM, To: o.asker.Public(), At: time.Now(), Request: []byte(req.String()),
		Zap: &timmy.InvoiceStatus{Invoice: timmy.Invoice{Bolt11: "lnbcrt1", Amount: 21000}, Settled: true, At: paid},
	}
	o.own.fail(errors.New("away"))
	stop := o.run(t)
	o.post(zap)
	eventually(t, "put off", func() bool { _, n, _ := o.outbox.state(1); return n > 0 })
	stop()
	first, err := nip.ParseEvent(o.outbox.at(1).Signed[0])
	if err != nil {
		t.Fatal(err)
	}
	o.outbox.at(1).Signed = nil // the crash came before it was stored
	o.outbox.due[1] = time.Time{}
	o.own.fail(nil)
	o.run(t)
	if how := o.over(t, 1); how != "delivered" {
		t.Fatal(how)
	}
	got := theirs.got()
	if len(got) != 1 || !strings.Contains(got[0], first.ID) || first.CreatedAt.Time().Unix() != paid.Unix() {
		t.Errorf("got %v, first %s", got, first)
	}
}

// TestZapRelaysAreTrimmed is threat C6: a list of 5000 hostile relays opens no
// connection, and of good ones ten at most are called.
func TestZapRelaysAreTrimmed(t *testing.T) {
	c := NewCourier(CourierConfig{Client: NewClient(ClientConfig{}), OwnURL: "wss://tower.example.com/"})
	list := []string{"wss://127.0.0.1", "ws://relay.example.com", "wss://169.254.169.254/latest", "wss://localhost", "wss://Tower.Example.com"}
	for i := range 5000 {
		list = append(list, "wss://relay"+strings.Repeat("x", i%20)+".example.com")
	}
	got := c.callable(list, courierZapRelays)
	if len(got) != courierZapRelays || got[0] != "wss://relay.example.com" {
		t.Errorf("%d: %v", len(got), got)
	}
}

// TestMoneyNoticesReachOldApps: where no message tells how to answer, somebody
// without an inbox list who has written the old way is told the old way.
func TestMoneyNoticesReachOldApps(t *testing.T) {
	for _, old := range []bool{true, false} {
		o := newOffice(t, newOutbox())
		if old {
			o.own.events = append(o.own.events, signed(t, o.asker, 4, "x", nostr.Tag{"p", o.tower.Public().String()}))
		}
		o.run(t)
		o.post(timmy.Parcel{ID: 1, Front: timmy.FrontDM, To: o.asker.Public(), At: time.Now(), Paid: &timmy.Notice{Amount: 100000, Balance: 100000}})
		o.over(t, 1)
		events := o.own.all()
		m, err := nip.Open(o.asker, events[len(events)-1], time.Now())
		if err != nil || (m.Scheme == nip.NIP04) != old || m.Text != "✓ 100 sats received (balance 100)." {
			t.Errorf("old=%t: %+v, %v", old, m, err)
		}
	}
}

// TestAnnouncing: the own relay first, then the indexers, whose failure is no
// failure.
func TestAnnouncing(t *testing.T) {
	indexer := newStoring(t)
	o := newOffice(t, newOutbox(), func(c *CourierConfig) { c.Indexers = []string{indexer.url, "ws://127.0.0.1:1"} })
	events, err := nip.Announcements(o.tower, nip.Profile{Name: "T", RelayURL: "wss://tower.example.com"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Announce(t.Context(), events); err != nil || len(o.own.all()) != len(events) || len(indexer.got()) != len(events) {
		t.Errorf("%v: own %d, indexer %d", err, len(o.own.all()), len(indexer.got()))
	}
	o.own.fail(errors.New("away"))
	if err := o.Announce(t.Context(), events); err == nil {
		t.Error("the own relay's failure is not reported")
	}
}
