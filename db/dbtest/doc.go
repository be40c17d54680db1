// Package dbtest opens databases for tests. It is part of no tower: only test files
// import it.
package dbtest
