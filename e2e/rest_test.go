package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// api calls the REST front and holds every answer against docs/openapi.yaml.
type api struct {
	t      testing.TB
	tw     *tower
	router routers.Router
}

// answer is one reply, its body decoded.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (a answer) str(key string) string {
	s, _ := a.body[key].(string)
	return s
}

func (a answer) num(key string) int64 {
	n, _ := a.body[key].(float64)
	return int64(n)
}

func (a answer) obj(key string) answer {
	m, _ := a.body[key].(map[string]any)
	return answer{body: m}
}

func newAPI(t testing.TB, tw *tower) *api {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: tw.http()}}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &api{t: t, tw: tw, router: router}
}

func (a *api) try(method, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequest(method, a.tw.http()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	json.Unmarshal(raw, &out.body)
	a.hold(req, res, raw)
	return out, nil
}

// hold fails the test if the document does not describe this answer.
func (a *api) hold(req *http.Request, res *http.Response, raw []byte) {
	a.t.Helper()
	route, params, err := a.router.FindRoute(req)
	if err != nil {
		a.t.Errorf("%s %s is not in docs/openapi.yaml: %v", req.Method, req.URL.Path, err)
		return
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(raw)),
	}
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		a.t.Errorf("%s %s → %d is not as documented: %v", req.Method, req.URL.Path, res.StatusCode, err)
	}
}

func (a *api) call(want int, method, path, body string, header ...string) answer {
	a.t.Helper()
	out, err := a.try(method, path, body, header...)
	if err != nil {
		a.t.Fatal(err)
	}
	if out.status != want {
		a.t.Fatalf("%s %s: status %d, want %d: %s", method, path, out.status, want, out.raw)
	}
	return out
}

// session opens and pays a session and returns its id and bearer header.
func (a *api) session(sats string, header ...string) (id, bearer string) {
	a.t.Helper()
	created := a.call(201, "POST", "/sessions", `{"amount_sats":`+sats+`}`, header...)
	id = created.str("sessionId")
	a.tw.pay(created.obj("invoice").str("paymentRequest"))
	return id, "Bearer " + a.active(id).str("macaroon")
}

func (a *api) active(id string) answer {
	a.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if view := a.call(200, "GET", "/sessions/"+id, ""); view.str("state") == "active" {
			return view
		}
	}
	a.t.Fatalf("the session was not active after three minutes")
	return answer{}
}

// TestDocumentedSessionAPI walks the five routes as a caller of the documented
// API does, with the tower killed between payment and first use.
func TestDocumentedSessionAPI(t *testing.T) {
	t.Parallel()
	tw := startTower(t)
	a := newAPI(t, tw)

	a.call(400, "POST", "/sessions", `{"amount_sats":99}`)
	a.call(400, "POST", "/sessions", `{}`)
	a.call(401, "POST", "/sessions", `{"amount_sats":500}`, "X-Nostr-Token", "rubbish")
	a.call(404, "GET", "/sessions/6a0f6f0e-0000-4000-8000-000000000000", "")

	// What khatru would take for a call of the relay's management (threat F10).
	created := a.call(201, "POST", "/sessions", `{"amount_sats":"500"}`, "Content-Type", "application/nostr+json+rpc")
	id, invoice := created.str("sessionId"), created.obj("invoice")
	if created.str("state") != "awaiting_payment" || created.str("trust_tier") != "anonymous" || invoice.num("amountSats") != 500 {
		t.Fatalf("created: %s", created.raw)
	}
	if _, has := created.body["macaroon"]; has {
		t.Fatal("an unpaid session has no macaroon")
	}
	view := a.call(200, "GET", "/sessions/"+id, "")
	if view.obj("invoice").str("paymentHash") != invoice.str("paymentHash") || view.num("balanceSats") != 0 {
		t.Fatalf("view before payment: %s", view.raw)
	}
	a.call(401, "POST", "/sessions/"+id+"/request", `{"request":"2+2"}`, "Authorization", "Bearer x")

	tw.pay(invoice.str("paymentRequest"))
	tw.restart()
	view = a.active(id)
	bearer := "Bearer " + view.str("macaroon")
	if view.num("balanceSats") != 500 {
		t.Fatalf("view after payment: %s", view.raw)
	}

	a.call(400, "POST", "/sessions/"+id+"/request", `{"request":"  "}`, "Authorization", bearer)
	a.call(401, "POST", "/sessions/"+id+"/request", `{"request":"2+2"}`)
	done := a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"What is 6*7?"}`, "Authorization", bearer)
	if done.str("state") != "complete" || !strings.Contains(done.str("result"), "42") {
		t.Fatalf("answer: %s", done.raw)
	}
	debited, cost := done.num("debitedSats"), done.obj("cost")
	if debited < 1 || done.num("balanceRemaining") != 500-debited || cost.num("chargedSats") != debited ||
		cost.num("evalSats")+cost.num("workSats") != cost.num("totalSats") {
		t.Fatalf("the cost does not add up: %s", done.raw)
	}
	again := a.call(200, "GET", "/sessions/"+id+"/requests/"+done.str("requestId"), "", "Authorization", bearer)
	if again.str("result") != done.str("result") || again.num("debitedSats") != debited {
		t.Fatalf("fetched again: %s, was %s", again.raw, done.raw)
	}

	topup := a.call(200, "POST", "/sessions/"+id+"/topup", `{"amount_sats":300}`, "Authorization", bearer)
	pending := a.call(409, "POST", "/sessions/"+id+"/topup", `{"amount_sats":300}`, "Authorization", bearer)
	if pending.obj("pendingTopup").str("paymentHash") != topup.obj("topup").str("paymentHash") {
		t.Fatalf("pending: %s", pending.raw)
	}
	tw.restart()
	tw.pay(topup.obj("topup").str("paymentRequest"))
	waitFor(t, "the top-up", func() bool {
		return a.call(200, "GET", "/sessions/"+id, "").num("balanceSats") == 800-debited
	})

	if cleared := a.call(200, "DELETE", "/sessions/"+id+"/history", "", "Authorization", bearer); cleared.raw != "{\"cleared\":true}" && cleared.body["cleared"] != true {
		t.Fatalf("cleared: %s", cleared.raw)
	}
	tw.verifyBooks()
}

// TestOneChargePerIdempotencyKey excludes the bug that a client that retries pays
// twice, also across a kill.
func TestOneChargePerIdempotencyKey(t *testing.T) {
	t.Parallel()
	tw := startTower(t)
	a := newAPI(t, tw)
	id, bearer := a.session("1000")

	ask := func(body string) (answer, error) {
		return a.try("POST", "/sessions/"+id+"/request", body, "Authorization", bearer, "Idempotency-Key", "the-same-key")
	}
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		wg.Go(func() { answers[i], _ = ask(`{"request":"What is 2+3?"}`) })
	}
	wg.Wait()
	var first string
	for _, got := range answers {
		switch {
		case got.status == 200 && first == "":
			first = got.raw
		case got.status == 200 && got.raw != first:
			t.Fatalf("two answers to one key:\n%s\n%s", first, got.raw)
		case got.status != 200 && got.status != 409:
			t.Fatalf("status %d: %s", got.status, got.raw)
		}
	}
	if first == "" {
		t.Fatal("nobody was answered")
	}
	tw.restart()
	if got, err := ask(`{"request":"What is 2+3?"}`); err != nil || got.raw != first {
		t.Fatalf("after a kill: %v\n%s\nwas\n%s", err, got.raw, first)
	}
	if got, err := ask(`{"request":"What is 2+4?"}`); err != nil || got.status != 422 {
		t.Fatalf("another body: %v, status %d", err, got.status)
	}
	var reply struct{ DebitedSats int64 }
	json.Unmarshal([]byte(first), &reply)
	if left := a.call(200, "GET", "/sessions/"+id, "").num("balanceSats"); left != 1000-reply.DebitedSats {
		t.Fatalf("balance %d after one charge of %d", left, reply.DebitedSats)
	}
	tw.verifyBooks()
}

// TestParallelRequestsNeverOverdraw excludes the seed's race: N requests that all
// pass the balance check and all run.
func TestParallelRequestsNeverOverdraw(t *testing.T) {
	t.Parallel()
	tw := startTower(t)
	a := newAPI(t, tw)
	id, bearer := a.session("100")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var charged int64
	statuses := map[int]int{}
	for range 50 {
		wg.Go(func() {
			got, err := a.try("POST", "/sessions/"+id+"/request", `{"request":"What is 1+1?"}`, "Authorization", bearer)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			statuses[got.status]++
			charged += got.num("debitedSats")
		})
	}
	wg.Wait()
	view := a.call(200, "GET", "/sessions/"+id, "")
	if view.num("balanceSats") < 0 || view.num("balanceSats") != 100-charged {
		t.Fatalf("balance %d after charges of %d (%v)", view.num("balanceSats"), charged, statuses)
	}
	for status := range statuses {
		if status != 200 && status != 402 && status != 429 {
			t.Fatalf("statuses %v", statuses)
		}
	}
	if statuses[200] == 0 || statuses[402] == 0 {
		t.Fatalf("some run and some are refused: %v", statuses)
	}
	tw.verifyBooks()
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out waiting for %s", what)
}
