package wallet

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/timmy-tower/timmy"
)

// Excludes a journal that is broken for good, or torn in its middle, by a disk that
// was full for a moment: the half line of a failed write is cut off, and the next one
// stands in its place.
func TestTheJournalGoesOnBehindATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	read := func(into *[]string) *journal {
		j, err := openJournal(path, func(l line) error { *into = append(*into, l.Ref); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	var none, kept []string
	j := read(&none)
	write := func(ref string) {
		if _, err := j.append(line{Op: "issue", Hash: &timmy.Hash{}, Ref: ref, At: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
		if err := j.sync(); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	if _, err := j.file.WriteString(`{"op":"iss`); err != nil { // what the full disk took
		t.Fatal(err)
	}
	if err := j.cutBack(); err != nil {
		t.Fatal(err)
	}
	write("second")
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j = read(&kept)
	defer j.close()
	if len(none) != 0 || len(kept) != 2 || kept[0] != "first" || kept[1] != "second" {
		t.Errorf("kept %q", kept)
	}
	// A line that cannot even be cut off ends it.
	j.file.Close()
	if _, err := j.append(line{Op: "issue"}); err == nil || j.broken == nil {
		t.Errorf("%v, %v", err, j.broken)
	}
}
