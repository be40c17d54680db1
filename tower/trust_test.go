package tower

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/timmy-tower/timmy"
)

func graded(s timmy.Standing, o timmy.Outcome, times int, at time.Time) timmy.Standing {
	for range times {
		s = Grade(s, o, at)
	}
	return s
}

var (
	paidAnswer = timmy.Outcome{State: timmy.StateComplete, Cost: timmy.Cost{Charged: 20 * timmy.Sat}}
	abuse      = timmy.Outcome{State: timmy.StateRejected, Abuse: true, Cost: timmy.Cost{Charged: 3 * timmy.Sat}}
)

// Excludes D34: the operator's failure, or a refusal that is no abuse, lowering a key's trust.
func TestOnlyAbuseLowersTrust(t *testing.T) {
	s := graded(timmy.Standing{Key: alice}, paidAnswer, 10, testNow)
	for _, o := range []timmy.Outcome{{State: timmy.StateFailed}, {State: timmy.StateUnpaid}, {State: timmy.StateRejected}, {State: timmy.StateFailed, Abuse: true}} {
		if g := Grade(s, o, testNow); g.Score != s.Score || g.Completed != s.Completed || g.Refused != s.Refused {
			t.Errorf("%+v moved %+v to %+v", o, s, g)
		}
	}
	if g := Grade(s, abuse, testNow); g.Score >= s.Score || g.Refused != 1 || g.Paid != s.Paid+3*timmy.Sat {
		t.Errorf("abuse left %+v", g)
	}
}

func TestTiersAreReachedAndFade(t *testing.T) {
	if got := TierOf(timmy.Standing{}, testNow); got != timmy.TierAnonymous {
		t.Errorf("nobody is %s", got)
	}
	if got := TierOf(timmy.Standing{Key: alice}, testNow); got != timmy.TierNew {
		t.Errorf("a key never seen is %s", got)
	}
	old := timmy.Standing{Key: alice, FirstSeen: testNow.Add(-1000 * day)}
	if got := TierOf(old, testNow); got != timmy.TierNew {
		t.Errorf("a key that is only old is %s", got)
	}
	s := graded(timmy.Standing{Key: alice}, paidAnswer, 100, testNow)
	if got := TierOf(s, testNow); got != timmy.TierElite {
		t.Errorf("after 100 paid answers: %s (%d)", got, s.Score)
	}
	if got := TierOf(s, testNow.Add(365*day)); got != timmy.TierNew {
		t.Errorf("a year later: %s", got)
	}
	if got := TierOf(graded(s, abuse, 20, testNow), testNow); got != timmy.TierNew {
		t.Errorf("after abuse: %s", got)
	}
}

// Excludes an allowance that grows by asking often: scoring daily or once comes to
// the same, and a half-life halves.
func TestDecayDoesNotDependOnHowOften(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		score := rapid.Int64Range(scoreMin, scoreMax).Draw(t, "score")
		days := rapid.IntRange(0, 400).Draw(t, "days")
		once, _ := decay(score, testNow, testNow.Add(time.Duration(days)*day))
		often, at := score, testNow
		for n := range days * 3 {
			often, at = decay(often, at, testNow.Add(time.Duration(n+1)*day/3))
		}
		if diff := once - often; diff < -int64(days)-1 || diff > int64(days)+1 {
			t.Fatalf("once %d, often %d", once, often)
		}
		if max(once, -once) > max(score, -score) {
			t.Fatalf("decay grew %d to %d", score, once)
		}
	})
	if got, _ := decay(100_000, testNow, testNow.Add(scoreHalfLife*day)); got < 49_990 || got > 50_000 {
		t.Errorf("after a half-life: %d", got)
	}
	if got, at := decay(100_000, testNow, testNow.Add(-time.Hour)); got != 100_000 || !at.Equal(testNow) {
		t.Errorf("a clock that went back: %d", got)
	}
}
