package db

import "time"

const (
	// maxBatch is how many writes share a commit. 64 callers make batches of 32;
	// at 1,024 callers 512 is still filled (reference: group commit).
	maxBatch = 512
	// maxBatchPostgres is less: PostgreSQL remembers 64 savepoints of a transaction
	// where others can see them cheaply, and a batch of one tower keeps the others
	// waiting.
	maxBatchPostgres = 60
	// carefulFor is how many batches have savepoints after one in which an item
	// failed, so that whoever provokes failures has few batches run twice.
	carefulFor = 64
	// maxTries is how often a write is tried that PostgreSQL gave up for another's
	// sake (serialization failure, deadlock), or whose connection was lost before
	// its commit; retryAfter is the longest pause before the second try, and grows.
	maxTries   = 5
	retryAfter = 20 * time.Millisecond
	// lockTimeout is how long a batch waits for its turn among the towers.
	lockTimeout = 15 * time.Second
	// idleTimeout is when the server ends a transaction whose tower is gone without
	// a word (a cut cable), so that the others get their turn.
	idleTimeout = 10 * time.Second
	// connectTimeout bounds the making of one connection.
	connectTimeout = 10 * time.Second
	// listenAgain is the pause before the listener of hints connects again.
	listenAgain = time.Second
	// minPostgres is the oldest major version that is tested.
	minPostgres = 15
	// defaultReaders and maxReaders bound the reader handles: readers in a busy
	// loop take the processor from the writer.
	defaultReaders = 4
	maxReaders     = 16
	// maxStatements is how many prepared statements a connection keeps. Programs
	// have a few hundred texts; only generated ones (filters) could grow.
	maxStatements = 512
	// busyTimeout is how long a connection waits for another process's lock.
	busyTimeout = 5 * time.Second
	// maxWAL is the size of the write-ahead log above which the writer empties it.
	// It grows that far only while a reader pins it.
	maxWAL = 64 << 20
	// checkpointPages is how many pages the write-ahead log takes before a commit moves
	// them into the file. A page that is written often is moved once, so that more cost
	// less: a twentieth of the writer's time against SQLite's 1,000; and still more would
	// make that one commit long.
	checkpointPages = 4000
	// cacheKiB is how much of the file the writer keeps in memory. Its writes go to the
	// same few pages of each tree; with SQLite's 2,000 it reads them again each time.
	cacheKiB = 16_384
	// checkWALEvery is how many commits pass between two looks at its size.
	checkWALEvery = 256
	// minSQLite excludes the WAL-reset corruption of 3.7.0 to 3.51.2.
	minSQLite = "3.52.0"
)
