package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// lightningDetectors has each way of learning of a payment find some alone, and says how
// long that takes from the settlement to the credit.
func lightningDetectors(t *testing.T, l *lightning) {
	w := l.wire(t)
	tw := l.tower(t, append(w.env(), "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_RATE_PER_MINUTE=0")...)
	a := newAPI(t, tw)
	for _, way := range []struct {
		name   string
		cut    func()
		n      int
		within time.Duration
	}{
		{"push", func() {
			w.cut(false, true, true)
			waitFor(t, "the node's stream", func() bool { return w.streams.Load() > 0 })
		}, 50, 2 * time.Second},
		{"polling", func() { w.cut(true, false, true) }, 20, 15 * time.Second},
	} {
		way.cut()
		took := make([]time.Duration, way.n)
		var all sync.WaitGroup
		for i := range took {
			id, bolt11 := deposit(a, int64(200+i))
			all.Go(func() { took[i] = l.settle(a, id, bolt11, int64(200+i)) })
			time.Sleep(50 * time.Millisecond)
		}
		all.Wait()
		slices.Sort(took)
		p99 := took[(len(took)*99+99)/100-1]
		t.Logf("%s alone: %d payments, from settled to credited p50 %v, p99 %v", way.name, way.n, took[len(took)/2].Round(time.Millisecond), p99.Round(time.Millisecond))
		if p99 > way.within {
			t.Errorf("%s alone takes %v, want %v", way.name, p99, way.within)
		}
	}

	id, bolt11 := deposit(a, 333)
	tw.kill()
	w.cut(true, true, false)
	l.pay(t, bolt11)
	tw.start()
	credited(a, id, 333)
	w.cut(false, false, false)
	tw.verifyBooks()
}

// settle pays, and measures until the payer could see the credit.
func (l *lightning) settle(a *api, id, bolt11 string, sats int64) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := l.Payer.Pay(ctx, bolt11, 0); err != nil {
		a.t.Error(err)
		return time.Hour
	}
	settled := time.Now()
	for time.Since(settled) < time.Minute {
		view, err := a.try("GET", "/sessions/"+id, "")
		if err == nil && view.status == 200 && view.num("balanceSats") == sats {
			return time.Since(settled)
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.t.Errorf("%d sats were not credited within a minute", sats)
	return time.Hour
}

// lightningRestarts ends the tower, or the node, between the payment and its
// notification.
func lightningRestarts(t *testing.T, l *lightning) {
	w := l.wire(t)
	tw := l.tower(t, w.env()...)
	a := newAPI(t, tw)

	id, bolt11 := deposit(a, 410)
	tw.kill()
	l.pay(t, bolt11)
	tw.start()
	credited(a, id, 410)

	w.cut(false, true, false) // the stream tells, and its cursor moves
	id, bolt11 = deposit(a, 415)
	waitFor(t, "the node's stream", func() bool { return w.streams.Load() > 0 })
	time.Sleep(time.Second) // in which what was listed before it is credited
	l.pay(t, bolt11)
	credited(a, id, 415)

	id, bolt11 = deposit(a, 420)
	w.cut(true, true, true) // the node has no way to tell
	l.pay(t, bolt11)
	l.Shop.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := l.Shop.Start(ctx); err != nil {
		t.Fatal(err)
	}
	w.cut(false, true, true) // and now the stream alone, from where it was
	credited(a, id, 420)
	if err := l.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	w.cut(false, false, false)
	id, bolt11 = deposit(a, 430)
	l.pay(t, bolt11)
	credited(a, id, 430)
	tw.verifyBooks()
}

// lightningAnyTime pays at random times while the tower is killed and started.
func lightningAnyTime(t *testing.T, l *lightning) {
	tw := l.tower(t, "TIMMY_SESSIONS_PER_MINUTE=0", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_LOG_LEVEL=warn")
	paidAtAnyTime(t, tw, func(bolt11 string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		return l.Payer.Pay(ctx, bolt11, 0)
	})
}
