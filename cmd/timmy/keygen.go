package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy/nip"
)

func keygenCommand(env Env) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a Nostr key",
		Long:  "Make a Nostr key. With --out the secret goes to a new file of mode 0600 and is not shown;\nwithout, it is printed. A file made here serves as tower.key.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := nip.GenerateKey(env.Rand)
			if err != nil {
				return err
			}
			return printKey(cmd, key, out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file for the secret key; it must not exist")
	return cmd
}

type keyView struct {
	Npub   string `json:"npub"`
	Pubkey string `json:"pubkey"`
	Nsec   string `json:"nsec,omitempty"`
	File   string `json:"file,omitempty"`
}

func printKey(cmd *cobra.Command, key nip.Key, out string) error {
	v := keyView{Npub: key.Npub(), Pubkey: key.Public().String(), File: out}
	if out == "" {
		v.Nsec = key.Nsec()
	} else if err := createFile(out, []byte(key.Secret()+"\n")); err != nil {
		return existsError(err)
	}
	return emit(cmd, v, func(w io.Writer) {
		fmt.Fprintln(w, v.Npub)
		if v.Nsec != "" {
			fmt.Fprintln(w, v.Nsec)
		}
	})
}

// existsError makes a refusal to overwrite a conflict.
func existsError(err error) error {
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return &exitError{exit: exitConflict, err: err, hint: "nothing was overwritten"}
}
