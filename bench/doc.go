// Command bench measures a tower from outside: it starts the given binary on a
// data directory of its own, drives it over loopback and prints what it measured
// as a table, with machine, commit and seed. Numbers of one run compare with each
// other; numbers of different runs only as ratios, for machines are noisy.
//
//	go run -tags libsecp256k1 ./bench -timmy ./bin/timmy -seconds 5
package main
