package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/timmy-tower/timmy/db/disktest"
)

// disk is where a tower keeps its files, and what fills it and makes room again.
type disk struct {
	env         []string
	fill, empty func() error
}

// smallDisk is a tmpfs where mounting is allowed, and else a library before libc's
// writes that makes them fail as a full disk does. Which one it is, is said.
func smallDisk(t *testing.T, dir string) disk {
	t.Helper()
	const size = 64 << 20
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		t.Logf("a tmpfs cannot be mounted (%v): a library makes the writes fail", err)
		d, err := disktest.New(dir, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return disk{env: d.Env(), fill: func() error { return d.Fill(true) }, empty: func() error { return d.Fill(false) }}
	}
	t.Log("the files are on a tmpfs")
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return disk{
		fill: func() error {
			f, err := os.Create(ballast)
			if err != nil {
				return err
			}
			defer f.Close()
			for block := make([]byte, 4096); ; {
				if _, err := f.Write(block); err != nil {
					return nil // it is full
				}
			}
		},
		empty: func() error { return os.Remove(ballast) },
	}
}

// TestAFullDiskLosesNothing fills the disk of a tower under mixed load and makes room
// again, twenty times, with a kill and a start while it is full. Money routes say 503
// meanwhile, work goes on without a restart, and in the end the books are those of a
// tower whose disk was never full.
func TestAFullDiskLosesNothing(t *testing.T) {
	rng := seed(t)
	tw := newTower(t, "TIMMY_LOG_LEVEL=error", "TIMMY_RATE_PER_MINUTE=0", "TIMMY_SESSIONS_PER_MINUTE=0")
	d := smallDisk(t, tw.data)
	t.Cleanup(tw.kill) // before the disk is unmounted
	tw.env = append(tw.env, d.env...)
	tw.start()
	b := newBooks()
	end := b.mixedLoad(t, tw, 2)
	a := newAPI(t, tw)
	refused := 0
	for i := range 20 {
		time.Sleep(time.Duration(50+rng.IntN(200)) * time.Millisecond)
		if err := d.fill(); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(time.Duration(50+rng.IntN(200)) * time.Millisecond); time.Now().Before(until); {
			if got, err := a.try("POST", "/sessions", `{"amount_sats":100}`); err == nil && got.status != 201 {
				if got.status != 503 || got.header.Get("Retry-After") == "" {
					t.Errorf("round %d: on a full disk: %d %s", i, got.status, got.raw)
				}
				refused++
			}
		}
		if i%5 == 4 {
			tw.kill()
		}
		if err := d.empty(); err != nil {
			t.Fatal(err)
		}
		if tw.cmd == nil {
			if err := tw.tryStart(); err != nil {
				t.Fatal(err)
			}
		}
		worked := func() bool {
			got, err := a.try("POST", "/sessions", `{"amount_sats":100}`)
			return err == nil && got.status == 201
		}
		waitFor(t, "work to go on once there is room", worked)
	}
	end()
	b.check(t, tw)
	t.Logf("%d calls were refused for want of room", refused)
	if refused < 20 {
		t.Error("the disk was hardly full")
	}
}
