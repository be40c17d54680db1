package disktest

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed shim/disk.c
var source []byte

// Disk is a folder whose writes are watched.
type Disk struct {
	// Sync is how long a sync takes. A cut takes most while one is under way.
	Sync time.Duration

	dir, log, library string
}

// New compiles the library and watches dir, an existing folder, though not the folders
// in it. What it notes is kept in log, another folder, which must be empty.
func New(dir, log string) (*Disk, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, log: log, library: filepath.Join(log, "disk.so")}
	file := filepath.Join(log, "disk.c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return nil, err
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if out, err := exec.Command(cc, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", d.library, file, "-ldl", "-lpthread").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the disk: %w\n%s", err, out)
	}
	return d, nil
}

// Env is what the process must have in its environment.
func (d *Disk) Env() []string {
	return []string{
		"LD_PRELOAD=" + d.library, "DISKTEST_DIR=" + d.dir, "DISKTEST_LOG=" + d.log,
		fmt.Sprintf("DISKTEST_SYNC=%d", d.Sync.Microseconds()),
	}
}

// Syncs counts the syncs of all files so far.
func (d *Disk) Syncs() (int64, error) {
	info, err := os.Stat(filepath.Join(d.log, "syncs"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Fill lets every write fail for want of room, or no longer.
func (d *Disk) Fill(full bool) error {
	flag := filepath.Join(d.log, "full")
	if full {
		return os.WriteFile(flag, nil, 0o600)
	}
	return os.Remove(flag)
}

// Cut is what the power cut leaves behind, once the process was killed: of the writes
// that were not synced, every second or so is lost, in each cut more or fewer. It
// returns how many are.
func (d *Disk) Cut(rng *rand.Rand) (lost int, err error) {
	logs, err := filepath.Glob(filepath.Join(d.log, "*.undo"))
	if err != nil {
		return 0, err
	}
	keep := []float64{0, 0.1, 0.5, 0.9}[rng.IntN(4)]
	for _, log := range logs {
		n, err := d.undo(log, func() bool { return rng.Float64() < keep })
		if err != nil {
			return lost, err
		}
		lost += n
	}
	return lost, nil
}

// record is one write that was not synced: what it replaced, and how long the file was.
type record struct {
	off, size, end int64
	old            []byte
}

// undo takes back the writes of one file, the last first, but for those that are kept.
func (d *Disk) undo(log string, keep func() bool) (lost int, err error) {
	records, err := parse(log)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, strings.TrimSuffix(filepath.Base(log), ".undo")), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	kept := int64(0) // up to where something is kept
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		if keep() {
			kept = max(kept, r.end)
			continue
		}
		lost++
		if _, err := f.WriteAt(r.old, r.off); err != nil {
			return lost, err
		}
		if err := f.Truncate(max(r.size, kept)); err != nil {
			return lost, err
		}
	}
	return lost, os.Truncate(log, 0)
}

// parse reads the records of a log. The last may be torn: its write never happened.
func parse(log string) (records []record, err error) {
	raw, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	const head = 4 * 8
	for len(raw) >= head {
		word := func(i int) int64 { return int64(binary.NativeEndian.Uint64(raw[8*i:])) }
		r, n := record{off: word(0), size: word(1), end: word(2)}, word(3)
		if int64(len(raw)-head) < n {
			break
		}
		r.old = raw[head : head+n]
		records = append(records, r)
		raw = raw[head+n:]
	}
	return records, nil
}
