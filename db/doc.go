// Package db opens the databases of the tower and gives each one writer.
//
// All writes of one database go through one connection, on which whatever is waiting is
// committed together: BEGIN IMMEDIATE, what each caller does, COMMIT, and only then the
// replies. That is done by one goroutine ([DB.Run]), or by a caller who finds nobody
// writing while writes come singly. If one fails, all is undone and run again with a savepoint for each. So a
// write that returned nil is on the disk (synchronous=FULL), a write that failed left
// nothing behind, and 64 callers share one fsync. Reads run on handles of their own that
// refuse to write, each in a snapshot, and never wait for the writer.
//
//	d, err := db.OpenSQLite(ctx, "/var/lib/timmy/ledger.db", db.Options{})
//	go d.Run(ctx)
//	err = d.Write(ctx, func(tx *db.Tx) error {
//		n, err := tx.Exec("UPDATE a SET v = v - ? WHERE k = ? AND v >= ?", 7, "x", 7)
//		…
//	})
//
// PostgreSQL ([OpenPostgres]) is the same for several towers on one database. A batch
// begins by waiting for its turn: an advisory lock of the server, which it keeps
// until it is committed. So what a write has read holds until it is committed, as on
// SQLite; every transaction takes this lock first, so there are no deadlocks among
// towers; and since each batch moves the one row of the pool, they would wait for
// each other anyway. What the server gives up all the same (40001, 40P01) is tried
// again, one write at a time. Hints ([Tx.Hint]) go out with the commit. Statements that
// need not be answered at once ([Tx.Later]) are sent together.
//
// It knows no table. It will not hand out a raw handle, and it will not repeat a
// write whose COMMIT may have arrived: only the caller can know what that means.
package db
