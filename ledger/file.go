package ledger

import (
	"context"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// fileBatch is how many numbers of each table one transaction files at most: ten milliseconds
// of the writer.
const fileBatch = 4096

// What is not filed yet has the highest numbers: SQLite's one writer commits in their
// order.
const (
	unfiledRequests = `seq > (SELECT seq FROM filed WHERE what = 'requests')`
	unfiledPostings = `seq > (SELECT seq FROM filed WHERE what = 'postings')`
)

// askedBy are the numbers of a key's requests. Its arguments are the key, twice.
const askedBy = `SELECT seq FROM filed_requests WHERE asker = ?
	UNION ALL SELECT seq FROM requests WHERE asker = ? AND asker <> '' AND ` + unfiledRequests

// On PostgreSQL the latest rows of one value of a column are read by BETWEEN that and
// itself, in the order of the column and the number: only the index has that order. With =
// it may walk the table back from its newest row, which for who has few is all of it.

// latestAsked is a table, r, of the columns of a key's latest requests, commands left out.
func latestAsked(d db.Dialect, columns string, k timmy.PubKey, limit int) (table string, args []any) {
	asker := k.String()
	if d == db.Postgres {
		return `(SELECT ` + columns + ` FROM requests AS r WHERE asker BETWEEN ? AND ? AND asker <> '' AND command = 0
			ORDER BY asker DESC, seq DESC LIMIT ?) AS r`, []any{asker, asker, limit}
	}
	return `(SELECT * FROM (SELECT ` + columns + ` FROM filed_requests AS f JOIN requests AS r ON r.seq = f.seq
			WHERE f.asker = ? AND r.command = 0 ORDER BY f.seq DESC LIMIT ?) AS old
		UNION ALL
		SELECT * FROM (SELECT ` + columns + ` FROM requests AS r
			WHERE asker = ? AND asker <> '' AND command = 0 AND ` + unfiledRequests + ` ORDER BY r.seq DESC LIMIT ?) AS new) AS r`,
		[]any{asker, limit, asker, limit}
}

// File notes whose the requests and the postings of customers are that were written since
// it was last called, one batch of each at most, and says how many numbers it passed. An
// index would write a page with each of them. On PostgreSQL, where there is one, it does
// nothing.
func (l *Ledger) File(ctx context.Context) (n int, err error) {
	if l.db.Dialect() != db.SQLite {
		return 0, nil
	}
	err = l.write(ctx, failpoint.LedgerFile, func(t *txn) error {
		requests, err := t.file("requests", `INSERT OR FAIL INTO filed_requests (asker, seq)
			SELECT asker, seq FROM requests WHERE seq > ? AND seq <= ? AND asker <> ''`)
		if err != nil {
			return err
		}
		postings, err := t.file("postings", `INSERT OR FAIL INTO filed_postings (source, seq)
			SELECT source, seq FROM postings WHERE seq > ? AND seq <= ? AND (source < 'house:' OR source >= 'house;')`)
		n = requests + postings
		return err
	})
	return n, err
}

// file files what follows of a table. With OR FAIL, SQLite keeps no journal for the
// statement; what it did before it failed goes with the transaction.
func (t *txn) file(what, insert string) (n int, err error) {
	var filed, newest int64
	err = t.Row([]any{&filed, &newest}, `SELECT seq, (SELECT COALESCE(MAX(seq), 0) FROM `+what+`) FROM filed WHERE what = ?`, what)
	if err != nil || newest <= filed {
		return 0, err
	}
	until := min(newest, filed+fileBatch)
	if _, err := t.Exec(insert, filed, until); err != nil {
		return 0, err
	}
	_, err = t.Exec(`UPDATE filed SET seq = ? WHERE what = ?`, until, what)
	return int(until - filed), err
}

// departures is the condition of the postings from an account of the house, as the index
// has them.
const departures = `source = ? AND source >= 'house:' AND source < 'house;'`

// movement are the columns of a posting that people are shown.
const movement = `p.seq, p.key, p.source, p.destination, p.amount, p.at`

// paidTo reads the latest payments to an account.
func paidTo(d db.Dialect, a timmy.Account, limit int) (query string, args []any) {
	if d == db.Postgres && !eachCharge(a) {
		return `SELECT ` + movement + ` FROM postings AS p WHERE destination BETWEEN ? AND ? AND ` + indexedArrivals + `
			ORDER BY destination DESC, seq DESC LIMIT ?`, []any{a, a, limit}
	}
	return `SELECT ` + movement + ` FROM postings AS p WHERE ` + arrivals(a) + ` ORDER BY seq DESC LIMIT ?`, []any{a, limit}
}

// paidBy reads an account's latest payments: of the house's, or of a customer's, by what
// is filed.
func paidBy(d db.Dialect, a timmy.Account, limit int) (query string, args []any) {
	switch {
	case d == db.Postgres:
		return `SELECT ` + movement + ` FROM postings AS p WHERE source BETWEEN ? AND ? ORDER BY source DESC, seq DESC LIMIT ?`, []any{a, a, limit}
	case a.House():
		return `SELECT ` + movement + ` FROM postings AS p WHERE ` + departures + ` ORDER BY seq DESC LIMIT ?`, []any{a, limit}
	}
	return `SELECT * FROM (SELECT ` + movement + ` FROM filed_postings AS f JOIN postings AS p ON p.seq = f.seq
				WHERE f.source = ? ORDER BY f.seq DESC LIMIT ?) AS old
			UNION ALL
			SELECT * FROM (SELECT ` + movement + ` FROM postings AS p WHERE source = ? AND ` + unfiledPostings + ` ORDER BY p.seq DESC LIMIT ?) AS new`,
		[]any{a, limit, a, limit}
}
