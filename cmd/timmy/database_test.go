package main

import (
	"strings"
	"testing"
)

// Excludes: a password in an error, a table or a line of JSON, and an address that
// is wrong and silently means SQLite.
func TestTheDatabaseAddressIsASecret(t *testing.T) {
	const planted = "pl4nted"
	good := "TIMMY_DATABASE_URL=postgres://timmy:" + planted + "@127.0.0.1:1/books"
	c, err := load(t, "", []string{good})
	if err != nil || !c.Tower.Database.IsSet() {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"mysql://timmy:" + planted + "@db/books", "postgres://timmy:" + planted + "@db", "postgres://timmy:" + planted + "@:x%", planted,
	} {
		_, err := load(t, "", []string{"TIMMY_DATABASE_URL=" + bad})
		if err == nil || strings.Contains(err.Error(), planted) || !strings.Contains(err.Error(), "TIMMY_DATABASE_URL") {
			t.Errorf("%v", err)
		}
	}
	vars := []string{good, "TIMMY_DATA_DIR=" + t.TempDir()}
	for _, args := range [][]string{{"config"}, {"config", "--json"}, {"ledger", "verify"}, {"run", "--listen", "127.0.0.1:0"}} {
		r := runWith(t, vars, args...)
		if out := r.stdout + r.stderr; out == "" || strings.Contains(out, planted) {
			t.Errorf("%v: %s", args, out)
		}
	}
}
