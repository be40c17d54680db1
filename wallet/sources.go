package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/timmy-tower/timmy"
)

// Source is a place that publishes the price of bitcoin in US dollars.
type Source struct {
	Name  string
	URL   string
	Parse func(body []byte) (timmy.Rate, error) // integers only
}

// Sources are the four that are asked by default: kraken, coinbase, bitstamp
// and mempool. The URL of mempool may be replaced by one's own.
func Sources() []Source {
	return []Source{
		{"kraken", "https://api.kraken.com/0/public/Ticker?pair=XBTUSD", parseKraken},
		{"coinbase", "https://api.coinbase.com/v2/prices/BTC-USD/spot", parseCoinbase},
		{"bitstamp", "https://www.bitstamp.net/api/v2/ticker/btcusd/", parseBitstamp},
		{"mempool", "https://mempool.space/api/v1/prices", parseMempool},
	}
}

// SourcesNamed picks sources by name, in settings.
func SourcesNamed(names []string) ([]Source, error) {
	var out []Source
	for _, name := range names {
		i := slices.IndexFunc(Sources(), func(s Source) bool { return s.Name == name })
		if i < 0 {
			return nil, timmy.Errorf(timmy.Invalid, "price source %.20q: want kraken, coinbase, bitstamp or mempool", name)
		}
		if slices.ContainsFunc(out, func(s Source) bool { return s.Name == name }) {
			return nil, timmy.Errorf(timmy.Invalid, "price source %q is named twice", name)
		}
		out = append(out, Sources()[i])
	}
	return out, nil
}

// fetch asks once; no retries, for the others answer too.
func (s Source) fetch(ctx context.Context, client *http.Client) (timmy.Rate, error) {
	rate, err := s.get(ctx, client)
	if err == nil && (rate < MinRate || rate > MaxRate) {
		err = errors.New("absurd price")
	}
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", s.Name, err)
	}
	return rate, nil
}

func (s Source) get(ctx context.Context, client *http.Client) (timmy.Rate, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "timmy")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := readCapped(res.Body)
	if err != nil {
		return 0, err
	}
	return s.Parse(body)
}

// parseKraken: the pair in the answer has another name than the one asked for.
func parseKraken(body []byte) (timmy.Rate, error) {
	var v struct {
		Error  []string `json:"error"`
		Result map[string]struct {
			C []string `json:"c"`
		} `json:"result"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return 0, err
	}
	if len(v.Error) > 0 || len(v.Result) != 1 {
		return 0, errors.New("no price in the answer")
	}
	for _, pair := range v.Result {
		if len(pair.C) > 0 {
			return ParseUSD(pair.C[0])
		}
	}
	return 0, errors.New("no price in the answer")
}

func parseCoinbase(body []byte) (timmy.Rate, error) {
	var v struct {
		Data struct {
			Amount   string `json:"amount"`
			Currency string `json:"currency"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return 0, err
	}
	if v.Data.Currency != "" && v.Data.Currency != "USD" {
		return 0, errors.New("a price in another currency")
	}
	return ParseUSD(v.Data.Amount)
}

func parseBitstamp(body []byte) (timmy.Rate, error) {
	var v struct {
		Last string `json:"last"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return 0, err
	}
	return ParseUSD(v.Last)
}

// parseMempool: -1 is its word for unknown, and no decimal number.
func parseMempool(body []byte) (timmy.Rate, error) {
	var v struct {
		USD json.Number `json:"USD"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return 0, err
	}
	return ParseUSD(v.USD.String())
}
