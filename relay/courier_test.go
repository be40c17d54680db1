package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// memOutbox is an outbox in memory, so that a test can look at every call and
// restart a courier on what is durable.
type memOutbox struct {
	mu      sync.Mutex
	parcels []timmy.Parcel
	due     map[int64]time.Time
	ended   map[int64]string
	seals   map[int64]int
	sealErr error
}

func newOutbox(parcels ...timmy.Parcel) *memOutbox {
	return &memOutbox{parcels: parcels, due: map[int64]time.Time{}, ended: map[int64]string{}, seals: map[int64]int{}}
}

func (o *memOutbox) Due(_ context.Context, now time.Time, limit int) ([]timmy.Parcel, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []timmy.Parcel
	for _, p := range o.parcels {
		if _, over := o.ended[p.ID]; !over && !o.due[p.ID].After(now) && len(out) < limit {
			out = append(out, p)
		}
	}
	return out, nil
}

func (o *memOutbox) at(id int64) *timmy.Parcel {
	i := slices.IndexFunc(o.parcels, func(p timmy.Parcel) bool { return p.ID == id })
	return &o.parcels[i]
}

func (o *memOutbox) Sealed(_ context.Context, id int64, events [][]byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seals[id]++
	if o.sealErr != nil {
		return o.sealErr
	}
	o.at(id).Signed = events
	return nil
}

func (o *memOutbox) Delivered(_ context.Context, id int64) error { return o.end(id, "delivered") }

func (o *memOutbox) Abandon(_ context.Context, id int64, why string) error {
	return o.end(id, "abandoned: "+why)
}

func (o *memOutbox) end(id int64, how string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended[id] = how
	return nil
}

func (o *memOutbox) Retry(_ context.Context, id int64, at time.Time, _ string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due[id] = at
	o.at(id).Tries++
	return nil
}

func (o *memOutbox) state(id int64) (ended string, tries, seals int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended[id], o.at(id).Tries, o.seals[id]
}

// memOwn is the own relay, which can be made to fail.
type memOwn struct {
	mu     sync.Mutex
	events []*nostr.Event
	err    error
}

func (r *memOwn) Publish(_ context.Context, ev *nostr.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if err := nip.Verify(ev); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.events, func(o *nostr.Event) bool { return o.ID == ev.ID }) {
		r.events = append(r.events, ev)
	}
	return nil
}

func (r *memOwn) Query(_ context.Context, f nostr.Filter) (out []*nostr.Event, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		if f.Matches(ev) {
			out = append(out, ev)
		}
	}
	return out, nil
}

func (r *memOwn) all() []*nostr.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *memOwn) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// office is a courier with all that it needs.
type office struct {
	*Courier
	tower, asker nip.Key
	own          *memOwn
	outbox       *memOutbox
	wake         chan struct{}
}

func newOffice(t *testing.T, outbox *memOutbox, change ...func(*CourierConfig)) *office {
	t.Helper()
	o := &office{tower: newKey(t), asker: newKey(t), own: &memOwn{}, outbox: outbox, wake: make(chan struct{}, 1)}
	cfg := CourierConfig{
		Key: o.tower, Outbox: outbox, Own: o.own, Wake: o.wake, Rand: rand.Reader,
		Client: NewClient(ClientConfig{DialOptions: DialOptions{AllowPrivate: true}}),
	}
	for _, f := range change {
		f(&cfg)
	}
	o.Courier = NewCourier(cfg)
	return o
}

// run runs the courier until the returned function is called.
func (o *office) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = o.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (o *office) answer(id int64, scheme nip.Scheme, text string) timmy.Parcel {
	back, _ := json.Marshal(replyTo{Scheme: scheme, Parent: strings.Repeat("7f", 32), At: 1})
	return timmy.Parcel{
		ID: id, Front: timmy.FrontDM, To: o.asker.Public(), ReplyTo: back, At: time.Now(),
		Reply: &timmy.Reply{Request: "7f3a", Outcome: timmy.Outcome{State: timmy.StateComplete, Text: text, Cost: timmy.Cost{Charged: 22000}}, Balance: 78000},
	}
}

func (o *office) post(p timmy.Parcel) {
	o.outbox.mu.Lock()
	o.outbox.parcels = append(o.outbox.parcels, p)
	o.outbox.mu.Unlock()
	o.wake <- struct{}{}
}

func (o *office) over(t *testing.T, id int64) string {
	t.Helper()
	how := ""
	eventually(t, "the parcel ends", func() bool { how, _, _ = o.outbox.state(id); return how != "" })
	return how
}

// TestAnswersArriveInTheAskersScheme: NIP-17 is answered by NIP-17 and NIP-04 by
// NIP-04, on the own relay, naming the question.
func TestAnswersArriveInTheAskersScheme(t *testing.T) {
	o := newOffice(t, newOutbox())
	o.run(t)
	for i, scheme := range []nip.Scheme{nip.NIP17, nip.NIP04} {
		id := int64(i + 1)
		o.post(o.answer(id, scheme, "forty-two"))
		if how := o.over(t, id); how != "delivered" {
			t.Fatal(how)
		}
		events := o.own.all()
		m, err := nip.Open(o.asker, events[len(events)-1], time.Now())
		if err != nil || m.Scheme != scheme || m.Parent != strings.Repeat("7f", 32) || m.Text != "forty-two\n\n— 22 sats · 78 left · #req 7f3a" {
			t.Errorf("%s: %+v, %v", scheme, m, err)
		}
	}
}

// TestACrashAfterSealingSendsTheSameBytes: what was stored before the first
// publish is what is published after a restart; sealing again would show the
// asker two answers.
func TestACrashAfterSealingSendsTheSameBytes(t *testing.T) {
	outbox := newOutbox()
	o := newOffice(t, outbox)
	o.own.fail(errors.New("the process dies here"))
	stop := o.run(t)
	o.post(o.answer(1, nip.NIP17, "only once"))
	eventually(t, "sealed and put off", func() bool { _, tries, seals := outbox.state(1); return seals == 1 && tries > 0 })
	stop()
	stored := outbox.at(1).Signed
	outbox.due[1] = time.Time{}

	again := newOffice(t, outbox)
	again.Courier.cfg.Key, again.asker = o.tower, o.asker
	again.run(t)
	if how := again.over(t, 1); how != "delivered" {
		t.Fatal(how)
	}
	events := again.own.all()
	if _, _, seals := outbox.state(1); seals != 1 || len(events) != 1 || events[0].String() != string(stored[0]) {
		t.Errorf("sealed %d times, published %d events, same bytes: %t", seals, len(events), len(events) == 1 && events[0].String() == string(stored[0]))
	}
}

// TestNothingIsPublishedBeforeItIsStored: when the outbox cannot store the signed
// events nobody may see them.
func TestNothingIsPublishedBeforeItIsStored(t *testing.T) {
	outbox := newOutbox()
	outbox.sealErr = errors.New("disk full")
	o := newOffice(t, outbox)
	o.run(t)
	o.post(o.answer(1, nip.NIP17, "x"))
	eventually(t, "put off", func() bool { _, tries, _ := outbox.state(1); return tries > 0 })
	if n := len(o.own.all()); n != 0 {
		t.Errorf("%d events published", n)
	}
}

// TestManyWakeUpsMakeOneAnswer excludes a second answer by a sweep that read the
// outbox while the first was being delivered.
func TestManyWakeUpsMakeOneAnswer(t *testing.T) {
	outbox := newOutbox()
	o := newOffice(t, outbox)
	o.run(t)
	const n = 40
	for id := int64(1); id <= n; id++ {
		o.post(o.answer(id, nip.NIP17, "x"))
	}
	for id := int64(1); id <= n; id++ {
		o.over(t, id)
		if _, _, seals := outbox.state(id); seals != 1 {
			t.Errorf("parcel %d sealed %d times", id, seals)
		}
	}
	if got := len(o.own.all()); got != n {
		t.Errorf("%d events for %d answers", got, n)
	}
}

// TestLongAnswersComeInOrderedParts: nothing is cut off, and the dates keep the
// parts in order.
func TestLongAnswersComeInOrderedParts(t *testing.T) {
	o := newOffice(t, newOutbox(), func(c *CourierConfig) { c.CopyToSelf = true })
	o.run(t)
	o.post(o.answer(1, nip.NIP17, strings.Repeat("All work and no play. ", 3000)))
	o.over(t, 1)
	var parts []nip.Message
	copies := 0
	for _, ev := range o.own.all() {
		if m, err := nip.Open(o.asker, ev, time.Now()); err == nil {
			parts = append(parts, m)
			continue
		}
		copies++
	}
	if len(parts) != 3 || copies != 3 {
		t.Fatalf("%d parts, %d copies", len(parts), copies)
	}
	if !slices.IsSortedFunc(parts, func(a, b nip.Message) int { return a.At.Compare(b.At) }) ||
		!strings.HasPrefix(parts[0].Text, "(1/3) ") || !strings.HasSuffix(parts[2].Text, "#req 7f3a") {
		t.Errorf("%.20q … %.20q", parts[0].Text, parts[2].Text)
	}
}

// TestWhatCannotBeDeliveredIsGivenUp: a parcel for nobody must not be tried for
// ever, and a broken one must not hold up the others.
func TestWhatCannotBeDeliveredIsGivenUp(t *testing.T) {
	o := newOffice(t, newOutbox())
	o.run(t)
	bad := o.answer(1, nip.NIP17, "x")
	bad.Signed = [][]byte{[]byte("{}")}
	o.post(bad)
	o.post(timmy.Parcel{ID: 2, Front: timmy.FrontDM, Paid: &timmy.Notice{}, At: time.Now()})
	o.post(o.answer(3, nip.NIP17, "x"))
	for id, want := range map[int64]string{1: "abandoned", 2: "abandoned", 3: "delivered"} {
		if how := o.over(t, id); !strings.HasPrefix(how, want) {
			t.Errorf("%d: %s", id, how)
		}
	}
}
