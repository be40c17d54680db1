package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/failpoint"
	"github.com/timmy-tower/timmy/nip"
)

// tagged is the tower with failpoints, built once.
var tagged = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "timmy-failpoint")
	out, err := exec.Command("go", "build", "-tags", "libsecp256k1 failpoint", "-o", path, "../cmd/timmy").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the tower with failpoints: %w\n%s", err, out)
	}
	return path, nil
})

// armed makes a tower, not yet started, that can be told where to die.
func armed(t testing.TB, env ...string) *tower {
	t.Helper()
	tw := newTower(t, append(env, "TIMMY_LOG_LEVEL=warn", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0")...)
	var err error
	if tw.bin, err = tagged(); err != nil {
		t.Fatal(err)
	}
	return tw
}

// dieAt starts the tower with failpoints of which the last is a crash, calls
// provoke until the tower is dead, and fails the test unless it died there.
func (tw *tower) dieAt(moment string, more string, provoke func()) {
	tw.t.Helper()
	tw.kill()
	tw.arm = []string{"FAILPOINT=" + more + moment + "=crash"}
	if err := tw.launch(); err != nil {
		tw.t.Fatal(err)
	}
	tw.arm = nil
	cmd, dead := tw.cmd, make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	tw.cmd = nil
	end := time.After(3 * time.Minute)
	for {
		select {
		case <-dead:
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if status.Signal() != syscall.SIGKILL || !tw.log.has("failpoint: "+moment+": crash") {
				tw.t.Fatalf("%s: the tower ended otherwise: %v", moment, cmd.ProcessState)
			}
			return
		case <-end:
			_ = cmd.Process.Kill()
			<-dead
			tw.t.Fatalf("%s was not reached within three minutes", moment)
		case <-time.After(20 * time.Millisecond):
			provoke()
		}
	}
}

// moments are right before and right after a point.
func moments(p failpoint.Point) []string {
	return []string{"before " + string(p), "after " + string(p)}
}

// TestKilledAtEachFailpoint excludes a step that a crash leaves half done: under
// mixed load the tower is killed right before and right after each step, and
// started again. In the end the books verify, every paid invoice is credited once,
// and every accepted question is answered and charged once. The steps of rareSteps
// are not seen under load, and have a test of their own.
func TestKilledAtEachFailpoint(t *testing.T) {
	rng := seed(t)
	tw := armed(t)
	tw.start()
	b, me := newBooks(), tw.pubkey()
	var over atomic.Bool
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() { httpLoad(t, tw, b, &over) })
		a, v := newAsker(t, tw, me), newAsker(t, tw, me)
		v.b = b
		b.asked = append(b.asked, a, v)
		load.Go(func() { a.load(b, &over) })
		load.Go(func() { v.visit(&over) })
	}
	var all []string
	for _, p := range failpoint.All() {
		if _, rare := rareSteps[p]; !rare {
			all = append(all, moments(p)...)
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	began := time.Now()
	for _, m := range all {
		tw.dieAt(m, "", func() {})
		tw.start()
		// What ran is finished before the next death: a question that is there at
		// three in a row is given up, as it should be.
		time.Sleep(time.Duration(150+rng.IntN(150)) * time.Millisecond)
	}
	t.Logf("died at %d moments in %v", len(all), time.Since(began).Round(time.Second))
	over.Store(true)
	load.Wait()
	b.check(t, tw)
}

// visit does what the plain loads do not: sessions bound to a new key, top-ups,
// refused calls with an Idempotency-Key, forgetting, commands.
func (a *asker) visit(over *atomic.Bool) {
	api := newAPI(a.t, a.tw)
	for n := 0; !over.Load(); n++ {
		if n%3 == 0 && !a.bound(api) {
			return
		}
		if !a.topped(api) {
			return
		}
		a.ask("/stop", "")
	}
}

// bound pays a session for a key that was never seen, which is not read again: its
// balance is its own.
func (a *asker) bound(api *api) bool {
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		a.t.Error(err)
		return false
	}
	token := ""
	for end := time.Now().Add(3 * time.Minute); token == "" && time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		const path = "/identity/token"
		proof, err := nip.SignHTTP(key, http.MethodPost, a.tw.http()+path, nil, time.Now())
		if err != nil {
			a.t.Error(err)
			return false
		}
		if got, err := api.try(http.MethodPost, path, "", "Authorization", proof); err == nil {
			token = got.str("nostr_token")
		}
	}
	id, _, ok := a.b.session(api, `{"amount_sats":150}`, 150, "X-Nostr-Token", token)
	a.b.holds(id, 150)
	return ok
}

func (b *books) holds(session string, sats int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balances[session] = sats
}

// topped pays a session, tops it up and forgets its conversation.
func (a *asker) topped(api *api) bool {
	id, bearer, ok := a.b.session(api, `{"amount_sats":200}`, 200)
	if !ok {
		return false
	}
	if !a.topUp(api, id, bearer) {
		return false
	}
	if _, ok := until200(api, "DELETE", "/sessions/"+id+"/history", "", "Authorization", bearer); !ok {
		return false
	}
	a.b.holds(id, 200+120)
	return true
}

// topUp tops up by 120 sats; the second call is refused while the first invoice is
// open, and frees its Idempotency-Key.
func (a *asker) topUp(api *api, id, bearer string) bool {
	path, body, auth := "/sessions/"+id+"/topup", `{"amount_sats":120}`, []string{"Authorization", bearer}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		got, err := api.try("POST", path, body, auth...)
		if err != nil || (got.status != 200 && got.status != 409) {
			continue
		}
		invoice := got.obj("topup")
		if got.status == 409 {
			invoice = got.obj("pendingTopup")
		}
		if invoice.str("paymentRequest") == "" {
			continue // it is being made, or its maker is dead
		}
		_, _ = api.try("POST", path, body, append(auth, "Idempotency-Key", newUUID())...)
		if err := a.b.pay(api, invoice, 120); err != nil {
			a.t.Error(err)
			return false
		}
		return true
	}
	a.t.Errorf("no top-up within three minutes")
	return false
}

// TestKilledAtRareFailpoints is TestKilledAtEachFailpoint for the steps that need
// a failure, an operator or a long wait to be reached.
func TestKilledAtRareFailpoints(t *testing.T) {
	t.Parallel()
	for p, step := range rareSteps {
		for _, m := range moments(p) {
			t.Run(strings.ReplaceAll(m, " ", "_"), func(t *testing.T) {
				t.Parallel()
				step(t, armed(t, "TIMMY_POOL_SATS=1000"), m)
			})
		}
	}
}

// Excludes a point that no test can reach, and one listed twice.
func TestFailpointsAreManyAndDistinct(t *testing.T) {
	all := failpoint.All()
	if len(all) < 40 {
		t.Errorf("%d points", len(all))
	}
	seen := map[failpoint.Point]bool{}
	for _, p := range all {
		if seen[p] {
			t.Errorf("%s is listed twice", p)
		}
		seen[p] = true
	}
	for p := range rareSteps {
		if !slices.Contains(all, p) {
			t.Errorf("%s is no point", p)
		}
	}
}
