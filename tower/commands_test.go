package tower

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes a command that costs something, or that a model sees.
func TestCommandsAreFreeAndPrivate(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.model.evaluate = func(context.Context, timmy.Job) (timmy.Verdict, error) { panic("a model saw a command") }
		r.book.set(timmy.UserAccount(alice), 250*timmy.Sat)
		r.book.set(timmy.HousePool, 1000*timmy.Sat)
		r.book.postings = []timmy.Posting{
			{Key: "finish:7f3abc:user:revenue", Source: timmy.UserAccount(alice), Destination: timmy.HouseRevenue, Amount: 1_359},
			{Key: "finish:7f3abc:user:dust", Source: timmy.UserAccount(alice), Destination: timmy.HouseDust, Amount: 641},
			{Key: "settle:aa", Source: timmy.HouseLightning, Destination: timmy.UserAccount(alice), Amount: 100_500},
		}
		r.book.owned = []timmy.Session{{ID: "6a0f6f0e-0000-4000-8000-000000000000", State: timmy.SessionPaused, Balance: 40 * timmy.Sat, Expires: time.UnixMilli(0)}}
		r.book.unpaid = []timmy.Invoice{{Bolt11: "lnbcrt2", Amount: 100 * timmy.Sat, Expires: time.Now().Add(time.Hour)}, {}, {}}
		for n, c := range []struct{ text, want string }{
			{"/help", "/topup [sats]"},
			{"help", "You have 3 free questions today."},
			{" ? ", "/price"},
			{"/help topup", "/topup [sats]: "},
			{"/price", "A typical one: about"},
			{"/price", "100000 USD"},
			{"/balance", "Balance: 250 sats"},
			{"/BALANCE", "Free left today: 3 questions"},
			{"/balance", "Tier: new"},
			{"/balance", "Session 6a0f6f0e…: 40 sats, paused until 1970-01-01 00:00"},
			{"/balance", "An invoice of 100 sats waits for you, for 60 minutes more:\n\nlnbcrt2\n\n2 older ones are open, too"},
			{"/history", "You have not asked"},
			{"/history money", "+100.5 sats  paid in"},
			{"/history money", "-2 sats  charged for #req 7f3a\n"},
			{"/history x", "Say how many"},
			{"/topup", "\n\nlnbcrt1\n\n"},
			{"/claim", "\n\nCLAIM-7K3Q-M2XW\n\n"},
			{"/topup 2,100", "add 2100 sats"},
			{"/topup 50", "from 100 to 10000"},
			{"/topup 99999999999999999999", "from 100 to 10000"},
			{"/topup -5", "from 100"},
			{"/ballance", "Did you mean /balance?"},
			{"/hlep", "Did you mean /help?"},
			{"/", "do not know /."},
			{"/" + strings.Repeat("ü", 5000), "You were not charged"},
			{"/drop table", "Send /help"},
			{CommandEmpty, "empty"},
			{CommandTooLong, "16 KiB"},
			{CommandFiles, "text only"},
			{"/new", "new conversation"},
			{"/forget", "Deleted"},
			{"/stop", "Nothing is running"},
		} {
			id := fmt.Sprint("c", n)
			submit(t, r, dm(id, c.text))
			o := answer(t, r, timmy.RequestID(id)).Outcome
			if o.State != timmy.StateComplete || !strings.Contains(o.Text, c.want) || o.Cost != (timmy.Cost{}) || len(o.Text) > 2000 {
				t.Errorf("%q: %+v", c.text, o)
			}
		}
		if prompts, ok := r.book.forgot["dm:alice"]; !ok || !prompts {
			t.Error("/forget forgot nothing")
		}
		if b := r.book.balance(timmy.UserAccount(alice)); b.Posted != 250*timmy.Sat || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
	})
}

// Excludes a /stop that waits behind what it is to stop: every worker is busy.
func TestStopReachesRunningWork(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(140 * time.Second)
		submit(t, r, dm("running", "hello"))
		synctest.Wait()
		submit(t, r, dm("waiting", "hello"))
		began := time.Now()
		submit(t, r, dm("stop", "/stop"))
		if o := answer(t, r, "stop").Outcome; !strings.Contains(o.Text, "Stopped 2 questions") {
			t.Errorf("answer %q", o.Text)
		}
		o := answer(t, r, "running").Outcome
		if o.State != timmy.StateFailed || o.Reason != "Stopped." || o.Cost.Charged != 0 || time.Since(began) > 2*time.Second {
			t.Errorf("outcome %+v after %s", o, time.Since(began))
		}
		if s := r.book.state("waiting"); s != timmy.StateFailed {
			t.Errorf("the waiting one is %s", s)
		}
	}, func(c *DeskConfig) { c.Workers = 1 })
}

// Excludes one key's /stop reaching another's work.
func TestStopLeavesOthersAlone(t *testing.T) {
	runRig(t, func(t *testing.T, r *rig) {
		r.book.set(timmy.UserAccount(alice), 1000*timmy.Sat)
		r.model.work = slowWork(10 * time.Second)
		submit(t, r, dm("running", "hello"))
		synctest.Wait()
		other := dm("stop", "/stop")
		other.From = timmy.PubKey{2}
		submit(t, r, other)
		if o := answer(t, r, "running").Outcome; o.State != timmy.StateComplete {
			t.Errorf("outcome %+v", o)
		}
	})
}

func TestIsCommand(t *testing.T) {
	for text, want := range map[string]bool{"/x": true, " HELP ": true, "?": true, "help me": false, "what?": false, "": false} {
		if IsCommand(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// Any text may come as a command: none may end in a panic or a failure.
func FuzzCommandText(f *testing.F) {
	for _, s := range []string{"/help", "/topup 1e9", "/history 99999999999", "/\x00\xff", "/ ", "?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := newRig()
		j := timmy.Job{Request: dm("c", text)}
		o := r.desk.command(t.Context(), j)
		if o.State != timmy.StateComplete || o.Text == "" || strings.HasPrefix(o.Text, "Sorry") {
			t.Errorf("%q: %+v", text, o)
		}
	})
}
