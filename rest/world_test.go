package rest

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// world is the ledger, the desk and the wallet in memory, as faithful as the
// ports describe them, with places to inject faults.
type world struct {
	mu        sync.Mutex
	now       time.Time
	sessions  map[string]*fakeSession
	replies   map[timmy.RequestID]*fakeReply
	invoices  map[timmy.Hash]*fakeInvoice
	keys      map[string]*fakeKey
	turns     map[string]int
	made      int
	runs      int                     // how often work was done
	checks    int                     // how often the wallet was asked for an invoice
	preimages map[timmy.Hash][32]byte // kept if it is set
	landing   map[timmy.Hash]bool     // paid, and not reported yet
	refundTo  map[string]string       // by session
	memos     []string
	follower  []fakeFollower

	price   timmy.Msat
	outcome func(*timmy.Reply)                  // changes a reply before it is stored
	work    func(timmy.Request)                 // blocks while the work is done; nil: none
	wallet  func(timmy.TopUp) error             // called while the invoice slot is claimed
	fail    func(method string) error           // of Sessions, IdemKeys, Trust and the desk
	desk    func(timmy.Request) error           // instead of running
	tier    map[timmy.PubKey]timmy.Tier         // default: new
	nip98   func(h, m, u string, b []byte) bool // of key alice
}

type fakeSession struct {
	timmy.Session
	posted, held timmy.Msat
	slot         map[timmy.Purpose]bool // an invoice is being made
	movedTo      string
	ask          *timmy.Invoice
}

type fakeReply struct {
	timmy.Reply
	finished bool
	done     chan struct{}
}

type fakeInvoice struct {
	timmy.InvoiceStatus
	session string
	purpose timmy.Purpose
}

type fakeKey struct {
	body    [32]byte
	subject string
	state   IdemState
	status  int
	reply   []byte
	orphan  bool // its holder crashed
}

type fakeFollower struct {
	thread string
	c      chan timmy.Event
}

const life = 24 * time.Hour

var alice, bob = timmy.PubKey{1: 7, 2: 9}, timmy.PubKey{1: 8}

func newWorld() *world {
	return &world{
		now: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), price: 20 * timmy.Sat,
		sessions: map[string]*fakeSession{}, replies: map[timmy.RequestID]*fakeReply{},
		invoices: map[timmy.Hash]*fakeInvoice{}, keys: map[string]*fakeKey{}, turns: map[string]int{},
		landing: map[timmy.Hash]bool{}, refundTo: map[string]string{},
		tier: map[timmy.PubKey]timmy.Tier{},
	}
}

func (w *world) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) fault(method string) error {
	if w.fail == nil {
		return nil
	}
	return w.fail(method)
}

// read expires what is due, as every method of the book does.
func (w *world) read(id string) (*fakeSession, error) {
	s := w.sessions[id]
	if s == nil {
		return nil, timmy.Errorf(timmy.NotFound, "no such session")
	}
	if s.State != timmy.SessionExpired && w.now.After(s.Expires) {
		s.State = timmy.SessionExpired
		delete(w.turns, "session:"+id)
	}
	if s.TopUp != nil && w.now.After(s.TopUp.Expires) {
		s.TopUp = nil
	}
	s.Balance, s.Available = s.posted, s.posted-s.held
	return s, nil
}

func (w *world) Open(_ context.Context, id string, owner timmy.PubKey, from string) (timmy.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("open"); err != nil {
		return timmy.Session{}, err
	}
	if w.sessions[id] == nil {
		s := &fakeSession{slot: map[timmy.Purpose]bool{}}
		s.Session = timmy.Session{ID: id, State: timmy.SessionAwaiting, Owner: owner, Created: w.now, Expires: w.now.Add(life)}
		if from != "" {
			old, err := w.read(from)
			if err != nil {
				return timmy.Session{}, err
			}
			s.posted, old.posted = old.posted, 0
		}
		w.sessions[id] = s
	}
	s, err := w.read(id)
	return s.Session, err
}

func (w *world) Session(_ context.Context, id string) (timmy.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("session"); err != nil {
		return timmy.Session{}, err
	}
	s, err := w.read(id)
	if err != nil {
		return timmy.Session{}, err
	}
	return s.Session, nil
}

func (w *world) Presented(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[id].Used = true
	return w.fault("presented")
}

func (w *world) Join(_ context.Context, id, from string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, old := w.sessions[id], w.sessions[from]
	if old.Moved && old.movedTo != id {
		return timmy.Errorf(timmy.Conflict, "it went elsewhere")
	}
	s.posted, old.posted = s.posted+old.posted, 0
	old.Moved, old.movedTo, old.State = true, id, timmy.SessionExpired
	return w.fault("join")
}

func (w *world) End(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[id].State = timmy.SessionExpired
	return w.fault("end")
}

// Remember is of the refunds' fake; an invoice is one if it begins like one.
func (w *world) Remember(_ context.Context, id, to string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(to, "@") && !strings.HasPrefix(to, "lnbcrt1") {
		return timmy.Errorf(timmy.Invalid, "neither address nor invoice")
	}
	w.sessions[id].RefundTo, w.refundTo[id] = to, to
	return w.fault("remember")
}

func (w *world) Forget(_ context.Context, thread string, _ timmy.PubKey) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.turns[thread]
	delete(w.turns, thread)
	return n, w.fault("forget")
}

func (w *world) Reply(_ context.Context, id timmy.RequestID) (timmy.Reply, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.replies[id]
	if r == nil {
		return timmy.Reply{}, false, timmy.Errorf(timmy.NotFound, "no such request")
	}
	return r.Reply, r.finished, nil
}

// Invoice claims the slot, asks the wallet without the lock, and ties the
// invoice to the session.
func (w *world) Invoice(_ context.Context, t timmy.TopUp) (timmy.Invoice, error) {
	id, _ := t.Account.Session()
	w.mu.Lock()
	s, err := w.read(id)
	if err != nil {
		w.mu.Unlock()
		return timmy.Invoice{}, err
	}
	open := *s.open(t.Purpose)
	if open != nil || s.slot[t.Purpose] {
		w.mu.Unlock()
		e := timmy.Errorf(timmy.Conflict, "an invoice is open")
		if open != nil {
			return *open, e
		}
		return timmy.Invoice{}, e
	}
	s.slot[t.Purpose] = true
	w.memos = append(w.memos, t.Memo)
	wallet := w.wallet
	w.mu.Unlock()
	if wallet != nil {
		err = wallet(t)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.slot[t.Purpose] = false
	if err != nil {
		return timmy.Invoice{}, err
	}
	return w.issue(s, t), nil
}

func (w *world) issue(s *fakeSession, t timmy.TopUp) timmy.Invoice {
	w.made++
	preimage := [32]byte{byte(w.made), byte(w.made >> 8)}
	inv := timmy.Invoice{Hash: sha256.Sum256(preimage[:]), Amount: t.Amount, Expires: w.now.Add(time.Hour)}
	if w.preimages != nil {
		w.preimages[inv.Hash] = preimage
	}
	inv.Bolt11 = "lnbcrt1" + inv.Hash.String()
	f := &fakeInvoice{session: s.ID, purpose: t.Purpose}
	f.Invoice, f.Account = inv, t.Account
	w.invoices[inv.Hash] = f
	*s.open(t.Purpose) = &inv
	return inv
}

// open is where a session keeps its open invoice of a purpose.
func (s *fakeSession) open(p timmy.Purpose) **timmy.Invoice {
	switch p {
	case timmy.ForTopUp:
		return &s.TopUp
	case timmy.ForAsk:
		return &s.ask
	}
	return &s.Deposit
}

// Check is what the till's watchers would do by themselves a little later.
func (w *world) Check(_ context.Context, h timmy.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks++
	if f := w.invoices[h]; f != nil && w.landing[h] && !f.Settled {
		w.credit(f)
	}
}

// pay credits an invoice, as the till's watchers do: whatever the state.
func (w *world) pay(t testing.TB, hash string) {
	t.Helper()
	h, err := timmy.ParseHash(hash)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.invoices[h]
	if f == nil || f.Settled {
		t.Fatalf("cannot pay %s", hash)
	}
	w.credit(f)
}

func (w *world) credit(f *fakeInvoice) {
	f.Settled = true
	s := w.sessions[f.session]
	s.posted += f.Amount
	s.Expires, s.State = w.now.Add(life), timmy.SessionActive
	*s.open(f.purpose) = nil
	if f.purpose == timmy.ForDeposit {
		s.Paid = f.Hash
	}
	if s.Bearer == 0 {
		s.Bearer = 1
	}
	if s.posted < minBalance {
		s.State = timmy.SessionPaused
	}
}

const minBalance = 50 * timmy.Sat

// Do holds, works without the lock and without the caller's context, and
// finishes: a caller that leaves changes nothing.
func (w *world) Do(ctx context.Context, r timmy.Request) (timmy.Reply, error) {
	w.mu.Lock()
	if w.desk != nil {
		defer w.mu.Unlock()
		return timmy.Reply{}, w.desk(r)
	}
	if err := w.fault("do"); err != nil {
		w.mu.Unlock()
		return timmy.Reply{}, err
	}
	id, _ := r.Payer.Session()
	s, err := w.read(id)
	if err != nil {
		w.mu.Unlock()
		return timmy.Reply{}, err
	}
	hold := max(w.price, minBalance)
	if err := s.admits(r, hold); err != nil {
		w.mu.Unlock()
		return timmy.Reply{}, err
	}
	s.held += hold
	f := &fakeReply{done: make(chan struct{})}
	f.Request, f.Payer, f.Thread, f.Outcome.State = r.ID, r.Payer, r.Thread, timmy.StateRunning
	w.replies[r.ID] = f
	work := w.work
	w.mu.Unlock()
	go func() {
		if work != nil {
			work(r)
		}
		w.finish(s, f, r, hold)
	}()
	return w.Wait(ctx, r.ID)
}

// admits is what the book looks at when a request starts.
func (s *fakeSession) admits(r timmy.Request, hold timmy.Msat) error {
	if r.Bearer != 0 && r.Bearer != s.Bearer {
		return timmy.Errorf(timmy.Unauthorized, "another generation")
	}
	s.Used = s.Used || r.Bearer != 0
	switch {
	case s.State == timmy.SessionExpired:
		return timmy.Errorf(timmy.Expired, "expired")
	case s.State != timmy.SessionActive && s.State != timmy.SessionPaused:
		return timmy.Errorf(timmy.Conflict, "not open")
	case s.State == timmy.SessionPaused, s.posted-s.held < hold:
		return timmy.Errorf(timmy.Unpaid, "not enough")
	}
	return nil
}

func (w *world) finish(s *fakeSession, f *fakeReply, r timmy.Request, hold timmy.Msat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs++
	f.Outcome = timmy.Outcome{
		State: timmy.StateComplete, Text: "answer to " + r.Text, Rate: 60_000_500_000,
		Cost: timmy.Cost{Eval: 5 * timmy.Sat, Work: w.price - 5*timmy.Sat, Total: w.price, Charged: w.price},
	}
	if w.outcome != nil {
		w.outcome(&f.Reply)
	}
	s.held -= hold
	s.posted -= f.Outcome.Cost.Charged
	if s.posted < minBalance && s.State == timmy.SessionActive {
		s.State = timmy.SessionPaused
	}
	f.Balance, f.finished = s.posted, true
	w.turns[r.Thread] += 2
	close(f.done)
	for _, e := range []timmy.Event{
		{Type: timmy.EventDelta, Request: r.ID, Thread: r.Thread, Delta: "ans\nwer"},
		{Type: timmy.EventState, Request: r.ID, Thread: r.Thread, State: f.Outcome.State},
		{Type: timmy.EventCost, Request: r.ID, Thread: r.Thread, Sats: f.Outcome.Cost.Charged.Sats(), Phase: "session", Final: true},
	} {
		w.publish(e)
	}
}

func (w *world) Wait(ctx context.Context, id timmy.RequestID) (timmy.Reply, error) {
	w.mu.Lock()
	f := w.replies[id]
	w.mu.Unlock()
	if f == nil {
		return timmy.Reply{}, timmy.Errorf(timmy.NotFound, "no such request")
	}
	select {
	case <-f.done:
		w.mu.Lock()
		defer w.mu.Unlock()
		return f.Reply, nil
	case <-ctx.Done():
		return timmy.Reply{}, ctx.Err()
	}
}

func (w *world) publish(e timmy.Event) {
	for _, f := range w.follower {
		if f.thread == "" || f.thread == e.Thread {
			select {
			case f.c <- e:
			default:
			}
		}
	}
}

func (w *world) Follow(_ context.Context, thread string) <-chan timmy.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan timmy.Event, 16)
	w.follower = append(w.follower, fakeFollower{thread, c})
	return c
}

func (w *world) Tier(_ context.Context, k timmy.PubKey) (timmy.Tier, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tier[k]; t != "" {
		return t, w.fault("tier")
	}
	return timmy.TierNew, w.fault("tier")
}

func (w *world) Verify(_ context.Context, header, method, url string, body []byte) (timmy.PubKey, error) {
	if err := w.fault("verify"); err != nil {
		return timmy.PubKey{}, err
	}
	if w.nip98 != nil && w.nip98(header, method, url, body) {
		return alice, nil
	}
	return timmy.PubKey{}, timmy.Errorf(timmy.Unauthorized, "NIP-98: refused")
}

func (w *world) Reserve(_ context.Context, key string, body [32]byte, subject string) (Idem, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("reserve"); err != nil {
		return Idem{}, err
	}
	k := w.keys[key]
	switch {
	case k == nil:
		w.keys[key] = &fakeKey{body: body, subject: subject, state: IdemInFlight}
		return Idem{State: IdemFresh, Subject: subject}, nil
	case k.body != body:
		return Idem{State: IdemMismatch}, nil
	case k.state == IdemDone:
		return Idem{State: IdemDone, Subject: k.subject, Status: k.status, Body: k.reply}, nil
	case k.orphan:
		k.orphan = false
		return Idem{State: IdemFresh, Subject: k.subject}, nil
	}
	return Idem{State: IdemInFlight, Subject: k.subject}, nil
}

func (w *world) Keep(_ context.Context, key string, status int, reply []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("keep"); err != nil {
		return err
	}
	k := w.keys[key]
	k.state, k.status, k.reply = IdemDone, status, append([]byte(nil), reply...)
	return nil
}

func (w *world) Drop(_ context.Context, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault("drop"); err != nil {
		return err
	}
	delete(w.keys, key)
	return nil
}

// crash leaves every key that was in flight to whoever asks next.
func (w *world) crash() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.keys {
		k.orphan = k.state == IdemInFlight
	}
}
