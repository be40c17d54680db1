package wallet

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/timmy-tower/timmy"
)

// OracleConfig is what [NewOracle] needs. No Sources: [Sources]. A nil HTTP
// client, clock, random source or logger is the usual one.
type OracleConfig struct {
	Sources []Source
	HTTP    *http.Client
	Now     func() time.Time
	Rand    io.Reader // for the jitter
	Log     *slog.Logger
}

// Oracle is the bitcoin price from several sources, asked once a minute by
// [Oracle.Run] and answered from memory.
type Oracle struct {
	sources []Source
	http    *http.Client
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger

	mu   sync.Mutex
	rate timmy.Rate
	at   time.Time
}

// NewOracle wants at least two sources: one alone may be wrong or lying.
func NewOracle(cfg OracleConfig) (*Oracle, error) {
	if len(cfg.Sources) == 0 {
		cfg.Sources = Sources()
	}
	if len(cfg.Sources) < minSources || len(cfg.Sources) > maxSources {
		return nil, timmy.Errorf(timmy.Invalid, "price sources: want %d to %d", minSources, maxSources)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Oracle{
		sources: slices.Clone(cfg.Sources), http: bounded(cfg.HTTP), now: cfg.Now, rand: cfg.Rand, log: cfg.Log,
	}, nil
}

// Rate is the last good price. Unavailable: there is none younger than 15
// minutes; no new work is quoted then.
func (o *Oracle) Rate(context.Context) (timmy.Rate, error) {
	rate, at := o.Last()
	if rate == 0 || o.now().Sub(at) > maxRateAge {
		return 0, &timmy.Error{Code: timmy.Unavailable, Message: "the bitcoin price is not known right now"}
	}
	return rate, nil
}

// Last is the last good price, however old, and when it was made; zero at first.
func (o *Oracle) Last() (timmy.Rate, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rate, o.at
}

// Run refreshes the price at once and then about every minute, until ctx ends.
func (o *Oracle) Run(ctx context.Context) error {
	for {
		err := o.Refresh(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := refreshEvery
		if err != nil {
			o.log.Warn("the bitcoin price could not be refreshed", "error", err)
			if _, err := o.Rate(ctx); err != nil {
				pause = retryEvery
			}
		}
		timer := time.NewTimer(o.jitter(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// jitter moves a pause by up to a tenth, so that towers do not ask together.
func (o *Oracle) jitter(d time.Duration) time.Duration {
	var b [4]byte
	if _, err := io.ReadFull(o.rand, b[:]); err != nil {
		return d
	}
	tenth := d / 10
	return d - tenth + time.Duration(int64(binary.BigEndian.Uint32(b[:]))*int64(2*tenth)>>32)
}

// Refresh asks all sources at once and keeps the price that [decide] makes of
// what came within 3 seconds.
func (o *Oracle) Refresh(ctx context.Context) error {
	answers, failed := o.ask(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.rate
	if o.now().Sub(o.at) > maxRateAge {
		last = 0
	}
	rate, err := decide(last, answers)
	if err != nil {
		return errors.Join(fmt.Errorf("refreshing the price: %w", err), failed)
	}
	o.rate, o.at = rate, o.now()
	return nil
}

// ask collects the answers, and the errors of the others.
func (o *Oracle) ask(ctx context.Context) ([]timmy.Rate, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	rates := make([]timmy.Rate, len(o.sources))
	errs := make([]error, len(o.sources))
	var wg sync.WaitGroup
	for i, s := range o.sources {
		wg.Go(func() { rates[i], errs[i] = s.fetch(ctx, o.http) })
	}
	wg.Wait()
	var answers []timmy.Rate
	for i, err := range errs {
		if err == nil {
			answers = append(answers, rates[i])
		}
	}
	return answers, errors.Join(errs...)
}

// decide is the price that several answers make. It is their median once those
// are left out that are more than a tenth off the last good one, which is 0 when
// there is none. Three that agree with each other overrule the last one: the
// market did move. Without a last price, the answers must agree among
// themselves.
func decide(last timmy.Rate, answers []timmy.Rate) (timmy.Rate, error) {
	sorted := slices.Clone(answers)
	slices.Sort(sorted)
	anchor := last
	if anchor == 0 && len(sorted) > 0 {
		anchor = sorted[(len(sorted)-1)/2]
	}
	near := slices.DeleteFunc(slices.Clone(sorted), func(r timmy.Rate) bool { return !within(anchor, r, 10) })
	if len(near) >= minSources {
		return median(near), nil
	}
	for i := 0; i+agreeing <= len(sorted); i++ {
		if group := sorted[i : i+agreeing]; within(group[0], group[agreeing-1], agreePercent) {
			return median(group), nil
		}
	}
	if len(answers) < minSources {
		return 0, fmt.Errorf("%d of at least %d sources answered", len(answers), minSources)
	}
	return 0, errors.New("the sources disagree")
}

// within: r is at most percent of a away from a.
func within(a, r timmy.Rate, percent timmy.Rate) bool {
	return max(a, r)-min(a, r) <= a/100*percent
}

// median of sorted prices, rounded down between two.
func median(sorted []timmy.Rate) timmy.Rate {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
