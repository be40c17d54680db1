package e2e

import "testing"

// Each scenario is code we did not write talking to the tower, with the tower
// killed and started again in the middle.

func TestAskPayAnswerByNIP17(t *testing.T)     { scenario(t, "nip17.mjs") }
func TestAskPayAnswerByNIP04(t *testing.T)     { scenario(t, "nip04.mjs") }
func TestZapGrowsTheBalanceOnce(t *testing.T)  { scenario(t, "zap.mjs") }
func TestL402PaysAndAsks(t *testing.T)         { scenario(t, "l402.mjs") }
func TestNobodyReadsMailOfOthers(t *testing.T) { scenario(t, "rights.mjs") }
func TestAskPayAnswerWithNDK(t *testing.T)     { scenario(t, "ndk.mjs") }

func scenario(t *testing.T, script string) {
	t.Parallel()
	tw := startTower(t)
	tw.node(script)
	tw.verifyBooks()
}
