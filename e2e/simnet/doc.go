// Package simnet runs a Lightning network of its own for tests: btcd on simnet and
// two lnd nodes with a funded channel, real binaries on loopback in a directory of
// the caller's. The node called Shop is the one whose wallet a tower has; Payer is
// everybody who pays it.
//
// The binaries are built from the nested module e2e/lightning ("make
// lightning-bin"). run/ is the same network as a command.
package simnet
