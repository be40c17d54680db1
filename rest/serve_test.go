package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/timmy-tower/timmy"
)

// document is docs/openapi.yaml, loaded once; spec finds the routes in it.
var (
	document = sync.OnceValues(func() (*openapi3.T, error) {
		doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
		if err != nil {
			return nil, err
		}
		return doc, doc.Validate(context.Background())
	})
	spec = sync.OnceValues(func() (routers.Router, error) {
		doc, err := document()
		if err != nil {
			return nil, err
		}
		return legacy.NewRouter(doc)
	})
)

// door is a served API with the world behind it.
type door struct {
	*world
	t   testing.TB
	api *API
	url string
}

// open serves an API; change may alter the settings.
func open(t testing.TB, change func(*Config, *world)) *door {
	t.Helper()
	w := newWorld()
	c := Config{
		Desk: w, Till: w, Sessions: w, IdemKeys: w, Identity: w, Trust: w, Bus: w,
		ServerKey: []byte(strings.Repeat("k", 32)), PublicURL: "https://tower.example/",
		MinDeposit: 100 * timmy.Sat, MaxDeposit: 10_000 * timmy.Sat, MinBalance: minBalance,
		Now: w.clock, Limits: Limits{-1, 0, -1, 0},
		Page: Page{Name: "Timmy", Npub: "npub1abc", Nprofile: "nprofile1abc", Demo: true},
	}
	if change != nil {
		change(&c, w)
	}
	api, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(conforms(t, api.Handler()))
	t.Cleanup(srv.Close)
	t.Cleanup(api.Drain)
	return &door{world: w, t: t, api: api, url: srv.URL}
}

// conforms holds every answer against the OpenAPI document; answers of paths
// that are not in it must be errors in JSON.
func conforms(t testing.TB, next http.Handler) http.Handler {
	router, err := spec()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tee := &tee{ResponseWriter: w}
		next.ServeHTTP(tee, r)
		p, err := check(router, r, tee)
		given.note(p)
		if err != nil {
			t.Errorf("%s %.80s → %d: %v\n%.300s", r.Method, r.URL.Path, tee.status, err, tee.body.Bytes())
		}
	})
}

type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(s int) { t.status = s; t.ResponseWriter.WriteHeader(s) }

func (t *tee) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// check also tells which answer of the document it was.
func check(router routers.Router, r *http.Request, got *tee) (string, error) {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return "", nil
	}
	asked := r.Clone(context.Background())
	if p := strings.TrimPrefix(asked.URL.Path, "/api"); strings.HasPrefix(p, "/sessions") || strings.HasPrefix(p, "/ask") || strings.HasPrefix(p, "/identity/") {
		asked.URL.Path = p
	}
	asked.URL.RawPath = ""
	route, params, err := router.FindRoute(asked)
	if err != nil || got.status == http.StatusMethodNotAllowed {
		var e struct{ Error string }
		if err := json.Unmarshal(got.body.Bytes(), &e); err != nil || e.Error == "" {
			return "", io.ErrUnexpectedEOF
		}
		return "", nil
	}
	isJSON := strings.HasPrefix(got.Header().Get("Content-Type"), "application/json")
	return pair(route.Method, route.Path, strconv.Itoa(got.status)), openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route},
		Status:                 got.status, Header: got.Header(),
		Body:    io.NopCloser(bytes.NewReader(got.body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !isJSON},
	})
}

// got is an answer.
type got struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// at is the value at a path of fields.
func (g got) at(path ...string) any {
	var v any = g.json
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (g got) str(path ...string) string { s, _ := g.at(path...).(string); return s }

func (g got) num(path ...string) int { f, _ := g.at(path...).(float64); return int(f) }

// with is a header of a call: "Name: value".
type with = string

func (d *door) call(method, path, body string, headers ...with) got {
	d.t.Helper()
	g, err := d.try(context.Background(), method, path, body, headers...)
	if err != nil {
		d.t.Fatal(err)
	}
	return g
}

func (d *door) try(ctx context.Context, method, path, body string, headers ...with) (got, error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, in)
	if err != nil {
		return got{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	noRedirects := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := noRedirects.Do(req)
	if err != nil {
		return got{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	g := got{status: res.StatusCode, header: res.Header, body: string(b)}
	_ = json.Unmarshal(b, &g.json)
	return g, err
}

// want checks status and, unless empty, the error text.
func (d *door) want(g got, status int, text string) got {
	d.t.Helper()
	if g.status != status || text != "" && g.str("error") != text {
		d.t.Fatalf("got %d %.300s, want %d %s", g.status, g.body, status, text)
	}
	return g
}

// funded is a session with a paid deposit.
func (d *door) funded(sats string, headers ...with) (id, auth string) {
	d.t.Helper()
	g := d.want(d.call("POST", "/sessions", `{"amount_sats":`+sats+`}`, headers...), 201, "")
	d.pay(d.t, g.str("invoice", "paymentHash"))
	id = g.str("sessionId")
	s, err := d.Session(context.Background(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	return id, "Authorization: Bearer " + d.api.bearer(s)
}

// fields is the set of names in a JSON object.
func fields(m map[string]any) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

func set(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}
