// Command bench measures a tower from outside: it starts the given binary on a
// data directory of its own, drives it over loopback and prints what it measured
// as a table, with machine, commit and seed. Numbers of one run compare with each
// other; numbers of different runs only as ratios, for machines are noisy.
//
//	go run -tags libsecp256k1 ./bench -timmy ./bin/timmy -seconds 5
//
// It also measures the ledger beside the bare database, on SQLite and on PostgreSQL:
// both do the same inserts and updates on the same prepared statements, the bare one
// without reading anything and without an answer to anybody. What the sealer does behind
// the ledger's writing is in its time, and in the bare database's transactions. At the end it prints
// ratios of this run, with what is wanted of them. Books that have had a million requests
// are measured in turns with young ones. -part ledger, age or tower runs one part only.
package main
