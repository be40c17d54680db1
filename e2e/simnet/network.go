package simnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
)

// Chain is what the nodes follow.
type Chain string

// The chains. Some software knows the second alone.
const (
	Simnet  Chain = "simnet"
	Regtest Chain = "regtest"
)

func (c Chain) params() *chaincfg.Params {
	if c == Regtest {
		return &chaincfg.RegressionNetParams
	}
	return &chaincfg.SimNetParams
}

const (
	// matureBlocks is past what makes a block's reward spendable (100) and what
	// activates segwit and taproot: three windows, of 100 on simnet, 144 on regtest.
	matureBlocks = 450
	// announceBlocks is after how many a channel is told to others.
	announceBlocks = 6
	// channelSats is below the 0.16777215 BTC that a channel may have without
	// being negotiated to be larger; pushSats of them are the shop's, to pay with.
	channelSats = 16_000_000
	pushSats    = 4_000_000
)

// Network is btcd, two nodes and the channel between them.
type Network struct {
	Shop, Payer *Node
	chain       *btcd
}

// Start brings the network up with the binaries btcd and lnd of the folder bin,
// and everything it writes below dir. ctx bounds the starting alone; Close ends
// what was started.
func Start(ctx context.Context, bin, dir string, chain Chain) (*Network, error) {
	n, err := lay(bin, dir, chain)
	if err != nil {
		return nil, err
	}
	if err := n.bringUp(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// lay makes the folders and finds the ports.
func lay(bin, dir string, chain Chain) (*Network, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, fmt.Errorf("finding the binaries: %w", err)
	}
	names := [3]string{"btcd", "shop", "payer"}
	var dirs [3]string
	for i, name := range names {
		dirs[i] = filepath.Join(dir, name)
		if err := os.MkdirAll(dirs[i], 0o700); err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
	}
	n := &Network{}
	if n.chain, err = newBtcd(bin, dirs[0], chain); err != nil {
		return nil, err
	}
	if n.Shop, err = newNode(names[1], bin, dirs[1], n.chain); err != nil {
		return nil, err
	}
	n.Payer, err = newNode(names[2], bin, dirs[2], n.chain)
	return n, err
}

// bringUp makes the first block, for a node waits until its chain is of today,
// then blocks that pay the payer's wallet, then the channel.
func (n *Network) bringUp(ctx context.Context) error {
	nobody, err := btcutil.NewAddressPubKeyHash(make([]byte, 20), n.chain.chain.params())
	if err != nil {
		return fmt.Errorf("making an address: %w", err)
	}
	if err := n.chain.mineTo(ctx, nobody.EncodeAddress()); err != nil {
		return err
	}
	if err := n.chain.mine(ctx, 1); err != nil {
		return err
	}
	if err := n.Payer.Start(ctx); err != nil {
		return err
	}
	address, err := n.Payer.address(ctx)
	if err != nil {
		return err
	}
	n.Payer.Stop()
	if err := n.chain.mineTo(ctx, address); err != nil {
		return err
	}
	if err := n.chain.mine(ctx, matureBlocks); err != nil {
		return err
	}
	if err := n.startNodes(ctx); err != nil {
		return err
	}
	return n.fund(ctx)
}

// startNodes starts both at once.
func (n *Network) startNodes(ctx context.Context) error {
	var wg sync.WaitGroup
	var errs [2]error
	for i, node := range []*Node{n.Shop, n.Payer} {
		wg.Go(func() { errs[i] = node.Start(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fund opens the channel and waits until it carries payments.
func (n *Network) fund(ctx context.Context) error {
	err := until(ctx, &n.Payer.process, "a connection between the nodes", func() error { return n.Payer.connect(ctx, n.Shop) })
	if err != nil {
		return err
	}
	err = until(ctx, &n.Payer.process, "a channel", func() error { return n.Payer.open(ctx, n.Shop, channelSats, pushSats) })
	if err != nil {
		return err
	}
	if err := n.chain.mine(ctx, announceBlocks); err != nil {
		return err
	}
	return n.Ready(ctx)
}

// Ready waits until a payment from Payer to Shop succeeds, by making one of a sat.
// An active channel is not enough: it carries nothing before both sides said that
// they are ready. After a restart of one the other may wait long before it connects again,
// so that it is told to.
func (n *Network) Ready(ctx context.Context) error {
	bolt11, err := n.Shop.Invoice(ctx, 1, "the way is free")
	if err != nil {
		return err
	}
	return until(ctx, &n.Payer.process, "a payment", func() error {
		err := n.Payer.Pay(ctx, bolt11, 0)
		if err == nil {
			return nil
		}
		return errors.Join(err, n.Payer.connect(ctx, n.Shop)) // it says so if they are connected
	})
}

// Close ends everything.
func (n *Network) Close() {
	n.Payer.Kill()
	n.Shop.Kill()
	n.chain.kill()
}
