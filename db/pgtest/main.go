package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// RunTwice runs all tests as they are, on SQLite, and then again with *use set to a
// server; its answer is for os.Exit. Without PostgreSQL it fails in CI, and elsewhere
// says loudly what it did not run. Fuzzing, benchmarks and lists run once.
func RunTwice(m *testing.M, use **Server) int {
	if code := m.Run(); code != 0 || once() {
		return code
	}
	s, err := Start(Options{})
	if errors.Is(err, ErrNotInstalled) && os.Getenv("CI") != "true" {
		fmt.Fprintln(os.Stderr, "NOT TESTED on PostgreSQL:", err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	*use = s
	fmt.Println("=== the same on PostgreSQL")
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: ending PostgreSQL:", err)
		return 1
	}
	return code
}

// Place is where a new database of a test can be: a file of that name, or a schema of the
// server if there is one.
func Place(t testing.TB, s *Server, file string) string {
	t.Helper()
	if s == nil {
		return filepath.Join(t.TempDir(), file)
	}
	url, err := s.Database()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// once reports whether the command line asks for something that is no test.
func once() bool {
	for _, a := range os.Args[1:] {
		for _, f := range []string{"-test.list", "-test.fuzz", "-test.fuzzworker", "-test.bench"} {
			if a == f || (strings.HasPrefix(a, f+"=") && a != f+"=") {
				return true
			}
		}
	}
	return false
}
