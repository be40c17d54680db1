// Command relays measures the tower's relay beside khatru: its own websocket loop in
// front of its lmdb, badger and sqlite3 stores, each a process of its own, in rounds
// that take turns, one relay running at a time on a fresh folder. It prints machine,
// commit, seed, medians of the rounds, and the ratios that are the goals.
//
// It is a module of its own, so that the product does not depend on the references.
//
//	make bench-relays
package main
