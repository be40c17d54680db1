package e2e

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
	"github.com/timmy-tower/timmy/nip"
)

// rareSteps are the steps that are not taken under plain load, each with what
// brings a tower that was never started to it, lets it die at the moment, and then
// says whether all is well.
var rareSteps = map[failpoint.Point]func(t *testing.T, tw *tower, moment string){
	failpoint.LedgerExtend:     dieAtExtend,
	failpoint.LedgerWithdrawn:  dieAtWithdrawn,
	failpoint.LedgerResolve:    dieAtResolve,
	failpoint.LedgerAlert:      dieAtAlert,
	failpoint.LedgerFund:       dieAtFund,
	failpoint.LedgerRoot:       dieAtRoot,
	failpoint.LedgerCheckpoint: dieAtCheckpoint,
	failpoint.LedgerPublished:  dieAtRoot,
	failpoint.LedgerRefund:     dieAtRefund,
	failpoint.LedgerLaunch:     dieAtRefund,
	failpoint.LedgerLand:       dieAtRefund,
	failpoint.WalletSend:       dieAtRefund,
	failpoint.LedgerRecall:     dieAtRemainder,
	failpoint.LedgerRemainder:  dieAtRemainder,
	failpoint.LedgerOpen:       dieAtCarry,
	failpoint.LedgerExpire:     dieAtExpire,
	failpoint.LedgerExpireAll:  dieAtExpireAll,
	failpoint.LedgerRetry:      dieAtRetry,
	failpoint.LedgerAdmit:      dieAtAdmit,
	failpoint.LedgerClaim:      dieAtClaim,
	failpoint.BackupCopy:       dieAtBackup,
	failpoint.BackupPlace:      dieAtBackup,
	failpoint.RestorePlace:     dieAtRestore,
}

func nothing() {}

// asks is a provocation that asks once, in the background: the tower may die before
// it says OK, and then the asker sends the question again to the next one. asked
// waits until it was taken.
func asks(who *asker, text, want string) (provoke, asked func()) {
	done := make(chan struct{})
	provoke = once(func() {
		go func() {
			defer close(done)
			who.ask(text, want)
		}()
	})
	return provoke, func() { <-done }
}

// once is a provocation that is not repeated.
func once(f func()) func() {
	done := false
	return func() {
		if !done {
			done = true
			f()
		}
	}
}

// changeBooks does what only a test may do, with the tower stopped.
func changeBooks(t *testing.T, tw *tower, query string) {
	t.Helper()
	tw.kill()
	d, err := sqlx.Open("sqlite3", "file:"+filepath.Join(tw.data, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// want holds what a query of the books counts, with the tower stopped.
func want(t *testing.T, tw *tower, n int64, query string) {
	t.Helper()
	tw.kill()
	if got := readBooks(t, tw, query); got != n {
		t.Errorf("%d, want %d: %s", got, n, query)
	}
}

// The model takes longer than a heartbeat.
func dieAtExtend(t *testing.T, tw *tower, moment string) {
	tw.start()
	who := newDoorAsker(t, tw)
	if !who.zap(1000) {
		return
	}
	tw.dieAt(moment, "before agent work=delay 20s; ", once(func() { who.ask("What is 6*7?", "42") }))
	tw.start()
	who.settle()
	who.check()
	tw.verifyBooks()
}

// The wallet makes no invoice.
func dieAtWithdrawn(t *testing.T, tw *tower, moment string) {
	tw.start()
	a := newAPI(t, tw)
	tw.dieAt(moment, "before wallet issue=error; ", func() { _, _ = a.try("POST", "/sessions", `{"amount_sats":100}`) })
	tw.start()
	a.session("100")
	tw.verifyBooks()
}

// A payment of ten times the amount waits for the operator.
func dieAtResolve(t *testing.T, tw *tower, moment string) {
	tw.start()
	created := newAPI(t, tw).call(201, "POST", "/sessions", `{"amount_sats":100}`)
	invoice := created.obj("invoice")
	if _, err := tw.timmy("pay", invoice.str("paymentRequest"), "--sats", "1000"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the quarantine", func() bool {
		out, err := tw.timmy("ledger", "suspense", "--json")
		return err == nil && strings.Contains(out, invoice.str("paymentHash"))
	})
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	resolve := func() error {
		_, err := tw.timmy("ledger", "suspense", "resolve", invoice.str("paymentHash"), "--to", nip.Npub(key.Public()), "--reason", "told by mail")
		return err
	}
	tw.dieAt(moment, "", func() {
		if ready(tw) {
			_ = resolve()
		}
	})
	tw.start()
	if err := resolve(); (err != nil) != strings.HasPrefix(moment, "after") {
		t.Errorf("resolving again: %v", err)
	}
	tw.verifyBooks()
	want(t, tw, 1_000_000, `SELECT coalesce(sum(amount), 0) FROM postings WHERE key LIKE 'resolve:%'`)
}

// The operators are told of money without an owner: each of them once.
func dieAtAlert(t *testing.T, tw *tower, moment string) {
	tw.start()
	created := newAPI(t, tw).call(201, "POST", "/sessions", `{"amount_sats":100}`)
	if _, err := tw.timmy("pay", created.obj("invoice").str("paymentRequest"), "--sats", "1000"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the quarantine", func() bool { return readBooks(t, tw, `SELECT count(*) FROM suspense`) == 1 })
	tw.kill()
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tw.env = append(tw.env, "TIMMY_OPERATORS="+key.Npub())
	tw.dieAt(moment, "", nothing)
	tw.start()
	waitFor(t, "the alert", func() bool { return readBooks(t, tw, `SELECT count(*) FROM parcels WHERE state = 'delivered'`) == 1 })
	tw.restart()
	tw.verifyBooks()
	want(t, tw, 1, `SELECT count(*) FROM parcels`)
}

func dieAtFund(t *testing.T, tw *tower, moment string) {
	tw.dieAt(moment, "", nothing)
	tw.start()
	tw.verifyBooks()
	want(t, tw, 1_000_000, `SELECT posted FROM accounts WHERE name = 'house:pool'`)
}

func dieAtRoot(t *testing.T, tw *tower, moment string) {
	tw.dieAt(moment, "", nothing)
	tw.start()
	waitFor(t, "the root", func() bool {
		out, err := tw.timmy("ledger", "verify", "--json")
		return err == nil && json.Valid([]byte(out)) && readBooks(t, tw, `SELECT count(*) FROM roots WHERE published > 0`) == 1
	})
}

// A start finds postings that were sealed since the last one.
func dieAtCheckpoint(t *testing.T, tw *tower, moment string) {
	tw.start()
	newAPI(t, tw).session("300")
	waitFor(t, "the seal", func() bool {
		return readBooks(t, tw, `SELECT count(*) FROM chain`) > 0
	})
	tw.dieAt(moment, "", nothing)
	tw.start()
	tw.verifyBooks()
}

// sessionOver is a paid session whose time is over.
func sessionOver(t *testing.T, tw *tower) (a *api, id, bearer string) {
	tw.start()
	a = newAPI(t, tw)
	id, bearer = a.session("300")
	changeBooks(t, tw, `UPDATE sessions SET expires = 1`)
	return a, id, bearer
}

// stillThere holds that what is left of an expired session can be had, once.
func stillThere(t *testing.T, tw *tower, a *api, id, bearer string) {
	t.Helper()
	tw.start()
	if view := a.call(200, "GET", "/sessions/"+id, ""); view.str("state") != "expired" {
		t.Errorf("after its expiry: %s", view.raw)
	}
	next, _ := a.session(`100,"from_session":"`+id+`"`, "Authorization", bearer)
	if got := a.call(200, "GET", "/sessions/"+next, "").num("balanceSats"); got != 400 {
		t.Errorf("the new session has %d sats", got)
	}
	tw.verifyBooks()
}

func dieAtExpire(t *testing.T, tw *tower, moment string) {
	a, id, bearer := sessionOver(t, tw)
	tw.dieAt(moment, "before ledger expire all=error; ", func() { _, _ = a.try("GET", "/sessions/"+id, "") })
	stillThere(t, tw, a, id, bearer)
}

func dieAtExpireAll(t *testing.T, tw *tower, moment string) {
	a, id, bearer := sessionOver(t, tw)
	tw.dieAt(moment, "", nothing)
	stillThere(t, tw, a, id, bearer)
}

// What is left of a session moves into a new one.
func dieAtCarry(t *testing.T, tw *tower, moment string) {
	a, id, bearer := sessionOver(t, tw)
	tw.dieAt(moment, "", func() {
		_, _ = a.try("POST", "/sessions", `{"amount_sats":100,"from_session":"`+id+`"}`, "Authorization", bearer)
	})
	stillThere(t, tw, a, id, bearer)
}

// The own relay takes no answer.
func dieAtRetry(t *testing.T, tw *tower, moment string) {
	tw.start()
	who := newDoorAsker(t, tw)
	provoke, asked := asks(who, "/balance", "Balance")
	tw.dieAt(moment, "before courier publish=error; ", provoke)
	tw.start()
	asked()
	who.settle()
	who.check()
}

// Writing on the relay is bought from the balance.
func dieAtAdmit(t *testing.T, tw *tower, moment string) {
	tw.start()
	who := newDoorAsker(t, tw)
	if !who.zap(1000) {
		return
	}
	tw.env = append(tw.env, "TIMMY_RELAY_WRITERS=allowed", "TIMMY_RELAY_ADMISSION_SATS=100")
	// It dies before it has said OK to the message, which is sent until it does.
	asked := make(chan struct{})
	tw.dieAt(moment, "", once(func() {
		go func() { defer close(asked); who.ask("/join", "may write on my relay") }()
	}))
	tw.start()
	<-asked
	who.settle()
	want(t, tw, 100_000, `SELECT coalesce(sum(amount), 0) FROM postings WHERE key LIKE 'admission:%'`)
	tw.verifyBooks()
}

// A claim code that was made stays, and is told.
func dieAtClaim(t *testing.T, tw *tower, moment string) {
	tw.start()
	who := newDoorAsker(t, tw)
	provoke, asked := asks(who, "/claim", "CLAIM-")
	tw.dieAt(moment, "", provoke)
	tw.start()
	asked()
	who.settle()
	who.check()
	code, ok := timmy.FindClaimCode(who.reply("/claim"))
	if !ok {
		t.Error("no code")
	}
	want(t, tw, 1, `SELECT count(*) FROM claim_codes WHERE code = '`+string(code)+`'`)
	want(t, tw, 1, `SELECT count(*) FROM claim_codes`)
}

// command runs a command that dies at a moment.
func (tw *tower) commandDiesAt(moment string, args ...string) {
	tw.t.Helper()
	tw.arm = []string{"FAILPOINT=" + moment + "=crash"}
	out, err := tw.timmy(args...)
	tw.arm = nil
	if err == nil || !strings.Contains(err.Error(), "failpoint: "+moment+": crash") {
		tw.t.Fatalf("%s: %v, %s", moment, err, out)
	}
}

// A backup that dies leaves nothing under its name that is not whole, and is in
// nobody's way.
func dieAtBackup(t *testing.T, tw *tower, moment string) {
	tw.start()
	newAPI(t, tw).session("300")
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.db"), filepath.Join(dir, "second.db")
	tw.commandDiesAt(moment, "backup", "--to", first)
	if _, err := os.Stat(first); err == nil && !strings.HasPrefix(moment, "after backup place") {
		t.Errorf("%s left a file under its name", moment)
	}
	for _, name := range []string{first, second} {
		_, err := os.Stat(name)
		if _, again := tw.timmy("backup", "--to", name); again != nil && err != nil {
			t.Errorf("the next backup: %v", again)
		}
		other := newTower(t)
		if out, err := other.timmy("restore", name); err != nil {
			t.Errorf("restoring %s: %v %s", name, err, out)
		}
		want(t, other, 300_000, `SELECT coalesce(sum(amount), 0) FROM postings WHERE key LIKE 'settle:%'`)
	}
}

// A restore that dies leaves the old books or the new ones, and can be repeated.
func dieAtRestore(t *testing.T, tw *tower, moment string) {
	tw.start()
	newAPI(t, tw).session("300")
	file := filepath.Join(t.TempDir(), "copy.db")
	if _, err := tw.timmy("backup", "--to", file); err != nil {
		t.Fatal(err)
	}
	tw.kill()
	tw.commandDiesAt(moment, "restore", file, "--force")
	tw.verifyBooks()
	if out, err := tw.timmy("restore", file, "--force"); err != nil {
		t.Errorf("restoring again: %v %s", err, out)
	}
	tw.start()
	tw.verifyBooks()
}
