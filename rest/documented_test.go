package rest

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// documented counts the answers that the tests of this package were given, by what
// docs/openapi.yaml calls them. [TestMain] compares: an answer that is documented
// and that nobody has seen is a promise without a test.
type documented struct {
	mu   sync.Mutex
	seen map[string]int
}

// given is what all tests were answered: their sum is what is asked about.
var given = documented{seen: map[string]int{}}

func pair(method, path, status string) string { return method + " " + path + " " + status }

func (d *documented) note(p string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[p]++
}

// missing lists the documented answers that no test was given.
func (d *documented) missing(doc *openapi3.T) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if p := pair(method, path, status); d.seen[p] == 0 {
					out = append(out, p)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestMain fails a complete run in which a documented answer was never given. A run
// of some tests only proves nothing about the others.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	whole := true
	for _, name := range []string{"run", "skip", "fuzz", "list"} {
		whole = whole && flag.Lookup("test."+name).Value.String() == ""
	}
	if code == 0 && whole {
		code = undelivered()
	}
	os.Exit(code)
}

func undelivered() int {
	doc, err := document()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	missing := given.missing(doc)
	for _, p := range missing {
		fmt.Println("FAIL: documented, but no test is answered so:", p)
	}
	return min(1, len(missing))
}

// TestAMissingAnswerIsNoticed: without a single answer all are missing, after one
// all but that.
func TestAMissingAnswerIsNoticed(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	d := documented{seen: map[string]int{}}
	all := d.missing(doc)
	d.note(pair("GET", "/sessions/{id}", "404"))
	if left := d.missing(doc); len(all) < 200 || len(left) != len(all)-1 {
		t.Errorf("%d missing, then %d", len(all), len(left))
	}
	open(t, nil).call("GET", "/sessions/x", "")
	if slices.Contains(given.missing(doc), pair("GET", "/sessions/{id}", "404")) {
		t.Error("an answer was given and not noted")
	}
}
