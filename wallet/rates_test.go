package wallet

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/timmy-tower/timmy"
)

func usd(n int64) timmy.Rate { return timmy.Rate(n * 1_000_000) }

// TestDecideBelievesTheMany excludes a price that one source, or one minute,
// makes up (threats G10).
func TestDecideBelievesTheMany(t *testing.T) {
	for name, c := range map[string]struct {
		last    timmy.Rate
		answers []timmy.Rate
		want    timmy.Rate // 0: no price
	}{
		"nobody":                     {usd(90_000), nil, 0},
		"one alone":                  {usd(90_000), []timmy.Rate{usd(90_000)}, 0},
		"two":                        {usd(90_000), []timmy.Rate{usd(90_000), usd(91_000)}, usd(90_500)},
		"median of three":            {usd(90_000), []timmy.Rate{usd(95_000), usd(90_100), usd(90_000)}, usd(90_100)},
		"one wild":                   {usd(90_000), []timmy.Rate{usd(900_000), usd(90_100), usd(90_000)}, usd(90_050)},
		"two wild, two good":         {usd(90_000), []timmy.Rate{usd(900_000), usd(900_000), usd(90_100), usd(90_000)}, usd(90_050)},
		"two moved":                  {usd(90_000), []timmy.Rate{usd(120_000), usd(120_100)}, 0},
		"three moved together":       {usd(90_000), []timmy.Rate{usd(120_000), usd(120_100), usd(120_200), usd(90_000)}, usd(120_100)},
		"three moved apart":          {usd(90_000), []timmy.Rate{usd(120_000), usd(150_000), usd(180_000)}, 0},
		"at first, two":              {0, []timmy.Rate{usd(90_000), usd(90_200)}, usd(90_100)},
		"at first, two disagree":     {0, []timmy.Rate{usd(50_000), usd(90_200)}, 0},
		"at first, one of three":     {0, []timmy.Rate{usd(5_000), usd(90_000), usd(90_200)}, usd(90_100)},
		"edge of the band is inside": {usd(100_000), []timmy.Rate{usd(110_000), usd(110_000)}, usd(110_000)},
	} {
		got, err := decide(c.last, c.answers)
		if got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}

// TestSourcesAreReadExactly excludes floats, and words for "unknown" taken for a
// price.
func TestSourcesAreReadExactly(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       timmy.Rate // 0: refused
	}{
		{"kraken", `{"error":[],"result":{"XXBTZUSD":{"c":["91234.56789","0.1"]}}}`, 91_234_567_890},
		{"kraken", `{"error":["EGeneral:Too many requests"],"result":{"XXBTZUSD":{"c":["91234.5"]}}}`, 0},
		{"kraken", `{"error":[],"result":{}}`, 0},
		{"kraken", `{"error":[],"result":{"a":{"c":["1"]},"b":{"c":["2"]}}}`, 0},
		{"kraken", `{"error":[],"result":{"XXBTZUSD":{"c":[]}}}`, 0},
		{"coinbase", `{"data":{"amount":"91234.5","base":"BTC","currency":"USD"}}`, 91_234_500_000},
		{"coinbase", `{"data":{"amount":"91234.5","base":"BTC","currency":"EUR"}}`, 0},
		{"coinbase", `{"data":{"amount":91234.5}}`, 0},
		{"bitstamp", `{"last":"91234"}`, 91_234_000_000},
		{"bitstamp", `{"last":"-91234"}`, 0},
		{"bitstamp", `{"last":"9.1e4"}`, 0},
		{"bitstamp", `{}`, 0},
		{"mempool", `{"time":1,"USD":91234,"EUR":1}`, 91_234_000_000},
		{"mempool", `{"time":1,"USD":-1}`, 0},
		{"mempool", `{"time":1,"USD":"many"}`, 0},
		{"mempool", `<html>`, 0},
		{"mempool", `{"USD":999}`, 0},
		{"mempool", `{"USD":10000001}`, 0},
		{"mempool", `{"USD":100000000000000000000000000000}`, 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }))
		sources, err := SourcesNamed([]string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		sources[0].URL = server.URL
		got, err := sources[0].fetch(t.Context(), server.Client())
		if got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s %s: %d, %v; want %d", c.name, c.body, got, err, c.want)
		}
		server.Close()
	}
	if _, err := SourcesNamed([]string{"moon"}); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("unknown source: %v", err)
	}
	if _, err := SourcesNamed([]string{"kraken", "kraken"}); timmy.CodeOf(err) != timmy.Invalid {
		t.Errorf("a source twice: %v", err)
	}
}

// transport answers without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOracleGrowsOld excludes quoting new work at a price of long ago, and an
// oracle that never comes back.
func TestOracleGrowsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		const price = "90000"
		static := func([]byte) (timmy.Rate, error) { return ParseUSD(price) }
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}
		o, err := NewOracle(OracleConfig{
			Sources: []Source{{"a", "http://a", static}, {"b", "http://b", static}}, HTTP: client, Log: quiet(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Rate(t.Context()); timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("before the first refresh: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Run(ctx) }()
		synctest.Wait()
		if rate, err := o.Rate(ctx); err != nil || rate != usd(90_000) {
			t.Errorf("Rate = %d, %v", rate, err)
		}
		down.Store(true)
		time.Sleep(maxRateAge - 2*refreshEvery)
		if _, err := o.Rate(ctx); err != nil {
			t.Errorf("still young: %v", err)
		}
		time.Sleep(4 * refreshEvery)
		if _, err := o.Rate(ctx); timmy.CodeOf(err) != timmy.Unavailable {
			t.Errorf("too old: %v", err)
		}
		if rate, _ := o.Last(); rate != usd(90_000) {
			t.Errorf("Last = %d", rate)
		}
		down.Store(false)
		time.Sleep(2 * retryEvery)
		if _, err := o.Rate(ctx); err != nil {
			t.Errorf("back again: %v", err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestOracleDoesNotWaitForTheSlow excludes a price that waits for its slowest
// source: two within three seconds are enough.
func TestOracleDoesNotWaitForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		price := func([]byte) (timmy.Rate, error) { return usd(90_000), nil }
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "slow" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}
		o, _ := NewOracle(OracleConfig{HTTP: client, Log: quiet(), Sources: []Source{
			{"a", "http://a", price}, {"slow", "http://slow", price}, {"b", "http://b", price},
		}})
		start := time.Now()
		if err := o.Refresh(t.Context()); err != nil || time.Since(start) > sourceTimeout {
			t.Errorf("Refresh = %v after %v", err, time.Since(start))
		}
	})
}

// TestStaticIsWithinReason excludes a typing mistake that gives work away.
func TestStaticIsWithinReason(t *testing.T) {
	for rate, ok := range map[timmy.Rate]bool{usd(60_000): true, 0: false, 60_000: false, usd(999): false, usd(10_000_001): false, -1: false} {
		s, err := NewStatic(rate)
		if ok != (err == nil) {
			t.Errorf("%d: %v", rate, err)
		}
		if got := timmy.Rate(0); ok {
			if got, err = s.Rate(t.Context()); err != nil || got != rate {
				t.Errorf("Rate = %d, %v", got, err)
			}
		}
	}
}

// FuzzParseUSD holds that only digits are a price.
func FuzzParseUSD(f *testing.F) {
	for _, s := range []string{"1", "1.5", "91234.567891", "", ".", "-1", "1e5", "99999999999999999999", "1.", ".5", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseUSD(s); err == nil && r < 0 {
			t.Fatalf("ParseUSD(%q) = %d", s, r)
		}
	})
}
