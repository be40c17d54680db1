package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const lockFile = "timmy.lock"

// dirLock is the hold on a data directory. The kernel drops it when the process
// ends, however it ends.
type dirLock struct{ file *os.File }

// lockDir makes the data directory if needed, readable by nobody else, and locks
// it for this process. A Conflict-like error names the process that holds it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, pathError("TIMMY_DATA_DIR: creating", err)
	}
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, pathError("TIMMY_DATA_DIR: opening", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer f.Close()
		return nil, lockedError(dir, f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	l := &dirLock{file: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return l, nil
}

// sign writes who holds the lock, for people; the lock itself is the kernel's.
func (l *dirLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return pathError("locking", err)
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Unlock gives the directory free. The file stays: removing it would let two
// processes lock two files of the same name.
func (l *dirLock) Unlock() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

var errLocked = errors.New("in use by a running tower")

func lockedError(dir string, f *os.File) error {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	who := ""
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		who = " (pid " + pid + ")"
	}
	return &exitError{
		exit: exitFailed, code: "locked",
		err:  fmt.Errorf("data directory %s: %w%s", dir, errLocked, who),
		hint: "stop it, or choose another --data-dir",
	}
}
