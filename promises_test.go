package timmy_test

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Excludes a promise in docs/promises.md that no test holds any longer, and a row that
// is lost; and a test that make counts no longer runs because it has another name.
func TestPromisesNameTests(t *testing.T) {
	page, err := os.ReadFile("docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list := tree(t)
	there := map[string]bool{}
	for _, s := range list {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test {
				there[strings.TrimSuffix(s.file.Name.Name, "_test")+"."+f.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`([a-z]+\\.Test\\w+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 100 {
		t.Errorf("%d tests are named", len(named))
	}
	for _, m := range named {
		if !there[m[1]] {
			t.Errorf("%s is promised and not there", m[1])
		}
	}
	counted := regexp.MustCompile(`(?m)^COUNTED\s*=\s*(.*)$`).FindSubmatch(makefile)
	if counted == nil {
		t.Fatal("the Makefile counts nothing")
	}
	for _, part := range strings.Split(string(counted[1]), "|") {
		if !strings.Contains(strings.Join(slices.Sorted(maps.Keys(there)), " ")+" ", part) {
			t.Errorf("make counts runs no test for %s", part)
		}
	}
	for _, row := range []struct {
		letter string
		last   int
	}{{"A", 15}, {"B", 9}, {"D", 37}, {"H", 15}} {
		for n := 1; n <= row.last; n++ {
			if id := fmt.Sprint(row.letter, n); !regexp.MustCompile(`(?m)^\|( [A-Z]\d+,)? ` + id + `[ ,]`).Match(page) {
				t.Errorf("%s is not in the page", id)
			}
		}
	}
}
