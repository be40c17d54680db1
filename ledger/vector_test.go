package ledger

import (
	"encoding/json"
	"os"
	"testing"
)

// vector reads a value of testdata/books.json.
func vector(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/books.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]string
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all[name]
}
