// Package pgtest starts a PostgreSQL server for tests and benches, on a folder and a
// port of its own, and removes it when it is stopped. It is part of no tower: only
// test files, the bench and what proves several towers import it.
//
//	s, err := pgtest.Start(pgtest.Options{})
//	if err != nil { … }        // errors.Is(err, pgtest.ErrNotInstalled): say so, loudly
//	defer s.Stop()
//	url, err := s.Database()   // for each ledger another
//
// [RunTwice] runs the tests of a package on SQLite and then on such a server.
package pgtest
