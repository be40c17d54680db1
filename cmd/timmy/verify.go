package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/ledger"
	"github.com/timmy-tower/timmy/nip"
)

// maxPaper bounds what verify reads: a relay's largest event, or a proof with one.
const maxPaper = 256 << 10

// verdict is what verify found.
type verdict struct {
	OK   bool   `json:"ok"`
	What string `json:"what"`
	By   string `json:"signed_by"` // npub
}

func verifyPaperCommand(Env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt or a proof, offline",
		Long: "Check the signature and the sums of a receipt (/receipt), or that a proof (/proof) leads to the root that its tower signed.\n" +
			"FILE - is the standard input. Compare signed_by with the tower you know. Exit code 0: it holds; 1: it does not.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readPaper(cmd, args[0])
			if err != nil {
				return err
			}
			v, err := checkPaper(raw)
			if err != nil {
				return err
			}
			return emit(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "%s\nsigned by %s\n", v.What, v.By) })
		},
	}
}

func readPaper(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("opening the paper: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxPaper+1))
	if err != nil {
		return nil, fmt.Errorf("reading the paper: %w", err)
	}
	if len(raw) > maxPaper {
		return nil, fmt.Errorf("more than %d bytes: no receipt and no proof", maxPaper)
	}
	return bytes.TrimSpace(raw), nil
}

// checkPaper tells a proof from a receipt by its siblings.
func checkPaper(raw []byte) (verdict, error) {
	var kind struct{ Siblings json.RawMessage }
	if err := json.Unmarshal(raw, &kind); err != nil {
		return verdict{}, errors.New("neither a receipt nor a proof")
	}
	if kind.Siblings != nil {
		return checkProof(raw)
	}
	r, by, err := nip.ParseReceipt(raw)
	if err != nil {
		return verdict{}, fmt.Errorf("this receipt does not hold: %w", err)
	}
	return held(by, "the receipt holds: request %s, %s, cost %s (charged %s, free %s), balance %s after it",
		r.Request, r.State, r.Total, r.Charged, r.Absorbed, r.Balance), nil
}

func checkProof(raw []byte) (verdict, error) {
	p, err := ledger.ParseProof(raw)
	if err != nil {
		return verdict{}, err
	}
	top, err := p.Top()
	if err != nil {
		return verdict{}, fmt.Errorf("this proof does not hold: %w", err)
	}
	root, by, err := nip.ParseRoot(p.Root)
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("the root of this proof does not hold: %w", err)
	case root.Day != p.Day, root.Hash != top.Hash, root.Sum != top.Sum:
		return verdict{}, errors.New("this proof does not hold: it does not lead to the signed root")
	}
	return held(by, "the proof holds: %s of %s is in the root of %s over %s", p.Balance, p.Account, p.Day, root.Sum), nil
}

func held(by timmy.PubKey, format string, args ...any) verdict {
	return verdict{OK: true, What: fmt.Sprintf(format, args...), By: nip.Npub(by)}
}
