// Package db opens the databases of the tower and gives each one writer.
//
// All writes of one database go through one goroutine ([DB.Run]), which commits
// whatever is waiting together: BEGIN IMMEDIATE, a savepoint for each caller,
// COMMIT, and only then the replies. So a write that returned nil is on the disk
// (synchronous=FULL), a write that failed left nothing behind, and 64 callers
// share one fsync. Reads run on handles of their own that refuse to write, each in
// a snapshot, and never wait for the writer.
//
//	d, err := db.OpenSQLite(ctx, "/var/lib/timmy/ledger.db", db.Options{})
//	go d.Run(ctx)
//	err = d.Write(ctx, func(tx *db.Tx) error {
//		n, err := tx.Exec("UPDATE a SET v = v - ? WHERE k = ? AND v >= ?", 7, "x", 7)
//		…
//	})
//
// It knows no table. It will not hand out a raw handle, and it will not retry a
// write: what f read may have changed, so only the caller can know.
package db
