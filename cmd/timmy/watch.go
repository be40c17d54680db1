package main

import (
	"context"
	"fmt"
	"time"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
)

const (
	watchEvery   = time.Minute
	alertAfter   = 2 * time.Minute    // what is over sooner needs nobody
	alertAgain   = 24 * time.Hour     // a trouble that lasts is said once a day
	suspendAgain = 7 * 24 * time.Hour // money without an owner waits for a person
	alertRows    = 100                // of suspense, the newest
	clockSlack   = 5 * time.Second    // between two looks; what keeps a clock right moves it by less
)

// trouble is a state that the operator should hear of. look says what is wrong, in
// words, or nothing.
type trouble struct {
	name string
	look func(context.Context) string
}

// watch looks after the tower for its operators, who get a direct message when
// something needs them and another when it is over.
type watch struct {
	troubles []trouble
	suspense func(context.Context, int) ([]ledger.Drawer, error)
	tell     func(ctx context.Context, name string, again time.Time, text string) error
	now      func() time.Time
	elapsed  func() time.Duration // of a clock that nobody can set

	looked  time.Time     // when the last look was, by now
	running time.Duration // and by elapsed

	since map[string]time.Time // since when a trouble is seen
	told  map[string]bool      // those that the operators have heard of
}

// look looks once.
func (w *watch) look(ctx context.Context) error {
	now := w.now()
	if err := w.clock(ctx, now.Round(0)); err != nil {
		return err
	}
	for _, t := range w.troubles {
		if err := w.follow(ctx, t.name, t.look(ctx), now); err != nil {
			return err
		}
	}
	drawers, err := w.suspense(ctx, alertRows)
	if err != nil {
		return err
	}
	for _, d := range drawers {
		if !d.Resolved.IsZero() {
			continue
		}
		text := fmt.Sprintf("A payment of %s sats could not be credited: %s. It is in house:suspense as %s; see timmy ledger suspense.", sats(d.Received), d.Reason, d.Name)
		if err := w.tell(ctx, "suspense "+d.Name, now.Add(suspendAgain), text); err != nil {
			return err
		}
	}
	return nil
}

// clock says when the time of day made a jump since the last look. Sessions, invoices
// and messages expire by it.
func (w *watch) clock(ctx context.Context, now time.Time) error {
	running := w.elapsed()
	jump := now.Sub(w.looked) - (running - w.running)
	first := w.looked.IsZero()
	if first || jump.Abs() <= clockSlack {
		w.looked, w.running = now, running
		return nil
	}
	way := "forward"
	if jump < 0 {
		way = "back"
	}
	text := fmt.Sprintf("The clock of this machine was set %s by %v. Sessions and invoices expire by it, and messages from a wrong time are refused: see that it is right, and kept right.",
		way, jump.Abs().Round(time.Second))
	if err := w.tell(ctx, fmt.Sprint("clock ", now.UnixMilli()), now.Add(alertAgain), text); err != nil {
		return err
	}
	w.looked, w.running = now, running
	return nil
}

// follow says of a trouble that it lasts, and later that it is over.
func (w *watch) follow(ctx context.Context, name, what string, now time.Time) error {
	began, seen := w.since[name]
	switch {
	case what == "" && w.told[name]:
		delete(w.told, name)
		delete(w.since, name)
		return w.tell(ctx, fmt.Sprint("over ", name, " ", began.UnixMilli()), now.Add(alertAgain), "It is over: "+name+".")
	case what == "":
		delete(w.since, name)
		return nil
	case !seen:
		w.since[name] = now
		return nil
	case now.Sub(began) < alertAfter || w.told[name]:
		return nil
	}
	if err := w.tell(ctx, name, now.Add(alertAgain), what); err != nil {
		return err
	}
	w.told[name] = true
	return nil
}

// watchOver looks at the tower until ctx ends. Without operators there is nobody to
// tell.
func (p *parts) watchOver(ctx context.Context) error {
	if len(p.cfg.Operators) == 0 {
		return nil
	}
	w := p.newWatch()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("looking after the tower", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.alarm:
		}
	}
}

func (p *parts) newWatch() *watch {
	began := time.Now() // as a clock: what passes since then is monotonic
	return &watch{
		troubles: []trouble{
			{"the wallet is away", p.walletTrouble},
			{"payments wait to be credited", func(context.Context) string { return words(p.till.Healthy()) }},
			{"more is owed than the wallet holds", p.shortOfSats},
			{"the bitcoin price is not known", func(ctx context.Context) string {
				_, err := p.rates.Rate(ctx)
				return words(err)
			}},
			{"the books do not add up", func(context.Context) string {
				if p.booksOK.Load() {
					return ""
				}
				return "The books do not add up, and money routes are closed: see timmy ledger verify."
			}},
		},
		suspense: p.book.Suspense,
		tell: func(ctx context.Context, name string, again time.Time, text string) error {
			said, err := p.book.Alert(ctx, name, again, p.cfg.Operators, text)
			if said {
				p.log.Error("alert: the operators are told", "what", text)
			}
			return err
		},
		now: p.env.Now, elapsed: func() time.Duration { return time.Since(began) }, since: map[string]time.Time{}, told: map[string]bool{},
	}
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return "Something needs you: " + err.Error() + "."
}

func (p *parts) walletTrouble(context.Context) string {
	away := p.till.WalletAway()
	if away.IsZero() {
		return ""
	}
	return "The wallet has answered nothing since " + away.UTC().Format(time.RFC3339) + ": nobody can pay. Try timmy wallet test."
}

// shortOfSats reads what is owed before what is held: money that comes in between
// is on the safe side.
func (p *parts) shortOfSats(ctx context.Context) string {
	s, err := p.book.Sheet(ctx)
	if err != nil {
		return ""
	}
	held, err := p.walletHeld(ctx, nothing{})
	if err != nil || held.Msat == nil {
		return ""
	}
	if short := shortage(s.Owed(), *held.Msat); short != "" {
		return short + ": see timmy ledger statement."
	}
	return ""
}

// shortage says that more is owed than held, or nothing.
func shortage(owed, held timmy.Msat) string {
	if owed <= held {
		return ""
	}
	return fmt.Sprintf("%s sats are owed and the wallet holds %s: %s are missing", sats(owed), sats(held), sats(owed-held))
}
