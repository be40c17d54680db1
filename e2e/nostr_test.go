package e2e

import (
	"crypto/rand"
	"testing"

	"github.com/timmy-tower/timmy/nip"
)

// Each scenario is code we did not write talking to the tower, with the tower
// killed and started again in the middle.

func TestAskPayAnswerByNIP17(t *testing.T)     { scenario(t, "nip17.mjs") }
func TestAskPayAnswerByNIP04(t *testing.T)     { scenario(t, "nip04.mjs") }
func TestZapGrowsTheBalanceOnce(t *testing.T)  { scenario(t, "zap.mjs") }
func TestL402PaysAndAsks(t *testing.T)         { scenario(t, "l402.mjs") }
func TestNobodyReadsMailOfOthers(t *testing.T) { scenario(t, "rights.mjs") }
func TestAskPayAnswerWithNDK(t *testing.T)     { scenario(t, "ndk.mjs") }
func TestAskPayAnswerApplesauce(t *testing.T)  { scenario(t, "applesauce.mjs") }
func TestAskPayAnswerNostrify(t *testing.T)    { scenario(t, "nostrify.mjs") }

// Excludes a stranger who is not told what this is, a /balance without what waits,
// and a /stop that does not reach a model in the middle of its answer or is charged.
func TestAStrangerTalks(t *testing.T) {
	t.Parallel()
	u := startUpstream(t)
	tw := startTower(t, u.env()...)
	tw.node("talk.mjs", "UPSTREAM="+u.URL)
	tw.verifyBooks()
}

// Excludes an operator who is not told of money that has no owner, or is told twice.
func TestOperatorsAreTold(t *testing.T) {
	t.Parallel()
	tw := newTower(t)
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tw.env = append(tw.env, "TIMMY_OPERATORS="+key.Npub())
	tw.start()
	tw.node("alert.mjs", "SECRET="+key.Secret())
	want(t, tw, 1, `SELECT count(*) FROM parcels WHERE dest = '`+key.Public().String()+`'`)
}

func scenario(t *testing.T, script string) {
	t.Parallel()
	tw := startTower(t)
	tw.node(script)
	tw.verifyBooks()
}
