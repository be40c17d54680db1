// Command pipeline measures a direct message from its wrap to its answer, in one process
// and without a socket: the wrap is verified and opened, the question reserved, the answer
// sealed for the asker and for us, the cost captured, and all three events stored, each
// durable before the next step. 64 callers do so with
//
//   - the parts of the tower: nip, ledger and relay, each database its own file;
//   - E, the same cryptography on the bare database with the same group commits: eight
//     statements for the books and no reads, in two files as the tower's, or in one;
//   - A, the default parts: go-nostr in pure Go, one transaction for each step, and
//     eventstore's lmdb, which syncs for each event.
//
// Pure Go is another build: -pure names it. "make bench-pipeline" builds and runs both.
package main
