package simnet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
)

// btcd is the chain that both nodes follow. Blocks come when they are asked for.
type btcd struct {
	process
	chain Chain
	rpc   string
	cert  string
	http  *http.Client
}

// The RPC of a chain without value, on loopback.
const (
	rpcUser = "simnet"
	rpcPass = "simnet"
)

func newBtcd(bin, dir string, chain Chain) (*btcd, error) {
	rpc, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return &btcd{process: process{name: "btcd", bin: bin, dir: dir}, chain: chain, rpc: rpc, cert: filepath.Join(dir, "rpc.cert")}, nil
}

// mineTo starts it, again if it runs, with an address that its blocks pay.
func (b *btcd) mineTo(ctx context.Context, address string) error {
	b.stop()
	b.args = []string{
		"--" + string(b.chain), "--nolisten", "--txindex", "--debuglevel=info", "--miningaddr=" + address,
		"--datadir=" + filepath.Join(b.dir, "data"), "--logdir=" + filepath.Join(b.dir, "logs"),
		"--rpclisten=" + b.rpc, "--rpcuser=" + rpcUser, "--rpcpass=" + rpcPass,
		"--rpccert=" + b.cert, "--rpckey=" + filepath.Join(b.dir, "rpc.key"),
	}
	if err := b.start(); err != nil {
		return err
	}
	return until(ctx, &b.process, "btcd's RPC", func() error {
		if b.http == nil {
			client, err := clientPinnedTo(b.cert)
			if err != nil {
				return err
			}
			b.http = client
		}
		return b.call(ctx, "getblockcount", nil, nil)
	})
}

// mine makes n blocks.
func (b *btcd) mine(ctx context.Context, n int) error {
	return b.call(ctx, "generate", []any{n}, nil)
}

func (b *btcd) call(ctx context.Context, method string, params []any, out any) error {
	if params == nil {
		params = []any{}
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  *struct{ Message string }
	}
	body := map[string]any{"jsonrpc": "1.0", "id": 1, "method": method, "params": params}
	set := func(r *http.Request) { r.SetBasicAuth(rpcUser, rpcPass) }
	if err := exchange(ctx, b.http, http.MethodPost, "https://"+b.rpc, body, &reply, set); err != nil {
		return fmt.Errorf("btcd %s: %w", method, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("btcd %s: %s", method, reply.Error.Message)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(reply.Result, out)
}
