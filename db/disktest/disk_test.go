package disktest_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy/db/disktest"
)

// program writes "synced", syncs, and then overwrites and appends without a sync.
const program = `
#include <fcntl.h>
#include <unistd.h>
int main(int n, char **args) {
	int fd = open(args[1], O_RDWR | O_CREAT, 0600);
	if (pwrite(fd, "synced", 6, 0) != 6) return 3;
	if (n > 2) fdatasync(fd);
	if (pwrite(fd, "LOST", 4, 2) != 4 || pwrite(fd, "tail", 4, 6) != 4 || ftruncate(fd, 3) != 0) return 4;
	return 0;
}`

// Excludes a power cut that takes what was synced, one that takes nothing, and a full
// disk that takes a write.
func TestACutTakesWhatWasNotSynced(t *testing.T) {
	dir, log := t.TempDir(), t.TempDir()
	d, err := disktest.New(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	bin, src, file := filepath.Join(log, "program"), filepath.Join(log, "program.c"), filepath.Join(dir, "file")
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(args ...string) error {
		cmd := exec.Command(bin, append([]string{file}, args...)...)
		cmd.Env = append(os.Environ(), d.Env()...)
		return cmd.Run()
	}
	rng, whole := rand.New(rand.NewPCG(1, 1)), 0
	for range 50 {
		os.Remove(file)
		if err := run("sync"); err != nil {
			t.Fatal(err)
		}
		lost, err := d.Cut(rng)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if lost == 3 {
			whole++
			if string(got) != "synced" {
				t.Fatalf("all three writes are lost and the file holds %q", got)
			}
		}
		if lost == 0 && string(got) != "syL" {
			t.Fatalf("nothing is lost and the file holds %q", got)
		}
		if !bytes.HasPrefix(got, []byte("sy")) {
			t.Fatalf("the file holds %q", got)
		}
	}
	if n, err := d.Syncs(); n != 50 || err != nil || whole == 0 {
		t.Errorf("%d syncs, %v; %d times all was lost", n, err, whole)
	}
	if err := d.Fill(true); err != nil {
		t.Fatal(err)
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "3") {
		t.Errorf("a write to a full disk: %v", err)
	}
	if err := d.Fill(false); err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Error(err)
	}
}
