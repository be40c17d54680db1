// Package disktest is a disk that loses power and runs full when a test says so,
// without the rights to mount one. A small library in C stands before libc's writes
// (LD_PRELOAD) in a process that keeps its books in a folder; SQLite is all that
// writes through libc there.
//
//	d, err := disktest.New(folder, t.TempDir())
//	cmd.Env = append(cmd.Env, d.Env()...)  // run it, kill it (-9)
//	lost, err := d.Cut(rng)                // what was not synced is gone, or some of it
//
// The library notes what each write replaces, and forgets it when the file is synced:
// [Disk.Cut] puts it back. What a power cut does to writes that were not synced is up to
// the disk, so some of them stay. [Disk.Syncs] counts the syncs, [Disk.Fill] makes
// writes fail as on a full disk. It needs a C compiler, as the tower does.
package disktest
