package ledger

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// world is the books under random calls, with a model of what they have to hold.
type world struct {
	*fix
	rt       *rapid.T
	jobs     []timmy.Job
	payments []timmy.Payment
	applied  map[timmy.Hash]bool
	ids      int
	sessions []string

	funded, credited, charged, absorbed, share timmy.Msat // all that users and sessions were given and paid
	finished                                   map[timmy.RequestID]timmy.Cost
}

func (w *world) id(kind string) string { w.ids++; return fmt.Sprintf("%s%d", kind, w.ids) }

func (w *world) amount(name string) timmy.Msat {
	return timmy.Msat(rapid.Int64Range(1, 400_000).Draw(w.rt, name))
}

func (w *world) payer() (timmy.PubKey, timmy.Account) {
	k := key(byte(rapid.IntRange(1, 2).Draw(w.rt, "key")))
	n := rapid.IntRange(0, len(w.sessions)).Draw(w.rt, "payer")
	if n == len(w.sessions) {
		return k, timmy.UserAccount(k)
	}
	s, err := w.Session(w.t.Context(), w.sessions[n])
	w.ok(err)
	return s.Owner, timmy.SessionAccount(s.ID)
}

func (w *world) request() timmy.Request {
	k, payer := w.payer()
	r := dm(w.id("r"), k)
	r.Payer = payer
	if _, ok := payer.Session(); ok {
		r = call(string(r.ID), string(payer[len("session:"):]), k)
	}
	r.Command = rapid.IntRange(0, 9).Draw(w.rt, "command") == 0
	return r
}

// quote asks for what there is or, sometimes, for more. It draws first, for the
// function is called by the writer.
func (w *world) quote() func(timmy.Job) (timmy.Quote, error) {
	q := timmy.Quote{
		Payer: timmy.Msat(rapid.Int64Range(0, 300_000).Draw(w.rt, "hold")),
		Pool:  timmy.Msat(rapid.Int64Range(0, 50_000).Draw(w.rt, "pool")),
	}
	refuse := rapid.IntRange(0, 9).Draw(w.rt, "refuse")
	return func(j timmy.Job) (timmy.Quote, error) {
		switch {
		case refuse == 0:
			return timmy.Quote{}, timmy.Errorf(timmy.Unpaid, "too little")
		case refuse == 1:
			return timmy.Quote{}, timmy.Errorf(timmy.Invalid, "above the limit")
		case j.From.IsZero():
			return timmy.Quote{Payer: q.Payer}, nil
		}
		return timmy.Quote{Payer: q.Payer, Pool: min(j.PoolMax, q.Pool)}, nil
	}
}

func (w *world) started(j timmy.Job, ok bool, err error) {
	if timmy.CodeOf(err) == timmy.Internal {
		w.t.Fatal(err)
	}
	if j.Lease.Request != "" && ok {
		w.jobs = append(w.jobs, j)
		if err == nil && j.Hold.Payer > j.PayerMax {
			w.t.Fatalf("held %v of %v", j.Hold.Payer, j.PayerMax)
		}
	}
}

func (w *world) accept(*rapid.T) {
	_, err := w.Accept(w.t.Context(), w.request())
	w.ok(err)
}

func (w *world) startNext(*rapid.T) { w.started(w.Start(w.t.Context(), nil, w.quote())) }

func (w *world) startOwn(*rapid.T) {
	r := w.request()
	w.started(w.Start(w.t.Context(), &r, w.quote()))
}

func (w *world) job() timmy.Job {
	if len(w.jobs) == 0 {
		w.rt.Skip("nothing runs")
	}
	return w.jobs[rapid.IntRange(0, len(w.jobs)-1).Draw(w.rt, "job")]
}

// finish ends any job ever started: most of the time, one that is long over.
func (w *world) finish(*rapid.T) {
	j := w.job()
	part := rapid.Int64Range(0, 4).Draw(w.rt, "part")
	o := complete(j.Hold.Payer*timmy.Msat(part)/4, j.Hold.Pool*timmy.Msat(part)/4)
	o.Cost.Waived = w.amount("waived")
	o.Cost.Work += o.Cost.Waived
	o.Cost.Total += o.Cost.Waived
	o.Cost.Dust = min(o.Cost.Charged+o.Cost.Absorbed, 999)
	o.State = rapid.SampledFrom([]timmy.State{timmy.StateComplete, timmy.StateRejected, timmy.StateFailed}).Draw(w.rt, "state")
	_, err := w.Finish(w.t.Context(), j, o)
	if timmy.CodeOf(err) == timmy.Conflict {
		return
	}
	w.ok(err)
	if _, twice := w.finished[j.ID]; twice {
		w.t.Fatalf("%s was finished twice", j.ID)
	}
	w.finished[j.ID] = o.Cost
	w.charged += o.Cost.Charged
	w.absorbed += o.Cost.Absorbed
	w.share += (o.Cost.Charged - min(o.Cost.Dust, o.Cost.Charged)) / 10
}

func (w *world) invoiceFor(top timmy.TopUp, l timmy.Lease) {
	ref, open, err := w.Expect(w.t.Context(), top)
	if timmy.CodeOf(err) == timmy.Conflict || timmy.CodeOf(err) == timmy.Invalid {
		if open != nil && l.Request != "" {
			_ = w.Issued(w.t.Context(), ref, *open, l)
		}
		return
	}
	w.ok(err)
	p, h := w.preimage()
	inv := timmy.Invoice{Hash: h, Bolt11: "ln", Amount: top.Amount, Expires: w.clock.now().Add(time.Hour)}
	if err := w.Issued(w.t.Context(), ref, inv, l); err != nil && timmy.CodeOf(err) != timmy.Conflict {
		w.t.Fatal(err)
	}
	w.payments = append(w.payments, timmy.Payment{Hash: h, Ref: ref, Received: top.Amount, Preimage: p, Settled: true})
}

func (w *world) park(*rapid.T) {
	j := w.job()
	if j.Hold != (timmy.Quote{}) {
		w.rt.Skip("holds money")
	}
	w.invoiceFor(timmy.TopUp{Account: j.Payer, Purpose: timmy.ForRequest, For: j.ID, Amount: w.amount("shortfall")}, j.Lease)
}

func (w *world) topUp(*rapid.T) {
	_, a := w.payer()
	p := rapid.SampledFrom([]timmy.Purpose{timmy.ForPay, timmy.ForZap, timmy.ForDeposit, timmy.ForTopUp}).Draw(w.rt, "purpose")
	w.invoiceFor(timmy.TopUp{Account: a, Purpose: p, Amount: w.amount("amount"), Zap: []byte("z"), ZapID: w.id("z")}, timmy.Lease{})
}

// pay reports any invoice ever made as paid: in time, late, again, or wrongly.
func (w *world) pay(*rapid.T) {
	if len(w.payments) == 0 {
		w.rt.Skip("no invoice")
	}
	p := w.payments[rapid.IntRange(0, len(w.payments)-1).Draw(w.rt, "payment")]
	switch rapid.IntRange(0, 5).Draw(w.rt, "report") {
	case 0:
		p.Received = timmy.Msat(rapid.Int64().Draw(w.rt, "received"))
	case 1:
		p.Hash = timmy.Hash{}
	case 2:
		p.Preimage[5] ^= 1
	}
	c, err := w.Credit(w.t.Context(), p, "")
	w.ok(err)
	if c != timmy.CreditApplied {
		return
	}
	h := timmy.Hash{}
	if s, err := w.Invoice(w.t.Context(), p.Hash); err == nil {
		h = s.Hash
	}
	if !h.IsZero() && w.applied[h] {
		w.t.Fatalf("%s was credited twice", h)
	}
	w.applied[h] = true
	w.credited += p.Received
}

func (w *world) open(*rapid.T) {
	if len(w.sessions) > 5 {
		w.rt.Skip("enough sessions")
	}
	id, from, owner := w.id("s"), "", timmy.PubKey{}
	if rapid.Bool().Draw(w.rt, "bound") {
		owner = key(1)
	}
	if len(w.sessions) > 0 && rapid.Bool().Draw(w.rt, "carry") {
		from = w.sessions[rapid.IntRange(0, len(w.sessions)-1).Draw(w.rt, "from")]
	}
	_, err := Sessions{w.Ledger}.Open(w.t.Context(), id, owner, from)
	if timmy.CodeOf(err) == timmy.Conflict {
		return
	}
	w.ok(err)
	w.sessions = append(w.sessions, id)
}

// pass lets time go by, and does what is due then.
func (w *world) pass(*rapid.T) {
	w.clock.add(time.Duration(rapid.IntRange(1, 30*60).Draw(w.rt, "minutes")) * time.Minute)
	_, err := w.Lapse(w.t.Context(), w.clock.now())
	w.ok(err)
	_, err = w.ExpireSessions(w.t.Context(), w.clock.now())
	w.ok(err)
	_, err = w.Prune(w.t.Context(), w.clock.now())
	w.ok(err)
}

// crash makes all leases those of a dead process.
func (w *world) crash(*rapid.T) {
	w.boot = w.id("boot")
	_, err := w.Recover(w.t.Context())
	w.ok(err)
}

func (w *world) cancel(*rapid.T) {
	_, err := w.Cancel(w.t.Context(), key(1), "")
	w.ok(err)
}

// file seals and files a part of what was written; what a key is told stays what is there.
func (w *world) file(*rapid.T) {
	_, err := w.Seal(w.t.Context())
	w.ok(err)
	w.listed(key(1))
	_, err = w.File(w.t.Context())
	w.ok(err)
	w.listed(key(1))
	w.listed(key(2))
}

func (w *world) fund(*rapid.T) {
	n := w.amount("fund")
	w.ok(w.Fund(w.t.Context(), n))
	if w.funded == 0 {
		w.funded = n
	}
}

// check is the invariants of the books, after each step.
func (w *world) check(*rapid.T) {
	w.verify()
	var given timmy.Msat
	var untold int
	err := w.read(w.t.Context(), func(q *db.Tx) error {
		if err := q.Get(&given, `SELECT COALESCE(SUM(posted), 0) FROM accounts WHERE name <> 'house:pool'`); err != nil {
			return err
		}
		return q.Get(&untold, `SELECT COUNT(*) FROM requests WHERE front = 'dm' AND state IN ('complete', 'rejected', 'failed', 'unpaid', 'parked')
			AND NOT EXISTS (SELECT 1 FROM parcels WHERE request = requests.id)`)
	})
	w.ok(err)
	if want := w.credited - w.charged; given != want {
		w.t.Fatalf("users and sessions have %v, want %v", given, want)
	}
	if untold != 0 {
		w.t.Fatalf("%d requests without their parcel", untold)
	}
	pool, err := w.Balance(w.t.Context(), timmy.HousePool)
	w.ok(err)
	if want := w.funded - w.absorbed + w.share; pool.Posted != want {
		w.t.Fatalf("the pool has %v, want %v", pool.Posted, want)
	}
}

// sequences is how many are tried. PostgreSQL answers each of the questions over a
// socket, and gets fewer where few are tried.
func sequences() int {
	if server != nil {
		return times(40, 10_000)
	}
	return times(200, 10_000)
}

// Excludes: any order of calls, crashes and late or wrong reports that makes,
// loses or doubles money, or leaves an asker without an answer (A2, A7).
func TestTheBooksBalanceAfterEveryStep(t *testing.T) {
	const lanes = 4
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(sequences() / lanes))
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
	}
	fresh := freshBooks(t)
	for lane := range lanes {
		t.Run(strconv.Itoa(lane), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) { walk(rt, fresh(t)) })
		})
	}
}

// freshBooks makes new books for each sequence. Those of SQLite are copied, and in memory
// where the system has a place there: no sequence is about the disk, and making and
// syncing the files would be half of the test.
func freshBooks(t *testing.T) func(t *testing.T) (path string) {
	if server != nil {
		return func(t *testing.T) string { return booksPath(t) }
	}
	made := newFix(t)
	made.stop()
	empty, err := os.ReadFile(made.path)
	if err != nil {
		t.Fatal(err)
	}
	const memory = "/dev/shm"
	return func(t *testing.T) string {
		dir, err := os.MkdirTemp(memory, "timmy-")
		if err != nil {
			dir = t.TempDir()
		}
		path := filepath.Join(dir, "ledger.db")
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// walk is one sequence.
func walk(rt *rapid.T, path string) {
	w := &world{
		fix: &fix{t: rt, clock: &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}, path: path},
		rt:  rt, applied: map[timmy.Hash]bool{}, finished: map[timmy.RequestID]timmy.Cost{},
	}
	w.fix.open()
	defer func() {
		w.stop()
		if server == nil {
			_ = os.RemoveAll(filepath.Dir(path)) // thousands of them
		}
	}()
	rt.Repeat(map[string]func(*rapid.T){
		"accept": w.accept, "start next": w.startNext, "start own": w.startOwn, "finish": w.finish, "park": w.park,
		"top up": w.topUp, "pay": w.pay, "pay too": w.pay, "open": w.open, "pass": w.pass, "crash": w.crash,
		"cancel": w.cancel, "fund": w.fund, "file": w.file, "": w.check,
	})
}
