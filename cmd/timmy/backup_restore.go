package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
	"github.com/timmy-tower/timmy/ledger"
)

func restoreCommand(env Env) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup of the books in place",
		Long: "Put a backup of the books in place, after it was checked and verified. It is refused while a tower runs, and where books are already: --force moves those aside and deletes nothing.\n" +
			"What was paid since the backup is found again in the wallet when the tower starts; invoices made since are unknown to these books, and their payments end in suspense.",
		Example: "  timmy restore /mnt/backup/ledger-2026-11-24.db\n  timmy restore ledger.db --force",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			if c.Tower.Database.IsSet() {
				return errOwnTools
			}
			s, err := restore(cmd.Context(), env, c, args[0], force)
			if err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			return emit(cmd, s, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d postings, verified\n", s.File, s.Postings)
				if s.Aside != "" {
					fmt.Fprintln(w, "the old books are at", s.Aside)
				}
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "move the books that are there aside")
	return cmd
}

func restore(ctx context.Context, env Env, c *Config, from string, force bool) (s saved, err error) {
	if _, err := os.Stat(from); err != nil {
		return s, pathError("reading", err)
	}
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return s, err
	}
	defer lock.Unlock()
	books := filepath.Join(c.Tower.DataDir, ledgerFile)
	_, err = os.Lstat(books)
	there := err == nil
	if there && !force {
		return s, &exitError{
			exit: exitFailed, code: "exists", err: fmt.Errorf("there are books at %s", books), hint: "--force moves them aside",
		}
	}
	dir, err := os.MkdirTemp(c.Tower.DataDir, ".restore-*")
	if err != nil {
		return s, pathError("making a folder", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	part := filepath.Join(dir, ledgerFile)
	if err := copyFile(from, part); err != nil {
		return s, err
	}
	if s, err = checkCopy(ctx, part, ledgerOptions(c, env, commandLogger(env, c)), ledger.Open); err != nil {
		return s, err
	}
	s.File = books
	if there {
		s.Aside = books + ".old-" + env.Now().UTC().Format("20060102T150405.000Z")
	}
	return s, swap(ctx, part, books, s.Aside)
}

// swap puts part in the place of the old books. The old ones get a second name
// first, so that at every instant there are books under the name: a tower that
// finds none begins new ones.
func swap(ctx context.Context, part, books, aside string) error {
	if err := syncPath(part); err != nil {
		return err
	}
	if aside != "" {
		// Closing the last connection folds the log into the file. Where that fails,
		// the books are broken and their log is kept beside them.
		if d, err := db.OpenSQLite(ctx, books, db.Options{Readers: 1}); err == nil {
			_ = d.Close()
		}
		if err := os.Link(books, aside); err != nil {
			return pathError("moving the old books aside", err)
		}
	}
	// A log of other books would be played into these.
	for _, tail := range []string{"-wal", "-shm"} {
		name := aside
		if name == "" {
			name = books + ".stray"
		}
		if err := os.Rename(books+tail, name+tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return pathError("moving the old log aside", err)
		}
	}
	if err := failpoint.Before(failpoint.RestorePlace); err != nil {
		return err
	}
	if err := os.Rename(part, books); err != nil {
		return pathError("putting the copy in place", err)
	}
	if err := failpoint.After(failpoint.RestorePlace); err != nil {
		return err
	}
	return syncPath(filepath.Dir(books))
}

// copyFile copies to a new file of mode 0600. A backup has no log beside it; one
// that has is a copy made by hand, of half a database.
func copyFile(from, to string) (err error) {
	if info, err := os.Stat(from + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s has a write-ahead log beside it: it is no backup but a database in use", from)
	}
	in, err := os.Open(from)
	if err != nil {
		return pathError("reading", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return pathError("copying", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}
