package e2e

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// upstream is a server that speaks the OpenAI chat protocol and says what it is
// told to. Its token counts are what a tower charges by.
type upstream struct {
	*httptest.Server
	verdict atomic.Pointer[string]
	broken  atomic.Bool
	hangs   atomic.Bool // in the middle of an answer, until the caller hangs up
	works   atomic.Int64
}

const (
	evalIn, evalOut = 120, 9
	workIn, workOut = 310, 270
)

func startUpstream(t testing.TB) *upstream {
	u := &upstream{}
	accept := `{"accepted":true,"reason":""}`
	u.verdict.Store(&accept)
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hang":
		u.hangs.Store(true)
		return
	case "/works":
		fmt.Fprint(w, u.works.Load())
		return
	}
	var ask struct {
		Model  string
		Stream bool
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || r.URL.Path != "/v1/chat/completions" {
		http.Error(w, `{"error":{"message":"bad request"}}`, http.StatusBadRequest)
		return
	}
	if ask.Model == "judge" {
		text, _ := json.Marshal(*u.verdict.Load())
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"1","object":"chat.completion","model":"judge","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`,
			text, evalIn, evalOut, evalIn+evalOut)
		return
	}
	u.works.Add(1)
	if u.broken.Load() {
		http.Error(w, `{"error":{"message":"boom, secret details"}}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range []string{"The answer", " is", " 42."} {
		fmt.Fprintf(w, "data: {\"id\":\"2\",\"object\":\"chat.completion.chunk\",\"model\":\"worker\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", piece)
		w.(http.Flusher).Flush()
		if u.hangs.Load() {
			<-r.Context().Done()
			return
		}
	}
	fmt.Fprintf(w, "data: {\"id\":\"2\",\"object\":\"chat.completion.chunk\",\"model\":\"worker\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
	fmt.Fprintf(w, "data: {\"id\":\"2\",\"object\":\"chat.completion.chunk\",\"model\":\"worker\",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n",
		workIn, workOut, workIn+workOut)
}

func (u *upstream) env() []string {
	return []string{
		"TIMMY_MODEL=openai", "TIMMY_OPENAI_BASE_URL=" + u.URL + "/v1", "TIMMY_OPENAI_API_KEY=sk-test-not-a-secret",
		"TIMMY_EVAL_MODEL=judge", "TIMMY_WORK_MODEL=worker",
		"TIMMY_EVAL_USD_PER_MTOK_IN=0.8", "TIMMY_EVAL_USD_PER_MTOK_OUT=4", "TIMMY_WORK_USD_PER_MTOK_IN=3",
		"TIMMY_WORK_USD_PER_MTOK_OUT=15", "TIMMY_INFRA_USD=0.0007", "TIMMY_MARGIN_PERCENT=37.5", "TIMMY_BTC_USD=91234.56",
	}
}

// sats is the formula of the README, worked out with rationals:
// (token cost + infrastructure) × (1 + margin), in whole sats, rounded up once.
func sats(evalCost, workCost *big.Rat) int64 {
	usd := new(big.Rat).Add(evalCost, workCost)
	usd.Add(usd, big.NewRat(7, 10_000))
	usd.Mul(usd, big.NewRat(1375, 1000))
	price := new(big.Rat)
	price.SetString("91234.56")
	s := usd.Quo(usd.Mul(usd, big.NewRat(100_000_000, 1)), price)
	up := new(big.Int).Add(s.Num(), new(big.Int).Sub(s.Denom(), big.NewInt(1)))
	return up.Div(up, s.Denom()).Int64()
}

func tokens(in, out int64, priceIn, priceOut *big.Rat) *big.Rat {
	mtok := big.NewRat(1_000_000, 1)
	a := new(big.Rat).Mul(big.NewRat(in, 1), priceIn)
	b := new(big.Rat).Mul(big.NewRat(out, 1), priceOut)
	return a.Quo(a.Add(a, b), mtok)
}

// TestChargeIsTheFormula holds the charge against rational arithmetic, with a
// model server that reports its own token counts.
func TestChargeIsTheFormula(t *testing.T) {
	t.Parallel()
	u := startUpstream(t)
	tw := startTower(t, u.env()...)
	a := newAPI(t, tw)
	id, bearer := a.session("5000")
	ask := func() answer {
		return a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is the answer?"}`, "Authorization", bearer)
	}
	evalCost := tokens(evalIn, evalOut, big.NewRat(8, 10), big.NewRat(4, 1))
	workCost := tokens(workIn, workOut, big.NewRat(3, 1), big.NewRat(15, 1))

	got := ask()
	if want := sats(evalCost, workCost); got.num("debitedSats") != want || got.str("state") != "complete" || got.str("result") != "The answer is 42." {
		t.Fatalf("want %d sats: %s", want, got.raw)
	}
	balance := 5000 - got.num("debitedSats")

	no := `{"accepted":false,"reason":"That is not something I do."}`
	u.verdict.Store(&no)
	works := u.works.Load()
	got = ask()
	want := sats(evalCost, new(big.Rat))
	if got.str("state") != "rejected" || got.num("debitedSats") != want || got.str("reason") != "That is not something I do." || u.works.Load() != works {
		t.Fatalf("a refusal costs the evaluation, %d sats, and no work: %s", want, got.raw)
	}
	balance -= want

	for _, nonsense := range []string{`sure thing!`, `{"accepted":"true"}`, `{"accepted":true}{"accepted":false}`} {
		u.verdict.Store(&nonsense)
		if got = ask(); got.str("state") != "failed" || got.num("debitedSats") != 0 {
			t.Fatalf("a verdict that cannot be read is the operator's failure: %s", got.raw)
		}
	}

	tw.restart()
	yes := `{"accepted":true,"reason":""}`
	u.verdict.Store(&yes)
	u.broken.Store(true)
	got = ask()
	if got.str("state") != "failed" || got.num("debitedSats") != 0 || strings.Contains(got.raw, "secret details") {
		t.Fatalf("a model that is down costs nothing and tells nothing: %s", got.raw)
	}
	if left := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); left != balance {
		t.Fatalf("balance %d, want %d", left, balance)
	}
	tw.verifyBooks()
}
