package db

import (
	"testing"

	sqlite3 "github.com/mattn/go-sqlite3"
)

// Excludes: a statement that SQLite prepares anew at each run, for it has looked at the
// values that were bound: that takes longer than the run.
func TestAStatementIsPreparedOnce(t *testing.T) {
	d := open(t)
	err := d.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("CREATE TABLE b (k TEXT NOT NULL, n BIGINT NOT NULL, seq INTEGER PRIMARY KEY)")
		if err == nil {
			_, err = tx.Exec("CREATE INDEX b_k ON b (k, seq)")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	run := func(tx *Tx, i int) error {
		if _, err := tx.Exec("INSERT INTO b (k, n) VALUES (?, ?)", "k", i); err != nil {
			return err
		}
		var list []int
		for query, args := range map[string][]any{
			"SELECT n FROM b WHERE k = ? ORDER BY seq DESC LIMIT ?":                                                 {"k", i + 1},
			"SELECT n FROM b WHERE k = ? AND n = ? LIMIT ? OFFSET ?":                                                {"k", i, i + 1, i % 2},
			"SELECT n FROM b WHERE k IN (?, ?) AND seq < ? ORDER BY seq LIMIT ?":                                    {"k", "l", i, 5},
			"DELETE FROM b WHERE k = ? AND seq <= (SELECT seq FROM b WHERE k = ? ORDER BY seq LIMIT ?) RETURNING n": {"l", "k", 1},
		} {
			if err := tx.Select(&list, query, args...); err != nil {
				return err
			}
		}
		return nil
	}
	prepared := 0
	watch := func(c any) error {
		c.(*sqlite3.SQLiteConn).RegisterAuthorizer(func(int, string, string, string) int { prepared++; return sqlite3.SQLITE_OK })
		return nil
	}
	err = d.Write(t.Context(), func(tx *Tx) error {
		if err := run(tx, 1); err != nil {
			return err
		}
		if err := tx.s.conn.Raw(watch); err != nil {
			return err
		}
		if err := run(tx, 2); err != nil { // to watch is a reason to prepare
			return err
		}
		prepared = 0
		for i := range 10 {
			if err := run(tx, i); err != nil {
				return err
			}
		}
		if prepared > 0 {
			t.Errorf("%d looks at what is prepared again", prepared)
		}
		_, err := tx.Exec("UPDATE b SET n = n")
		if prepared == 0 {
			t.Error("a new statement was not seen either")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
