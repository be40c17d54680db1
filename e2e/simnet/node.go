package simnet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// Node is one lnd. It may be used by several goroutines, but for Kill, Stop and
// Start.
type Node struct {
	process
	chain     Chain
	rest, p2p string
	http      *http.Client
	macaroon  string // hex of the admin macaroon
	pubkey    []byte
}

func newNode(alias, bin, dir string, chain *btcd) (*Node, error) {
	var addrs [3]string
	for i := range addrs {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		addrs[i] = addr
	}
	n := &Node{process: process{name: "lnd", bin: bin, dir: dir}, chain: chain.chain, rest: addrs[0], p2p: addrs[1]}
	n.args = []string{
		"--lnddir=" + dir, "--alias=" + alias, "--noseedbackup", "--nobootstrap", "--debuglevel=info",
		"--restlisten=" + n.rest, "--listen=" + n.p2p, "--rpclisten=" + addrs[2],
		"--trickledelay=50", "--minbackoff=100ms", "--maxbackoff=1s", "--accept-keysend",
		"--bitcoin." + string(n.chain), "--bitcoin.node=btcd", "--bitcoin.defaultchanconfs=1",
		"--btcd.rpchost=" + chain.rpc, "--btcd.rpcuser=" + rpcUser, "--btcd.rpcpass=" + rpcPass, "--btcd.rpccert=" + chain.cert,
	}
	return n, nil
}

// URL is the address of the REST listener.
func (n *Node) URL() string { return "https://" + n.rest }

// CertFile is tls.cert.
func (n *Node) CertFile() string { return filepath.Join(n.dir, "tls.cert") }

// InvoiceMacaroonFile is the macaroon that a tower is given.
func (n *Node) InvoiceMacaroonFile() string { return n.macaroonFile("invoice") }

// AdminMacaroonFile is the macaroon that may spend.
func (n *Node) AdminMacaroonFile() string { return n.macaroonFile("admin") }

func (n *Node) macaroonFile(name string) string {
	return filepath.Join(n.dir, "data", "chain", "bitcoin", string(n.chain), name+".macaroon")
}

// Start starts it, or starts it again, and waits until it has caught up with the
// chain.
func (n *Node) Start(ctx context.Context) error {
	if err := n.start(); err != nil {
		return err
	}
	return until(ctx, &n.process, "lnd's REST", func() error {
		if err := n.login(); err != nil {
			return err
		}
		var info struct {
			Pubkey string `json:"identity_pubkey"`
			Synced bool   `json:"synced_to_chain"`
		}
		err := n.get(ctx, "/v1/getinfo", &info)
		if err != nil {
			return err
		}
		if !info.Synced {
			return errors.New("the node follows the chain")
		}
		n.pubkey, err = hex.DecodeString(info.Pubkey)
		return err
	})
}

// login reads what lnd wrote when it was first started.
func (n *Node) login() error {
	if n.http != nil {
		return nil
	}
	macaroon, err := os.ReadFile(n.AdminMacaroonFile())
	if err != nil {
		return fmt.Errorf("reading the macaroon: %w", err)
	}
	client, err := clientPinnedTo(n.CertFile())
	if err != nil {
		return err
	}
	n.macaroon, n.http = hex.EncodeToString(macaroon), client
	return nil
}

// Kill ends it as a power cut would.
func (n *Node) Kill() { n.kill() }

// Stop asks it to end and waits for it.
func (n *Node) Stop() { n.stop() }

// LogTail is the end of what it printed.
func (n *Node) LogTail(lines int) string { return n.logTail(lines) }

func (n *Node) get(ctx context.Context, path string, out any) error {
	return n.call(ctx, http.MethodGet, path, nil, out)
}

func (n *Node) post(ctx context.Context, path string, in, out any) error {
	return n.call(ctx, http.MethodPost, path, in, out)
}

func (n *Node) call(ctx context.Context, method, path string, in, out any) error {
	set := func(r *http.Request) { r.Header.Set("Grpc-Metadata-Macaroon", n.macaroon) }
	if err := exchange(ctx, n.http, method, n.URL()+path, in, out, set); err != nil {
		return fmt.Errorf("lnd %s: %w", path, err)
	}
	return nil
}

// address is a new one of the node's wallet.
func (n *Node) address(ctx context.Context) (string, error) {
	var out struct{ Address string }
	err := n.get(ctx, "/v1/newaddress?type=WITNESS_PUBKEY_HASH", &out)
	return out.Address, err
}

// connect makes a lasting connection to another.
func (n *Node) connect(ctx context.Context, to *Node) error {
	return n.post(ctx, "/v1/peers", map[string]any{
		"addr": map[string]any{"pubkey": hex.EncodeToString(to.pubkey), "host": to.p2p}, "perm": true,
	}, nil)
}

// open opens a channel with sats of its own, of which push are the other's.
func (n *Node) open(ctx context.Context, to *Node, sats, push int64) error {
	return n.post(ctx, "/v1/channels", map[string]any{
		"node_pubkey": to.pubkey, "local_funding_amount": fmt.Sprint(sats), "push_sat": fmt.Sprint(push),
	}, nil)
}
