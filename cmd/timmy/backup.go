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

// saved is what `backup` and `restore` report.
type saved struct {
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
	Postings int64  `json:"postings"`
	Aside    string `json:"aside,omitempty"` // where the old books are
}

func backupCommand(env Env) *cobra.Command {
	to := ""
	cmd := &cobra.Command{
		Use:   "backup --to FILE",
		Short: "Copy the books while they are in use, and verify the copy",
		Long: "Copy the books (ledger.db) to a new file, while a tower runs or not. The copy is opened, checked and verified as the books are before it gets its name; a file that is there is never overwritten.\n" +
			"The keys (tower.key, server.key) are not in it: keep a copy of them once.",
		Example: "  timmy backup --to /mnt/backup/ledger-$(date +%F).db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			if c.Tower.Database.IsSet() {
				return errOwnTools
			}
			s, err := backup(cmd.Context(), filepath.Join(c.Tower.DataDir, ledgerFile), to, ledgerOptions(c, env, commandLogger(env, c)))
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			return emit(cmd, s, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d postings, %d bytes, verified\n", s.File, s.Postings, s.Bytes)
			})
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the new file")
	_ = cmd.MarkFlagRequired("to") // the flag is there: cannot fail
	return cmd
}

// errOwnTools: PostgreSQL is not a file of ours.
var errOwnTools = &exitError{
	exit: exitFailed, code: "postgresql", err: errors.New("the books are in PostgreSQL (TIMMY_DATABASE_URL)"),
	hint: "use pg_dump and pg_restore, and timmy ledger verify after it",
}

// backup writes a verified copy of the books at from. Until it is verified it has
// another name, in a folder of its own beside the target, which is removed.
func backup(ctx context.Context, from, to string, o ledger.Options) (s saved, err error) {
	if _, err := os.Lstat(to); err == nil {
		return s, fmt.Errorf("%s exists: choose another name", to)
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("there are no books at %s", from)
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), ".timmy-backup-*")
	if err != nil {
		return s, pathError("making a folder in the target's", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	part := filepath.Join(dir, ledgerFile)
	d, err := db.OpenSQLiteReadOnly(ctx, from)
	if err != nil {
		return s, err
	}
	if err := errors.Join(failpoint.Before(failpoint.BackupCopy), d.Backup(ctx, part), d.Close()); err != nil {
		return s, err
	}
	if s, err = checkCopy(ctx, part, o, ledger.View); err != nil {
		return s, err
	}
	if err := errors.Join(failpoint.After(failpoint.BackupCopy), failpoint.Before(failpoint.BackupPlace)); err != nil {
		return s, err
	}
	s.File = to
	return s, errors.Join(place(part, to), failpoint.After(failpoint.BackupPlace))
}

// opener is ledger.View, or ledger.Open for a copy that may be older than we are.
type opener func(context.Context, *db.DB, ledger.Options) (*ledger.Ledger, error)

// checkCopy proves that the file at path is a whole and right ledger, and leaves
// it as one file. Nobody else may use it.
func checkCopy(ctx context.Context, path string, o ledger.Options, open opener) (s saved, err error) {
	d, err := db.OpenSQLite(ctx, path, db.Options{Log: o.Log, Readers: 1})
	if err != nil {
		return s, err
	}
	s, err = checkOpen(ctx, d, o, open)
	if err := errors.Join(err, d.Close()); err != nil {
		return s, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return s, pathError("looking at", err)
	}
	s.Bytes = info.Size()
	return s, nil
}

func checkOpen(ctx context.Context, d *db.DB, o ledger.Options, open opener) (s saved, err error) {
	err = d.Read(ctx, func(q *db.Tx) error {
		var found []string
		if err := q.Select(&found, "PRAGMA integrity_check(10)"); err != nil {
			return fmt.Errorf("checking the file: %w", err)
		}
		if len(found) != 1 || found[0] != "ok" {
			return fmt.Errorf("the file is damaged: %q", found)
		}
		tables := 0
		if err := q.Get(&tables, "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('postings', 'accounts', 'suspense')"); err != nil {
			return err
		}
		if tables != 3 {
			return errors.New("the file is a database, but holds no books of a tower")
		}
		return q.Get(&s.Postings, "SELECT COUNT(*) FROM postings")
	})
	if err != nil {
		return s, err
	}
	book, err := open(ctx, d, o)
	if err != nil {
		return s, err
	}
	drifts, err := book.Verify(ctx)
	if err == nil && len(drifts) > 0 {
		err = fmt.Errorf("the books in it do not add up: %s", drifts[0])
	}
	return s, err
}

// place makes a finished file durable and gives it its name, which must be free.
func place(part, to string) error {
	if err := syncPath(part); err != nil {
		return err
	}
	err := os.Link(part, to) // refuses a name that was taken meanwhile
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: choose another name", to)
	}
	if err != nil { // a file system without links
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("%s exists: choose another name", to)
		}
		if err := os.Rename(part, to); err != nil {
			return pathError("naming the copy", err)
		}
	}
	return syncPath(filepath.Dir(to))
}

// syncPath waits until a file, or the names in a folder, are on the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return pathError("opening", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
